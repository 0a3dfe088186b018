import math

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

torch.manual_seed(9)
np.random.seed(9)


class Coupling(nn.Module):
    def __init__(self, dim, hidden, mask):
        super().__init__()
        self.s = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, dim), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, dim))
        self.register_buffer("mask", mask)
        self.scale = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        kept = x * self.mask
        s = self.s(kept) * self.scale * (1 - self.mask)
        t = self.t(kept) * (1 - self.mask)
        return kept + (1 - self.mask) * (x * torch.exp(s) + t), s.sum(dim=1)

    def inverse(self, z):
        kept = z * self.mask
        s = self.s(kept) * self.scale * (1 - self.mask)
        t = self.t(kept) * (1 - self.mask)
        return kept + (1 - self.mask) * (z - t) * torch.exp(-s)


class RealNVP(nn.Module):
    def __init__(self, layers=4):
        super().__init__()
        masks = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * (layers // 2))
        self.layers = nn.ModuleList([Coupling(2, 16, m) for m in masks])
        self.prior = Normal(torch.zeros(2), torch.ones(2))

    def log_prob(self, x):
        total = x.new_zeros(x.shape[0])
        for layer in self.layers:
            x, d = layer(x)
            total = total + d
        return self.prior.log_prob(x).sum(1) + total

    def sample(self, n):
        z = self.prior.sample((n,))
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z


theta = np.random.uniform(0, math.pi, 256)
moons = np.stack([np.cos(theta), np.sin(theta)], 1) + 0.1 * np.random.randn(256, 2)
x = torch.from_numpy(moons.astype("float32"))
flow = RealNVP()
print(len(list(flow.buffers())), sum(p.numel() for p in flow.parameters()))
opt = torch.optim.Adam(flow.parameters(), lr=5e-3)
for step in range(121):
    opt.zero_grad(set_to_none=True)
    loss = -flow.log_prob(x).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(flow.parameters(), max_norm=5.0)
    opt.step()
    if step % 30 == 0:
        print(f"{step:4d} nll {loss.item():.2f}")
with torch.no_grad():
    s = flow.sample(500)
print(s.shape, bool(s.isfinite().all()))
print(Normal(0.0, 1.0), Normal(torch.tensor([0.0, 1.0]), 2.0), Normal(torch.zeros(2), 1.0).rsample().shape)
