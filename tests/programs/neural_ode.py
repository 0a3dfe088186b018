"""An ordinary differential equation learnt through Euler steps."""

import torch
import torch.nn as nn

torch.manual_seed(0)
A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


def odeint(f, y0, t, method="euler"):
    ys = [y0]
    for i in range(len(t) - 1):
        h = t[i + 1] - t[i]
        y = ys[-1]
        if method == "euler":
            ys.append(y + h * f(t[i], y))
        else:
            k1 = f(t[i], y)
            k2 = f(t[i] + h / 2, y + h * k1 / 2)
            k3 = f(t[i] + h / 2, y + h * k2 / 2)
            k4 = f(t[i] + h, y + h * k3)
            ys.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return torch.stack(ys)


t = torch.linspace(0.0, 2.0, 30)
y0 = torch.tensor([[2.0, 0.0]])
with torch.no_grad():
    true = odeint(lambda t, y: torch.mm(y**3, A), y0, t, "rk4")
print(true[-1], true.shape)


class F_(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        self.nfe = 0
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        self.nfe += 1
        return self.net(y**3)


f = F_()
opt = torch.optim.RMSprop(f.parameters(), lr=1e-3)
for i in range(20):
    opt.zero_grad()
    l = torch.mean(torch.abs(odeint(f, y0, t) - true))
    l.backward()
    opt.step()
    if i % 5 == 0:
        print("Iter {:04d} | Total Loss {:.4f}".format(i, l.item()))
print(f.nfe)
