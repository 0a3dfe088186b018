import torch
import torch.nn as nn

# u'' = -u, u(0) = 0, u'(0) = 1, by a network whose derivatives enter the loss
torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
net = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)


def derivative(u, x):
    return torch.autograd.grad(u, x, grad_outputs=torch.ones_like(u), create_graph=True)[0]


for step in range(201):
    x = (torch.rand(64, 1) * 3).requires_grad_(True)
    u = net(x)
    du = derivative(u, x)
    ddu = derivative(du, x)
    x0 = torch.zeros(1, 1, requires_grad=True)
    u0 = net(x0)
    loss = (ddu + u).square().mean() + u0.square().sum() + (derivative(u0, x0) - 1).square().sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:4d} loss {loss.item():.4f}")
