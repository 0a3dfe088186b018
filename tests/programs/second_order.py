"""Gradients through updates, Newton's step, conjugate gradients with Hessian products."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from collections import OrderedDict

torch.manual_seed(0)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            OrderedDict([("l1", nn.Linear(1, 20)), ("relu1", nn.ReLU()), ("l3", nn.Linear(20, 1))])
        )

    def forward(self, x):
        return self.net(x)

    def f(self, x, w):
        x = F.relu(F.linear(x, w[0], w[1]))
        return F.linear(x, w[2], w[3])


m = M()
mo = torch.optim.Adam(m.parameters(), 0.01)
for it in range(5):
    tot = 0
    for _ in range(3):
        A, ph = torch.rand(1) * 5, torch.rand(1) * 3
        X = torch.rand(10, 1) * 10 - 5
        y = A * torch.sin(X + ph)
        tw = [w.clone() for w in m.parameters()]
        for _ in range(2):
            l = F.mse_loss(m.f(X, tw), y) / 10
            g = torch.autograd.grad(l, tw, create_graph=True)
            tw = [w - 0.01 * gg for w, gg in zip(tw, g)]
        X = torch.rand(10, 1) * 10 - 5
        tot = tot + F.mse_loss(m.f(X, tw), A * torch.sin(X + ph))
    gs = torch.autograd.grad(tot, list(m.parameters()))
    for w, g in zip(m.parameters(), gs):
        w.grad = g
    mo.step()
    print(f"{tot.item() / 3:.3f}")
# hessian-free, influence
x = torch.randn(30, 3)
y = x @ torch.tensor([1.0, 2.0, 3.0]) + 0.1 * torch.randn(30)
w = torch.zeros(3, requires_grad=True)
L = lambda w: ((x @ w - y) ** 2).mean()
H = torch.autograd.functional.hessian(L, w)
g = torch.autograd.grad(L(w), w)[0]
print((w - torch.linalg.solve(H, g)).detach())


def hvp(v):
    (gg,) = torch.autograd.grad(L(w), w, create_graph=True)
    return torch.autograd.grad(gg @ v, w)[0]


p = r = -g.clone()
xk = torch.zeros(3)
for _ in range(3):
    Hp = hvp(p)
    al = (r @ r) / (p @ Hp)
    xk = xk + al * p
    rn = r - al * Hp
    p = rn + (rn @ rn) / (r @ r) * p
    r = rn
print(xk)
print(torch.allclose(H, 2 * x.T @ x / 30, atol=1e-5))
v = torch.nn.utils.parameters_to_vector(m.parameters())
torch.nn.utils.vector_to_parameters(v * 0, m.parameters())
print(m(torch.ones(1, 1)))
with torch.no_grad():
    for n, p in m.named_parameters():
        p.copy_(torch.full_like(p, 0.1))
print(m(torch.ones(2, 1)).T, [n for n, _ in m.named_modules()], m.net[0], m.net.l3.weight.shape, m.net[:2])
m.net.add_module("extra", nn.Identity())
m.net.append(nn.Tanh())
print(m)
print(nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)}))
del m.net[-1]
print(len(m.net))
sc = torch.jit.script if False else None
c = torch.compile(m) if False else m
print(torch.utils.data.get_worker_info())
