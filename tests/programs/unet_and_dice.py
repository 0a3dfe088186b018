"""A U-Net with both ways up, its Dice loss, and layers that put patches back."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class DoubleConv(nn.Module):
    def __init__(self, i, o, mid=None):
        super().__init__()
        mid = mid or o
        self.double_conv = nn.Sequential(
            nn.Conv2d(i, mid, 3, padding=1, bias=False),
            nn.BatchNorm2d(mid),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid, o, 3, padding=1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(i, o))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, i, o, bil):
        super().__init__()
        if bil:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(i, o, i // 2)
        else:
            self.up = nn.ConvTranspose2d(i, i // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(i, o)

    def forward(self, a, b):
        a = self.up(a)
        dy = b.size()[2] - a.size()[2]
        dx = b.size()[3] - a.size()[3]
        a = F.pad(a, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([b, a], dim=1))


class UNet(nn.Module):
    def __init__(self, bil):
        super().__init__()
        self.inc = DoubleConv(1, 4)
        self.d1 = Down(4, 8)
        self.d2 = Down(8, 16 // (2 if bil else 1))
        self.u1 = Up(16, 8 // (2 if bil else 1), bil)
        self.u2 = Up(8 if not bil else 8, 4, bil)
        self.outc = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.d1(a)
        c = self.d2(b)
        return self.outc(self.u2(self.u1(c, b), a))


for bil in (True, False):
    torch.manual_seed(1)
    m = UNet(bil)
    x = torch.randn(2, 1, 13, 14)
    y = (x[:, 0] > 0).long()
    o = torch.optim.RMSprop(m.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
    for i in range(3):
        out = m(x)
        p = F.softmax(out, 1)
        oh = F.one_hot(y, 2).permute(0, 3, 1, 2).float()
        dice = 1 - (2 * (p * oh).sum((-1, -2)) + 1e-6) / (p.sum((-1, -2)) + oh.sum((-1, -2)) + 1e-6)
        l = F.cross_entropy(out, y) + dice.mean()
        o.zero_grad(set_to_none=True)
        l.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        o.step()
        print(f"{l.item():.4f}")
    print(sum(p.numel() for p in m.parameters()))
pool = nn.MaxPool2d(2, return_indices=True)
un = nn.MaxUnpool2d(2)
z, i = pool(x[:, :, :12])
print(un(z, i).sum().item().__round__(3), un(z, i, output_size=torch.Size([2, 1, 13, 14])).shape)
f = nn.Fold((8, 9), (3, 2), padding=1)
u = nn.Unfold((3, 2), padding=1)
q = torch.randn(1, 2, 8, 9)
print(f(u(q)).sum().item().__round__(3))
print(
    nn.PixelShuffle(2)(torch.arange(16.0).view(1, 4, 2, 2))[0, 0, 0],
    nn.ChannelShuffle(2)(torch.arange(8.0).view(1, 4, 1, 2)).flatten(),
)
