"""Transforms of functions: gradients of each sample, ensembles, Jacobians, Hessians."""

import torch
from torch import nn
from torch.func import (
    functional_call,
    grad,
    vmap,
    jacrev,
    jacfwd,
    hessian,
    vjp,
    jvp,
    grad_and_value,
    stack_module_state,
)

torch.manual_seed(0)


def f(x):
    return (x**3).sum()


x = torch.randn(3)
print(
    grad(f)(x),
    vmap(grad(lambda v: v**2))(x),
    jacrev(torch.sin)(x),
    jacfwd(lambda v: v * v.sum())(x),
    hessian(f)(x),
    grad_and_value(f)(x),
)
net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
params = dict(net.named_parameters())
buffers = dict(net.named_buffers())


def loss(params, buffers, s, t):
    return ((functional_call(net, (params, buffers), (s.unsqueeze(0),)) - t.unsqueeze(0)) ** 2).sum()


X, Y = torch.randn(5, 3), torch.randn(5, 1)
ps = vmap(grad(loss), in_dims=(None, None, 0, 0))({k: v.detach() for k, v in params.items()}, buffers, X, Y)
print({k: v.shape for k, v in ps.items()}, ps["0.bias"][:2])
models = [nn.Linear(3, 2) for _ in range(4)]
p, b = stack_module_state(models)
base = models[0]
print(
    vmap(lambda p, b, x: functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(p, b, X).shape,
    vmap(torch.dot)(X, X),
    torch.vmap(lambda a, b: a @ b, in_dims=(0, None))(X, torch.ones(3)),
    vmap(lambda x: x.sum(), in_dims=1)(X),
    vmap(lambda x: (x, x + 1), out_dims=(0, 1))(X)[1].shape,
)
o, vf = vjp(lambda x: x.sin(), x)
print(o, vf(torch.ones(3)))
print(jvp(torch.cos, (x,), (torch.ones(3),)))
print(
    torch.autograd.functional.jacobian(lambda x: x**2, x),
    torch.autograd.functional.hessian(f, x),
    torch.autograd.functional.hvp(f, x, torch.ones(3))[1],
    torch.autograd.functional.vjp(f, x)[1],
    vmap(jacrev(lambda z: net(z)))(X).shape,
    vmap(hessian(lambda z: net(z).squeeze()))(X)[0].detach(),
)


def ker(xi, xj):
    return torch.exp(-((xi - xj) ** 2).sum())


print(
    vmap(vmap(ker, (None, 0)), (0, None))(X, X[:2]),
    jacrev(lambda a, b: a * b, argnums=1)(x, x),
    grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x),
    grad(lambda d: d["a"].sum() * 2)({"a": x}),
    grad(lambda x: ((x**2).sum(), x), has_aux=True)(x),
)
