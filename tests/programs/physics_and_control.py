"""Bodies that attract each other, a trajectory by LBFGS, a regulator, a filter, advection."""

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
n = 5
pos = torch.randn(n, 3)
vel = torch.zeros(n, 3)
mass = torch.rand(n) + 0.5


def potential(q):
    d = q.unsqueeze(0) - q.unsqueeze(1)
    r = (d.pow(2).sum(-1) + 1e-2).sqrt()
    iu = torch.triu_indices(n, n, offset=1)
    return -(mass[iu[0]] * mass[iu[1]] / r[iu[0], iu[1]]).sum()


for step in range(5):
    q = pos.detach().requires_grad_()
    F = -torch.autograd.grad(potential(q), q)[0]
    vel = vel + 0.01 * F / mass[:, None]
    pos = pos + 0.01 * vel
    K = 0.5 * (mass * vel.square().sum(1)).sum()
    print(f"{step} {(K + potential(pos)).item():.10f} {pos[0].tolist()[0]:.8f}")


def dyn(x, u):
    return torch.stack([x[..., 1], torch.sin(x[..., 0]) + u.squeeze(-1)], -1)


us = torch.zeros(20, 1, requires_grad=True)
opt = torch.optim.LBFGS([us], lr=0.5, max_iter=10, history_size=5, tolerance_grad=1e-9)


def rollout(us):
    x = torch.tensor([1.0, 0.0])
    c = 0.0
    for u in us.unbind(0):
        x = x + 0.1 * dyn(x, u)
        c = c + x.pow(2).sum() + 0.1 * u.pow(2).sum()
    return c


for i in range(3):

    def closure():
        opt.zero_grad()
        c = rollout(us)
        c.backward()
        return c

    print(i, "%.8f" % opt.step(closure).item(), us.grad.abs().max().item() < 1)
A = torch.tensor([[1.0, 0.1], [0.0, 1.0]])
B = torch.tensor([[0.0], [0.1]])
Q = torch.eye(2)
R = torch.eye(1) * 0.1
Pm = Q.clone()
for _ in range(50):
    K = torch.linalg.solve(R + B.T @ Pm @ B, B.T @ Pm @ A)
    Pm = Q + A.T @ Pm @ (A - B @ K)
print(K, Pm, torch.linalg.eigvalsh(Pm))
J = torch.autograd.functional.jacobian(lambda x: dyn(x, torch.zeros(1)), torch.tensor([0.5, 0.0]))
print(J)
mu, Sig = torch.zeros(2), torch.eye(2)
for z in torch.randn(4, 1):
    mu, Sig = A @ mu, A @ Sig @ A.mT + 0.01 * torch.eye(2)
    H = torch.tensor([[1.0, 0.0]])
    S = H @ Sig @ H.mT + 0.1
    Kg = Sig @ H.mT @ S.inverse()
    mu = mu + Kg @ (z - H @ mu)
    Sig = (torch.eye(2) - Kg @ H) @ Sig
    print(mu, Sig.trace())
x = torch.linspace(0, 1, 21)
u = torch.exp(-100 * (x - 0.3) ** 2)
for _ in range(30):
    u = u - 0.5 * (u - torch.roll(u, 1))
print(u, torch.trapezoid(u, x), torch.diff(u).abs().max(), u.argmax(), torch.cumulative_trapezoid(u, x)[-1])
