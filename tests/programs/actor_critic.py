"""An actor and a critic, one episode after the other."""

import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
from collections import namedtuple

torch.manual_seed(543)
random.seed(1)
SavedAction = namedtuple("SavedAction", ["log_prob", "value"])


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 32)
        self.action_head = nn.Linear(32, 3)
        self.value_head = nn.Linear(32, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


m = Policy()
opt = torch.optim.Adam(m.parameters(), lr=3e-2)
eps = torch.finfo(torch.float32).eps
for ep in range(10):
    pos = 0.0
    R = 0
    for t in range(20):
        s = torch.tensor([pos, t / 20.0])
        p, v = m(s)
        d = Categorical(p)
        a = d.sample()
        m.saved_actions.append(SavedAction(d.log_prob(a), v))
        pos += (a.item() - 1) * 0.1
        r = -abs(pos - 0.5)
        m.rewards.append(r)
        R += r
    ret = []
    g = 0
    for r in m.rewards[::-1]:
        g = r + 0.99 * g
        ret.insert(0, g)
    ret = torch.tensor(ret)
    ret = (ret - ret.mean()) / (ret.std() + eps)
    pl = []
    vl = []
    for (lp, v), g in zip(m.saved_actions, ret):
        adv = g - v.item()
        pl.append(-lp * adv)
        vl.append(F.smooth_l1_loss(v, torch.tensor([g])))
    opt.zero_grad()
    l = torch.stack(pl).sum() + torch.stack(vl).sum()
    l.backward()
    opt.step()
    del m.rewards[:]
    del m.saved_actions[:]
    print("Episode {}\treward {:.2f}\tloss {:.3f} entropy {:.3f}".format(ep, R, l.item(), d.entropy().item()))
