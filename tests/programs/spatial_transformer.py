"""A network that straightens its images: affine_grid and grid_sample in each mode."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(10 * 6 * 6, 20)
        self.localization = nn.Sequential(nn.Conv2d(1, 8, kernel_size=5), nn.MaxPool2d(2, stride=2), nn.ReLU(True))
        self.fc_loc = nn.Sequential(nn.Linear(8 * 6 * 6, 32), nn.ReLU(True), nn.Linear(32, 3 * 2))
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))

    def stn(self, x):
        xs = self.localization(x).view(-1, 8 * 6 * 6)
        theta = self.fc_loc(xs).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    def forward(self, x):
        x = self.stn(x)
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv1(x)), 2))
        x = x.view(-1, 10 * 6 * 6)
        return F.log_softmax(F.dropout(self.fc1(x), training=self.training), dim=1)


m = Net()
opt = torch.optim.SGD(m.parameters(), lr=0.01)
x = torch.rand(8, 1, 16, 16)
t = torch.randint(20, (8,))
for i in range(5):
    opt.zero_grad()
    l = F.nll_loss(m(x), t)
    l.backward()
    opt.step()
    print(f"{l.item():.4f}")
print(f"{m.fc_loc[2].weight.grad.norm():.4f}")
m.eval()
print(m.stn(x).sum().item().__round__(3))
for mode in ("nearest", "bilinear", "bicubic"):
    for pm in ("zeros", "border", "reflection"):
        for ac in (True, False):
            print(
                mode,
                pm,
                ac,
                f"{F.grid_sample(x, torch.linspace(-1.3, 1.3, 50).view(1, 5, 5, 2).expand(8, 5, 5, 2), mode=mode, padding_mode=pm, align_corners=ac).sum():.4f}",
            )
