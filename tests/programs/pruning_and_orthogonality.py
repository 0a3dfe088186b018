"""Pruned and orthogonal weights, tangents by hand, LU, and what scripts call of jit and the profiler."""

import torch
import torch.autograd.forward_ad as fwAD
import torch.nn as nn
import torch.nn.utils.prune as prune
from torch.nn.utils.parametrizations import orthogonal

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
prune.l1_unstructured(net[0], "weight", amount=0.4)
print(dict(net[0].named_buffers()), [n for n, _ in net[0].named_parameters()], net[0].weight)
prune.ln_structured(net[0], "weight", amount=1, n=2, dim=0)
prune.random_unstructured(net[0], "bias", amount=2)
print(net[0].weight_mask, net[0].bias_mask, prune.is_pruned(net), list(net.state_dict()))
opt = torch.optim.ASGD([p for p in net.parameters()], lr=0.05)
x = torch.randn(8, 6)
for _ in range(3):
    opt.zero_grad()
    loss = net(x).square().mean()
    loss.backward()
    opt.step()
print(f"{loss.item():.5f}", (net[0].weight == 0).sum().item())
prune.remove(net[0], "weight")
print([n for n, _ in net[0].named_parameters()], (net[0].weight == 0).sum().item())
pairs = [(net[0], "weight"), (net[2], "weight")]
prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.6)
print([int(m.weight_mask.sum()) for m, _ in pairs])
prune.custom_from_mask(net[2], "bias", torch.tensor([1.0, 0.0, 1.0, 0.0]))
print(net[2].bias)
for bad in (lambda: prune.l1_unstructured(net[2], "weight", 1.5), lambda: prune.remove(nn.Linear(2, 2), "weight")):
    try:
        bad()
    except ValueError:
        print("ValueError")

for shape in ((4, 4), (5, 3), (3, 5)):
    for kind in ("matrix_exp", "cayley", "householder"):
        layer = orthogonal(nn.Linear(shape[1], shape[0]), orthogonal_map=kind)
        w = layer.weight
        small = w @ w.T if shape[0] <= shape[1] else w.T @ w
        print(shape, kind, torch.allclose(small, torch.eye(min(shape)), atol=1e-5))
        w.pow(3).sum().backward()
        print(w.detach()[0], layer.parametrizations.weight.original.grad.norm())
print(layer)
free = orthogonal(nn.Linear(3, 5), use_trivialization=False)
free.weight = nn.init.orthogonal_(torch.empty(5, 3))
print(free.weight.detach()[0])

with fwAD.dual_level():
    p, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    dual = fwAD.make_dual(p, v)
    print(fwAD.unpack_dual((dual**2).sin()), fwAD.unpack_dual(p).tangent)
A = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
P, L, U = torch.linalg.lu(A)
print(torch.allclose(P @ L @ U, A), torch.autograd.grad(L.sum() + U.square().sum(), A))
LU, pivots = torch.linalg.lu_factor(A.detach())
print(pivots, torch.linalg.lu_solve(LU, pivots, torch.ones(4, 1, dtype=torch.float64)))
print(torch.linalg.inv_ex(torch.zeros(2, 2)).info, torch.linalg.solve_ex(torch.eye(2), torch.ones(2)))
adafactor = torch.optim.Adafactor([nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))], lr=0.1)
for p in adafactor.param_groups[0]["params"]:
    p.grad = torch.arange(1.0, 1 + p.numel()).view_as(p)
adafactor.step()
print(adafactor, adafactor.param_groups[0]["params"], adafactor.state_dict()["state"])
for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    w = nn.Parameter(torch.ones(2))
    w.square().sum().backward()
    opt = kind([w], lr=0.1, foreach=True)
    opt.step()
    print(w, opt.param_groups[0]["foreach"], kind([w], fused=True).defaults["fused"])
    try:
        kind([w], foreach=True, fused=True)
    except RuntimeError:
        print("RuntimeError")
traced = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))
print(traced(torch.ones(1, 3)).shape, torch.jit.is_scripting())
