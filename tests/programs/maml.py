"""Sinusoid regression by model-agnostic meta-learning, with functional_call and with weights in a list."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

rng = np.random.RandomState(3)
torch.manual_seed(3)


def task():
    amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0, np.pi)

    def draw(k=10):
        x = rng.uniform(-5, 5, size=(k, 1))
        return torch.tensor(x, dtype=torch.double), torch.tensor(amplitude * np.sin(x + phase))

    return draw


net = nn.Sequential(nn.Linear(1, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 1)).double()
meta = torch.optim.Adam(net.parameters(), lr=1e-2)
inner_lr = 0.01
for iteration in range(21):
    meta_loss = 0.0
    for _ in range(4):
        draw = task()
        weights = dict(net.named_parameters())
        for _ in range(2):
            x, y = draw()
            inner = F.mse_loss(functional_call(net, weights, (x,)), y)
            grads = torch.autograd.grad(inner, tuple(weights.values()), create_graph=True)
            weights = {name: w - inner_lr * g for (name, w), g in zip(weights.items(), grads)}
        x, y = draw()
        meta_loss = meta_loss + F.mse_loss(functional_call(net, weights, x), y) / 4
    meta.zero_grad()
    meta_loss.backward()
    meta.step()
    if iteration % 5 == 0:
        print(f"{iteration:3d} {meta_loss.item():.4f} {next(net.parameters()).grad.norm():.4f}")


def forward(x, w):
    return F.linear(F.relu(F.linear(x, w[0], w[1])), w[2], w[3])


w = [
    torch.randn(20, 1).double() * 0.5,
    torch.zeros(20).double(),
    torch.randn(1, 20).double() * 0.2,
    torch.zeros(1).double(),
]
for p in w:
    p.requires_grad_()
for _ in range(3):
    x, y = task()(20)
    fast = [p - 0.02 * g for p, g in zip(w, torch.autograd.grad(F.mse_loss(forward(x, w), y), w, create_graph=True))]
    loss = F.mse_loss(forward(x, fast), y)
    grads = torch.autograd.grad(loss, w)
    with torch.no_grad():
        for p, g in zip(w, grads):
            p -= 0.01 * g
    print(f"{loss:.4f}", [tuple(g.shape) for g in grads])
