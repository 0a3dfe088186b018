"""Proximal policy optimisation of vectors of environments, in one file."""

import numpy as np
import torch
import torch.nn as nn
from torch.distributions.normal import Normal
from torch.distributions import MultivariateNormal
import torch.optim as optim

np.random.seed(0)
torch.manual_seed(0)
torch.backends.cudnn.deterministic = True


def layer_init(l, std=np.sqrt(2), bias=0.0):
    torch.nn.init.orthogonal_(l.weight, std)
    torch.nn.init.constant_(l.bias, bias)
    return l


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(3, 16)), nn.Tanh(), layer_init(nn.Linear(16, 1), std=1.0))
        self.actor_mean = nn.Sequential(layer_init(nn.Linear(3, 16)), nn.Tanh(), layer_init(nn.Linear(16, 2), std=0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))

    def get_value(self, x):
        return self.critic(x)

    def get(self, x, a=None):
        mu = self.actor_mean(x)
        ls = self.actor_logstd.expand_as(mu)
        p = Normal(mu, torch.exp(ls))
        if a is None:
            a = p.sample()
        return a, p.log_prob(a).sum(1), p.entropy().sum(1), self.critic(x)


ag = Agent()
opt = optim.Adam(ag.parameters(), lr=3e-4, eps=1e-5)
T, N = 16, 4
obs = torch.zeros((T, N, 3))
acts = torch.zeros((T, N, 2))
lps = torch.zeros((T, N))
rews = torch.zeros((T, N))
dones = torch.zeros((T, N))
vals = torch.zeros((T, N))
no = torch.Tensor(np.random.randn(N, 3))
nd = torch.zeros(N)
for up in range(1, 4):
    opt.param_groups[0]["lr"] = 3e-4 * (1 - (up - 1) / 3)
    for t in range(T):
        obs[t] = no
        dones[t] = nd
        with torch.no_grad():
            a, lp, _, v = ag.get(no)
            vals[t] = v.flatten()
        acts[t] = a
        lps[t] = lp
        r = -(a.numpy() ** 2).sum(1)
        rews[t] = torch.tensor(r).view(-1)
        no = torch.Tensor(np.random.randn(N, 3))
        nd = torch.Tensor((np.random.rand(N) < 0.1).astype(float))
    with torch.no_grad():
        nv = ag.get_value(no).reshape(1, -1)
        adv = torch.zeros_like(rews)
        lg = 0
        for t in reversed(range(T)):
            nnt = 1.0 - (nd if t == T - 1 else dones[t + 1])
            nvs = nv if t == T - 1 else vals[t + 1]
            delta = rews[t] + 0.99 * nvs * nnt - vals[t]
            adv[t] = lg = delta + 0.99 * 0.95 * nnt * lg
        ret = adv + vals
    bo = obs.reshape((-1, 3))
    bl = lps.reshape(-1)
    ba = acts.reshape((-1, 2))
    badv = adv.reshape(-1)
    br = ret.reshape(-1)
    bv = vals.reshape(-1)
    inds = np.arange(T * N)
    cf = []
    for ep in range(3):
        np.random.shuffle(inds)
        for st in range(0, T * N, 16):
            mb = inds[st : st + 16]
            _, nl, en, nvv = ag.get(bo[mb], ba[mb])
            lr = nl - bl[mb]
            ratio = lr.exp()
            with torch.no_grad():
                kl = ((ratio - 1) - lr).mean()
                cf += [((ratio - 1.0).abs() > 0.2).float().mean().item()]
            A = badv[mb]
            A = (A - A.mean()) / (A.std() + 1e-8)
            pg = torch.max(-A * ratio, -A * torch.clamp(ratio, 0.8, 1.2)).mean()
            nvv = nvv.view(-1)
            vu = (nvv - br[mb]) ** 2
            vc = bv[mb] + torch.clamp(nvv - bv[mb], -0.2, 0.2)
            vl = 0.5 * torch.max(vu, (vc - br[mb]) ** 2).mean()
            l = pg - 0.01 * en.mean() + vl * 0.5
            opt.zero_grad()
            l.backward()
            nn.utils.clip_grad_norm_(ag.parameters(), 0.5)
            opt.step()
    yp, yt = bv.numpy(), br.numpy()
    print(
        up, f"{vl.item():.4f} {pg.item():.4f} {kl.item():.4f} {np.mean(cf):.3f} {1 - np.var(yt - yp) / np.var(yt):.4f}"
    )
    d = MultivariateNormal(ag.actor_mean(no), torch.diag_embed(ag.actor_logstd.exp().expand(N, 2) ** 2))
    print(d.log_prob(torch.zeros(N, 2)).detach())
