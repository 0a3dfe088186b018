"""A residual network as in the model zoos: groups of parameters, one cycle, a new head."""

import torch
import torch.nn as nn
from typing import Optional, Type, Union, List, Any, Callable
from torch import Tensor

torch.manual_seed(0)


def conv3x3(i, o, stride=1, groups=1, dilation=1):
    return nn.Conv2d(i, o, kernel_size=3, stride=stride, padding=dilation, groups=groups, bias=False, dilation=dilation)


class BasicBlock(nn.Module):
    expansion: int = 1

    def __init__(self, i, p, stride=1, down: Optional[nn.Module] = None):
        super().__init__()
        self.conv1 = conv3x3(i, p, stride)
        self.bn1 = nn.BatchNorm2d(p)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(p, p)
        self.bn2 = nn.BatchNorm2d(p)
        self.downsample = down

    def forward(self, x: Tensor) -> Tensor:
        idn = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            idn = self.downsample(x)
        out += idn
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, layers, nc=5, zi=True):
        super().__init__()
        self.inplanes = 8
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make(8, layers[0])
        self.layer2 = self._make(16, layers[1], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, nc)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
        if zi:
            for m in self.modules():
                if isinstance(m, BasicBlock) and m.bn2.weight is not None:
                    nn.init.constant_(m.bn2.weight, 0)

    def _make(self, p, n, stride=1):
        d = None
        if stride != 1 or self.inplanes != p:
            d = nn.Sequential(nn.Conv2d(self.inplanes, p, 1, stride, bias=False), nn.BatchNorm2d(p))
        l = [BasicBlock(self.inplanes, p, stride, d)]
        self.inplanes = p
        l += [BasicBlock(p, p) for _ in range(1, n)]
        return nn.Sequential(*l)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


m = ResNet([1, 2])
print(m)
x = torch.randn(8, 3, 32, 32)
t = torch.arange(8) % 5
dec, nod = [], []
for n, p in m.named_parameters():
    (nod if p.ndim <= 1 else dec).append(p)
o = torch.optim.SGD(
    [{"params": dec, "weight_decay": 1e-2}, {"params": nod, "weight_decay": 0.0}], lr=0.05, momentum=0.9
)
s = torch.optim.lr_scheduler.OneCycleLR(o, max_lr=[0.1, 0.05], total_steps=5)
for i in range(5):
    l = nn.functional.cross_entropy(m(x), t)
    o.zero_grad()
    l.backward()
    o.step()
    s.step()
    print(f"{l.item():.3f} {s.get_last_lr()[0]:.5f}")
for p in m.parameters():
    p.requires_grad = False
m.fc = nn.Linear(16, 3)
print([n for n, p in m.named_parameters() if p.requires_grad])
m.eval()
print(m(x).argmax(1).shape, m.layer1[0].bn1.running_mean[:3])
f = {}
h = [l.register_forward_hook(lambda mod, i, o, n=n: f.update({n: o.shape})) for n, l in m.named_children()]
m(x)
print(f)
print(nn.DataParallel(m)(x).shape)
