import torch
from torch import nn
from torch.autograd.functional import hessian, hvp, jacobian, vjp
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(0)
torch.set_default_dtype(torch.double)
net = nn.Sequential(nn.Linear(3, 6), nn.Softplus(beta=2), nn.Linear(6, 2))
x, t = torch.randn(12, 3), torch.randint(0, 2, (12,))
params = list(net.parameters())


def loss_of():
    return nn.functional.cross_entropy(net(x), t)


def hessian_vector(v):
    grads = torch.autograd.grad(loss_of(), params, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in grads])
    return torch.cat([h.contiguous().view(-1) for h in torch.autograd.grad(flat @ v, params)])


n = parameters_to_vector(params).numel()
v = torch.randn(n)
v /= v.norm()
for i in range(30):
    hv = hessian_vector(v)
    eigenvalue = torch.dot(v, hv)
    v = hv / hv.norm()
    if i % 10 == 9:
        print(f"power iteration {i + 1}: {eigenvalue:.3f}")

H = torch.stack([hessian_vector(e) for e in torch.eye(n)])
print(H.shape, torch.allclose(H, H.T, atol=1e-10), f"trace {H.trace():.6f} {H.diagonal().sum():.6f}")

# a Newton step by conjugate gradients, damped
g = torch.cat([p.reshape(-1) for p in torch.autograd.grad(loss_of(), params)])
step, r = torch.zeros_like(g), g.clone()
p = r.clone()
for _ in range(n):
    Ap = hessian_vector(p) + 0.1 * p
    a = r.dot(r) / p.dot(Ap)
    step += a * p
    new = r - a * Ap
    if new.norm() < 1e-10:
        break
    p = new + new.dot(new) / r.dot(r) * p
    r = new
before = loss_of().item()
with torch.no_grad():
    vector_to_parameters(parameters_to_vector(params) - 0.5 * step, params)
print(f"{before:.6f} -> {loss_of().item():.5f}")


def f(a, b):
    return (a.sin() * b.exp()).sum()


a, b = torch.randn(3), torch.randn(3)
print(hessian(f, (a, b))[0][1].diagonal())
print(hvp(f, (a, b), (torch.ones(3), torch.zeros(3)))[1][0])
print(jacobian(lambda q: q**2 * q.sum(), a))
print(vjp(lambda q: q.cumsum(0), a, torch.ones(3)))
