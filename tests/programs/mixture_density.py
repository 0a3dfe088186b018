import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(1)
y = rng.uniform(-1, 1, 400)
x = 7 * np.sin(5 * y) + 0.5 * y + 0.3 * rng.normal(size=400)
x, y = torch.tensor(x / 7).unsqueeze(-1), torch.tensor(y).unsqueeze(-1)


class MDN(nn.Module):
    def __init__(self, n_hidden=20, n_gaussians=5):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, n_hidden), nn.Tanh())
        self.z_pi = nn.Linear(n_hidden, n_gaussians)
        self.z_mu = nn.Linear(n_hidden, n_gaussians)
        self.z_sigma = nn.Linear(n_hidden, n_gaussians)

    def forward(self, x):
        z_h = self.z_h(x)
        return F.log_softmax(self.z_pi(z_h), -1), self.z_mu(z_h), F.softplus(self.z_sigma(z_h)) + 1e-3


def mdn_loss(log_pi, mu, sigma, y):
    m = Normal(loc=mu, scale=sigma)
    return -torch.logsumexp(m.log_prob(y.expand_as(mu)) + log_pi, dim=1).mean()


net = MDN()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(151):
    log_pi, mu, sigma = net(x)
    loss = mdn_loss(log_pi, mu, sigma, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 50 == 0:
        print(epoch, f"{loss.item():.4f}")
with torch.no_grad():
    log_pi, mu, sigma = net(torch.linspace(-1, 1, 6).view(-1, 1))
    k = torch.multinomial(log_pi.exp(), 1)
    drawn = mu.gather(1, k) + sigma.gather(1, k) * torch.randn(6, 1)
    print(k.shape, drawn.shape, torch.allclose(log_pi.exp().sum(1), torch.ones(6)))
