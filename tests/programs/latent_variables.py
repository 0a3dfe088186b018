"""Variational, quantised and relaxed latent variables; a reversed gradient."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.distributions import (
    Normal,
    kl_divergence,
    Independent,
    Bernoulli,
    Categorical,
    OneHotCategorical,
    RelaxedOneHotCategorical,
)

torch.manual_seed(128)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, 8),
        )
        self.dec = nn.Sequential(
            nn.Linear(4, 8 * 4 * 4),
            nn.Unflatten(1, (8, 4, 4)),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.ELU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
        )

    def forward(self, x):
        mu, lv = self.enc(x).chunk(2, dim=-1)
        q = Normal(mu, (0.5 * lv).exp())
        z = q.rsample()
        return self.dec(z), q


m = VAE()
o = torch.optim.Adam(m.parameters(), lr=1e-3)
x = (torch.rand(16, 1, 16, 16) > 0.5).float()
for i in range(6):
    r, q = m(x)
    rec = F.binary_cross_entropy_with_logits(r, x, reduction="none").sum((1, 2, 3))
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    l = (rec + 2 * kl).mean()
    o.zero_grad()
    l.backward()
    o.step()
    print(f"{l:.2f} {kl.mean():.4f}")
p = Independent(Bernoulli(logits=r.detach()), 3)
print(p.log_prob(x)[:3].round(decimals=1), p.mean.shape)


class VQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, c):
        i = torch.cdist(z, c).argmin(1)
        ctx.save_for_backward(i, c)
        ctx.mark_non_differentiable(i)
        return c[i], i

    @staticmethod
    def backward(ctx, g, gi):
        i, c = ctx.saved_tensors
        return g, torch.zeros_like(c).index_add_(0, i, g)


z = torch.randn(10, 4, requires_grad=True)
c = torch.randn(5, 4, requires_grad=True)
q, i = VQ.apply(z, c)
(q**2).sum().backward()
print(i, z.grad.norm(), c.grad.norm())
lg = torch.randn(3, 4, requires_grad=True)
s = F.gumbel_softmax(lg, tau=0.5, hard=True)
print(s)
(s * torch.arange(4.0)).sum().backward()
print(lg.grad)
print(RelaxedOneHotCategorical(torch.tensor(0.5), logits=lg).rsample().detach())
print(OneHotCategorical(logits=lg).entropy().detach())


class GRL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.a = a
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g.neg() * ctx.a, None


w = torch.ones(2, requires_grad=True)
GRL.apply(w, 0.5).sum().backward()
print(w.grad)
