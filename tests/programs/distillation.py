"""A small network learns from a large one; averages of weights; losses side by side."""

import copy
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(11)
T = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 5))
S = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 5))
X = torch.randn(64, 8)
y = X[:, :5].argmax(1)
ema = copy.deepcopy(T)
for p in ema.parameters():
    p.requires_grad_(False)
o = torch.optim.AdamW(T.parameters(), lr=1e-2, amsgrad=True)
for i in range(10):
    l = F.cross_entropy(T(X), y)
    o.zero_grad()
    l.backward()
    o.step()
    with torch.no_grad():
        for a, b in zip(ema.parameters(), T.parameters()):
            a.mul_(0.9).add_(b, alpha=0.1)
print(f"{l:.4f} {F.cross_entropy(ema(X), y):.4f}")
T.eval()
o = torch.optim.SGD(S.parameters(), lr=0.1)
for i in range(10):
    with torch.no_grad():
        tl = T(X)
    sl = S(X)
    kd = F.kl_div(F.log_softmax(sl / 2, dim=1), F.softmax(tl / 2, dim=1), reduction="batchmean") * 4
    l = 0.7 * kd + 0.3 * F.cross_entropy(sl, y)
    o.zero_grad()
    l.backward()
    o.step()
    if i % 3 == 0:
        print(f"{l.item():.4f} {kd.item():.4f} {(sl.argmax(1) == tl.argmax(1)).float().mean():.3f}")
print(
    F.kl_div(sl.log_softmax(1), tl.log_softmax(1), log_target=True, reduction="sum").item().__round__(4),
    nn.HuberLoss(delta=0.5)(sl, tl).item().__round__(4),
    nn.SmoothL1Loss()(sl, tl).item().__round__(4),
    nn.MultiMarginLoss()(sl, y).item().__round__(4),
    nn.PoissonNLLLoss()(sl, tl.abs()).item().__round__(4),
    nn.GaussianNLLLoss()(sl, tl, tl**2 + 1).item().__round__(4),
)
