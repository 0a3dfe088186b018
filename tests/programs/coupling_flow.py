"""A flow of coupling layers; transforms of distributions."""

import torch
import torch.nn as nn
import torch.distributions as D

torch.manual_seed(0)


class Coupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(), nn.Linear(32, 2), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(), nn.Linear(32, 2))

    def forward(self, z):
        xm = z * self.mask
        s = self.s(xm) * (1 - self.mask)
        t = self.t(xm) * (1 - self.mask)
        return xm + (1 - self.mask) * (z * torch.exp(s) + t), s.sum(-1)

    def inverse(self, x):
        xm = x * self.mask
        s = self.s(xm) * (1 - self.mask)
        t = self.t(xm) * (1 - self.mask)
        return xm + (1 - self.mask) * ((x - t) * torch.exp(-s)), -s.sum(-1)


masks = torch.tensor([[0, 1], [1, 0]] * 3).float()
layers = nn.ModuleList([Coupling(m) for m in masks])
prior = D.MultivariateNormal(torch.zeros(2), torch.eye(2))


def logp(x):
    ld = x.new_zeros(x.shape[0])
    for l in reversed(layers):
        x, d = l.inverse(x)
        ld += d
    return prior.log_prob(x) + ld


th = torch.rand(256) * 3.14159
data = torch.stack([torch.cos(th), torch.sin(th)], -1) + 0.05 * torch.randn(256, 2)
opt = torch.optim.Adam([p for p in layers.parameters() if p.requires_grad], lr=1e-3)
for i in range(30):
    l = -logp(data).mean()
    opt.zero_grad()
    l.backward(retain_graph=True)
    opt.step()
    if i % 10 == 0:
        print("%d %.4f" % (i, l))
base = D.Normal(torch.zeros(2), torch.ones(2))
T = [
    D.transforms.AffineTransform(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.5])),
    D.transforms.TanhTransform(cache_size=1),
    D.SigmoidTransform(),
]
td = D.TransformedDistribution(base, T)
x = td.rsample((4,))
print(x, td.log_prob(x))
print(D.Independent(td, 1).log_prob(x))
print(
    D.transform_to(D.constraints.positive)(torch.tensor(0.3)),
    D.biject_to(D.constraints.simplex)(torch.tensor([0.1, 0.2])),
)
