"""Weight and spectral norms, parametrisations, pruning, normalisations, lazy layers."""

import torch
import torch.nn as nn
from torch.nn.utils import (
    weight_norm,
    spectral_norm,
    remove_weight_norm,
    remove_spectral_norm,
    parametrize,
    parametrizations as P,
)

torch.manual_seed(0)
m = weight_norm(nn.Linear(4, 3), name="weight")
print(m.weight_g.shape, m.weight_v.shape, m)
x = torch.randn(5, 4)
m(x).sum().backward()
print(m.weight_g.grad)
remove_weight_norm(m)
print(list(m.state_dict()))
s = spectral_norm(nn.Conv2d(2, 3, 3))
[s(torch.randn(1, 2, 5, 5)) for _ in range(10)]
print(torch.linalg.matrix_norm(s.weight.reshape(3, -1), 2).item().__round__(4), sorted(s.state_dict()))
remove_spectral_norm(s)
w = P.weight_norm(nn.Linear(4, 3))
print(sorted(w.state_dict()), w.parametrizations)
o = P.orthogonal(nn.Linear(4, 4))
print((o.weight @ o.weight.T - torch.eye(4)).abs().max() < 1e-5)
p = P.spectral_norm(nn.Linear(4, 3))
print(p(x).sum())


class Sym(nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).transpose(-1, -2)

    def right_inverse(self, A):
        return A.triu()


l = nn.Linear(3, 3)
parametrize.register_parametrization(l, "weight", Sym())
print(torch.allclose(l.weight, l.weight.T), l, parametrize.is_parametrized(l))
l.weight = torch.eye(3)
print(l.weight)
with parametrize.cached():
    print(l.weight is l.weight)
parametrize.remove_parametrizations(l, "weight")
print(l.weight)
import torch.nn.utils.prune as prune

q = nn.Linear(4, 3)
prune.l1_unstructured(q, "weight", amount=0.3)
print(q.weight_mask.sum(), list(q.named_buffers())[0][0])
prune.random_structured(q, "weight", amount=1, dim=0)
prune.remove(q, "weight")
print((q.weight == 0).sum())
for n in (
    nn.GroupNorm(2, 4),
    nn.InstanceNorm1d(4, affine=True),
    nn.LayerNorm(6),
    nn.RMSNorm(6),
    nn.BatchNorm1d(4, momentum=None),
):
    y = n(torch.randn(3, 4, 6))
    print(n, y.std().item().__round__(4))
bn = nn.BatchNorm1d(2)
for _ in range(3):
    bn(torch.randn(8, 2) * 3 + 1)
print(bn.running_mean, bn.running_var, bn.num_batches_tracked)
bn.reset_running_stats()
print(bn.running_var)
print(
    nn.utils.parameters_to_vector(q.parameters()).shape,
    nn.utils.clip_grad_value_(m.parameters(), 0.1),
    nn.utils.get_total_norm([torch.ones(3), torch.ones(2)]),
)
torch.manual_seed(0)
lz = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
print(lz)
lz(x)
print(lz, lz[0].weight.shape)
c = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
print(c(torch.randn(2, 1, 6, 6)).shape)
print(c)
