"""Twins that learn distances: contrastive, triplet and cosine losses."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(5)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(1, 4, 3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(4),
            nn.Dropout2d(p=0.2),
            nn.AdaptiveAvgPool2d((4, 4)),
        )
        self.fc = nn.Linear(64, 8)

    def forward_once(self, x):
        return self.fc(self.c(x).view(x.size(0), -1))

    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, o1, o2, label):
        d = F.pairwise_distance(o1, o2, keepdim=True)
        return torch.mean((1 - label) * torch.pow(d, 2) + label * torch.pow(torch.clamp(self.margin - d, min=0.0), 2))


net = Siamese()
opt = torch.optim.Adam(net.parameters(), lr=5e-4)
x = torch.randn(12, 1, 10, 10)
x2 = torch.randn(12, 1, 10, 10)
lab = torch.randint(0, 2, (12, 1)).float()
cl = ContrastiveLoss()
tl = nn.TripletMarginLoss(margin=1.0, p=2, swap=True)
tw = nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: 1.0 - F.cosine_similarity(a, b), margin=0.5)
for i in range(4):
    o1, o2 = net(x, x2)
    o3 = net.forward_once(torch.flip(x, [2]))
    l = (
        cl(o1, o2, lab)
        + tl(o1, o3, o2)
        + tw(o1, o3, o2)
        + nn.CosineEmbeddingLoss(margin=0.1)(o1, o2, 1 - 2 * lab.squeeze())
    )
    opt.zero_grad()
    l.backward()
    opt.step()
    print(f"{l:.4f}")
d = torch.cdist(o1, o2)
print(d.shape, d.argmin(1), F.pdist(o1[:3]).detach().shape)
z = F.normalize(torch.cat([o1, o2]))
sim = z @ z.T / 0.5
sim.fill_diagonal_(-1e9)
tgt = torch.cat([torch.arange(12) + 12, torch.arange(12)])
print(f"{F.cross_entropy(sim, tgt):.4f}")
