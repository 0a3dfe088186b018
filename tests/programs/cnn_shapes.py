"""A convolutional classifier of drawn shapes, with pooling, batch norm and an upsampling decoder; and Conv1d."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def draw(n):
    x = 0.1 * torch.randn(n, 1, 12, 12)
    y = torch.randint(0, 3, (n,))
    for i in range(n):
        r, c = torch.randint(0, 6, (2,)).tolist()
        if y[i] == 0:
            x[i, 0, r : r + 6, c] += 1
        elif y[i] == 1:
            x[i, 0, r, c : c + 6] += 1
        else:
            x[i, 0, r : r + 4, c : c + 4] += 1
    return x, y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.drop = nn.Dropout2d(0.1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(16, 3))

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.drop(F.relu(self.bn(self.conv2(x))))
        return self.head(x)


x, y = draw(96)
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
net = Net()
print(net)
print(sum(p.numel() for p in net.parameters()))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(4):
    net.train()
    total, hits = 0.0, 0
    for xb, yb in loader:
        out = net(xb)
        loss = F.cross_entropy(out, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(yb)
        hits += (out.argmax(1) == yb).sum().item()
    print(f"epoch {epoch} loss {total / 96:.3f} acc {hits / 96:.3f}")
net.eval()
with torch.no_grad():
    print([[f"{v:.2f}" for v in row] for row in net(x[:2]).tolist()])
print(net.conv1(x[:1]).grad_fn.name(), net.pool(net.conv1(x[:1])).grad_fn.name())

decoder = nn.Sequential(nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), nn.Tanh(), nn.ConvTranspose2d(3, 1, 3))
z = torch.randn(2, 4, 5, 5, requires_grad=True)
image = decoder(z)
image.square().mean().backward()
print(decoder, image.shape, f"{image.mean():.4f} {z.grad.norm():.4f}")

signal = nn.Sequential(
    nn.Conv1d(2, 6, 5, padding="same", groups=2), nn.ReLU(), nn.AvgPool1d(3, stride=2, padding=1),
    nn.Conv1d(6, 4, 3, dilation=2, padding=2, padding_mode="circular"), nn.AdaptiveMaxPool1d(4),
)  # fmt: skip
s = signal(torch.randn(3, 2, 20))
s.sum().backward()
print(signal, s.shape, s.stride(), f"{s.sum():.4f}", [f"{p.grad.norm():.3f}" for p in signal.parameters()])
values, places = F.max_pool2d(torch.arange(16.0).reshape(1, 1, 4, 4), 2, return_indices=True)
print(values, places)
for bad in (
    lambda: nn.Conv2d(3, 4, 5)(torch.randn(1, 3, 4, 4)),
    lambda: nn.Conv2d(3, 4, 3)(torch.randn(1, 2, 8, 8)),
    lambda: nn.Conv2d(3, 4, 3, groups=2),
    lambda: F.max_pool1d(torch.randn(1, 1, 4), 2, padding=2),
):
    try:
        bad()
    except (ValueError, RuntimeError) as e:
        print(isinstance(e, ValueError) and not isinstance(e, RuntimeError))

up = nn.Sequential(
    nn.Upsample(scale_factor=2), nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2),
    nn.Upsample(size=(5, 5), mode="bilinear"), nn.UpsamplingNearest2d(scale_factor=2),
)  # fmt: skip
x = torch.randn(1, 1, 3, 3, requires_grad=True)
y = up(x)
y.square().sum().backward()
print(up, y.shape, f"{y.sum():.4f} {x.grad.norm():.4f}", nn.Unfold(2, stride=2)(x).shape)
print(F.interpolate(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), scale_factor=2, mode="bicubic"))
