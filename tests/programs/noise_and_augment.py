import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(4)
rng = np.random.default_rng(4)


class GaussianNoise(nn.Module):
    def __init__(self, sigma):
        super().__init__()
        self.sigma = sigma

    def forward(self, x):
        return x + torch.randn_like(x) * self.sigma if self.training else x

    def extra_repr(self):
        return f"sigma={self.sigma}"


class Block(nn.Module):
    """Pre-activation residual block with stochastic depth."""

    def __init__(self, width, p_drop=0.2, survive=0.8):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop, self.survive = nn.Dropout(p_drop), survive

    def forward(self, x):
        if self.training and torch.rand(1).item() > self.survive:
            return x
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.norm(x)), approximate="tanh")))


def mixup(x, y, alpha=0.4):
    lam = float(rng.beta(alpha, alpha))
    index = torch.randperm(x.size(0))
    return lam * x + (1 - lam) * x[index], lam * y + (1 - lam) * y[index]


n, k = 240, 4
centres = torch.randn(k, 6) * 1.5
labels = torch.arange(n) % k
x = centres[labels] + torch.randn(n, 6)
onehot = F.one_hot(labels, num_classes=k).float()
net = nn.Sequential(
    GaussianNoise(0.1), nn.Linear(6, 24), Block(24), Block(24), Block(24), nn.LayerNorm(24), nn.Linear(24, k)
)
print(net)
ema = {name: p.detach().clone() for name, p in net.named_parameters()}
optimizer = torch.optim.RAdam(net.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=2)
for epoch in range(12):
    net.train()
    losses = []
    for batch in torch.randperm(n).view(-1, 48):
        xb, yb = mixup(x[batch], onehot[batch])
        loss = F.cross_entropy(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name, p in net.named_parameters():
                ema[name].mul_(0.98).add_(p, alpha=0.02)
        losses.append(loss.item())
    scheduler.step(epoch + 1)
    if epoch % 3 == 0:
        net.eval()
        with torch.inference_mode():
            right = net(x).argmax(1).eq(labels).sum()
        print(f"{epoch} {np.mean(losses):.2f} {right.item() > n // 2} {scheduler.get_last_lr()[0]:.5f}")
swapped = {**net.state_dict(), **ema}
net.load_state_dict(swapped)
print(torch.topk(net(x)[:2].softmax(-1), 2).indices)
