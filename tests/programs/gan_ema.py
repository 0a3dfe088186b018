import copy

import torch
import torch.nn as nn

torch.manual_seed(5)
G = nn.Sequential(nn.Linear(4, 16), nn.ELU(), nn.Linear(16, 1))
D = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 1), nn.Sigmoid())
ema = copy.deepcopy(G)
for p in ema.parameters():
    p.requires_grad_(False)
opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
bce = nn.BCELoss()
for step in range(101):
    real = torch.randn(32, 1) * 0.5 + 2.0
    fake = G(torch.randn(32, 4))
    loss_d = bce(D(real), torch.ones(32, 1)) + bce(D(fake.detach()), torch.zeros(32, 1))
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    loss_g = bce(D(fake), torch.ones(32, 1))
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
    with torch.no_grad():
        for p, q in zip(ema.parameters(), G.parameters()):
            p.mul_(0.95).add_(q, alpha=0.05)
    if step % 25 == 0:
        print(f"{step} {loss_d.item():.3f} {loss_g.item():.3f} {fake.mean().item():.3f} {fake.std().item():.3f}")
with torch.no_grad():
    print(f"{ema(torch.zeros(1, 4)).item():.3f}")
