"""Gradients, Jacobians, Hessians and maps of functions; ensembles; dual numbers."""

import torch
from torch import nn
from torch.func import (
    functional_call,
    vmap,
    grad,
    hessian,
    jacrev,
    jacfwd,
    vjp,
    jvp,
    grad_and_value,
    stack_module_state,
)

torch.manual_seed(0)
m = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
params = {k: v.detach() for k, v in m.named_parameters()}
X = torch.randn(6, 3)
y = torch.randn(6, 1)


def loss(p, x, t):
    return ((functional_call(m, p, (x.unsqueeze(0),)) - t) ** 2).mean()


g = vmap(grad(loss), in_dims=(None, 0, 0))(params, X, y)
print({k: tuple(v.shape) for k, v in g.items()})
print(f"{g['0.weight'].norm():.4f}")
f = lambda x: (x.sin() * x.flip(0)).sum()
x = torch.tensor([0.1, 0.2, 0.3])
print(hessian(f)(x))
print(jacrev(lambda x: x**2)(x))
print(jacfwd(torch.exp)(x))
o, vf = vjp(torch.sin, x)
print(vf(torch.ones(3)))
print(jvp(torch.cos, (x,), (torch.ones(3),)))
print(grad_and_value(f)(x))
print(vmap(torch.dot)(X, X))
print(vmap(lambda a, b: a @ b, (0, 1))(X.unsqueeze(1), torch.randn(3, 6)).shape)
models = [nn.Linear(3, 2) for _ in range(4)]
P, B = stack_module_state(models)
base = nn.Linear(3, 2, device="meta") if False else nn.Linear(3, 2)
print(vmap(lambda p, b, x: functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(P, B, X).shape)
print(torch.autograd.functional.hessian(f, x))
print(torch.autograd.functional.jacobian(lambda a, b: a * b, (x, x)))
print(torch.autograd.functional.hvp(f, x, torch.ones(3))[1])
print(torch.autograd.functional.vjp(lambda a: a.exp(), x, torch.ones(3))[1])
e = torch.func.linearize(lambda x: x**3, x)
print(e[0], e[1](torch.ones(3)))
import torch.autograd.forward_ad as fwAD

with fwAD.dual_level():
    d = fwAD.make_dual(x, torch.ones(3))
    print(fwAD.unpack_dual(d.exp() * 2))
print(vmap(vmap(lambda a, b: a * b, (None, 0)), (0, None))(x, x))
print(torch.vmap(lambda x: x.sum(), chunk_size=2)(X))
print(
    vmap(lambda x: torch.randn(2), randomness="different")(X).shape,
    vmap(lambda a: torch.where(a > 0, a, -a))(X).sum().item().__round__(4),
)
