"""An actor whose actions are squashed normal variables, with a learned temperature."""

import torch
import math
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal, TransformedDistribution, Independent
from torch.distributions.transforms import TanhTransform, AffineTransform

torch.manual_seed(3)
LOG_STD_MIN, LOG_STD_MAX = -20, 2


class Actor(nn.Module):
    def __init__(s, o, a, h=32):
        super().__init__()
        s.net = nn.Sequential(nn.Linear(o, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU())
        s.mu, s.ls = nn.Linear(h, a), nn.Linear(h, a)

    def forward(s, x):
        h = s.net(x)
        mu, ls = s.mu(h), torch.clamp(s.ls(h), LOG_STD_MIN, LOG_STD_MAX)
        return Independent(
            TransformedDistribution(Normal(mu, ls.exp()), [TanhTransform(cache_size=1), AffineTransform(0.0, 2.0)]), 1
        )


a = Actor(3, 2)
q = nn.Linear(5, 1)
log_alpha = torch.zeros(1, requires_grad=True)
opt = torch.optim.Adam(list(a.parameters()) + [log_alpha], lr=1e-2)
for i in range(20):
    o = torch.randn(16, 3)
    d = a(o)
    act = d.rsample()
    lp = d.log_prob(act)
    loss = (log_alpha.exp().detach() * lp - q(torch.cat([o, act], -1)).squeeze(-1)).mean() - (
        log_alpha * (lp + 2).detach()
    ).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if i % 5 == 0:
        print(f"{i} {loss.item():.3f} {lp.mean():.3f} {log_alpha.item():.4f}")
print(d.batch_shape, d.event_shape)
