"""A denoising diffusion model, trained and sampled."""

import math
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
T = 20
betas = torch.linspace(1e-4, 0.02, T)
alphas = 1.0 - betas
ac = torch.cumprod(alphas, dim=0)
acp = F.pad(ac[:-1], (1, 0), value=1.0)
pv = betas * (1.0 - acp) / (1.0 - ac)
sr = torch.sqrt(1.0 / alphas)


def extract(a, t, s):
    return a.gather(-1, t).reshape(t.shape[0], *((1,) * (len(s) - 1)))


class Sin(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, t):
        h = self.d // 2
        e = torch.exp(torch.arange(h) * -(math.log(10000) / (h - 1)))
        e = t[:, None] * e[None, :]
        return torch.cat((e.sin(), e.cos()), dim=-1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Sequential(Sin(8), nn.Linear(8, 16), nn.GELU())
        self.c1 = nn.Conv2d(1, 16, 3, padding=1)
        self.gn = nn.GroupNorm(4, 16)
        self.c2 = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x, t):
        return self.c2(F.silu(self.gn(self.c1(x) + self.t(t)[:, :, None, None])))


m = Net()
o = torch.optim.Adam(m.parameters(), lr=1e-3)
x0 = torch.randn(8, 1, 8, 8).tanh()
for i in range(8):
    t = torch.randint(0, T, (8,)).long()
    n = torch.randn_like(x0)
    xt = extract(ac.sqrt(), t, x0.shape) * x0 + extract((1 - ac).sqrt(), t, x0.shape) * n
    l = F.smooth_l1_loss(n, m(xt, t))
    o.zero_grad()
    l.backward()
    o.step()
    print(f"{l.item():.4f}")


@torch.no_grad()
def sample():
    x = torch.randn(2, 1, 8, 8)
    for i in reversed(range(T)):
        t = torch.full((2,), i, dtype=torch.long)
        mean = extract(sr, t, x.shape) * (
            x - extract(betas, t, x.shape) * m(x, t) / extract((1 - ac).sqrt(), t, x.shape)
        )
        x = mean if i == 0 else mean + torch.sqrt(extract(pv, t, x.shape)) * torch.randn_like(x)
    return x


s = sample()
print(f"{s.mean():.4f} {s.std():.4f}", s.requires_grad)
