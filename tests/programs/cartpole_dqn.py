"""Deep Q-learning of a pole on a cart, as in the tutorial."""

import math, random
from collections import namedtuple, deque
import torch
import torch.nn as nn
import torch.optim as optim
import torch.nn.functional as F

random.seed(0)
torch.manual_seed(0)


class CartPole:
    def reset(self):
        self.s = [random.uniform(-0.05, 0.05) for _ in range(4)]
        self.t = 0
        return list(self.s), {}

    def step(self, a):
        x, xd, th, thd = self.s
        f = 10.0 if a == 1 else -10.0
        c, s = math.cos(th), math.sin(th)
        tmp = (f + 0.05 * thd**2 * s) / 1.1
        ta = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c**2 / 1.1))
        xa = tmp - 0.05 * ta * c / 1.1
        self.s = [x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * ta]
        self.t += 1
        d = abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.2095
        return list(self.s), 1.0, d, self.t >= 60, {}


Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class ReplayMemory(object):
    def __init__(self, cap):
        self.memory = deque([], maxlen=cap)

    def push(self, *a):
        self.memory.append(Transition(*a))

    def sample(self, n):
        return random.sample(self.memory, n)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n, a):
        super().__init__()
        self.layer1 = nn.Linear(n, 32)
        self.layer2 = nn.Linear(32, 32)
        self.layer3 = nn.Linear(32, a)

    def forward(self, x):
        return self.layer3(F.relu(self.layer2(F.relu(self.layer1(x)))))


device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
env = CartPole()
policy = DQN(4, 2).to(device)
target = DQN(4, 2).to(device)
target.load_state_dict(policy.state_dict())
opt = optim.AdamW(policy.parameters(), lr=1e-3, amsgrad=True)
mem = ReplayMemory(1000)
steps = 0


def select(state):
    global steps
    eps = 0.05 + 0.85 * math.exp(-1.0 * steps / 200)
    steps += 1
    if random.random() > eps:
        with torch.no_grad():
            return policy(state).max(1).indices.view(1, 1)
    return torch.tensor([[random.randrange(2)]], device=device, dtype=torch.long)


def optimize():
    if len(mem) < 32:
        return
    batch = Transition(*zip(*mem.sample(32)))
    nfm = torch.tensor(tuple(map(lambda s: s is not None, batch.next_state)), device=device, dtype=torch.bool)
    nfs = torch.cat([s for s in batch.next_state if s is not None])
    sb = torch.cat(batch.state)
    ab = torch.cat(batch.action)
    rb = torch.cat(batch.reward)
    q = policy(sb).gather(1, ab)
    nv = torch.zeros(32, device=device)
    with torch.no_grad():
        nv[nfm] = target(nfs).max(1).values
    loss = nn.SmoothL1Loss()(q, ((nv * 0.99) + rb).unsqueeze(1))
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy.parameters(), 100)
    opt.step()
    return loss


for ep in range(8):
    s, _ = env.reset()
    s = torch.tensor(s, dtype=torch.float32, device=device).unsqueeze(0)
    for t in range(1000):
        a = select(s)
        o, r, term, trunc, _ = env.step(a.item())
        r = torch.tensor([r], device=device)
        ns = None if term else torch.tensor(o, dtype=torch.float32, device=device).unsqueeze(0)
        mem.push(s, a, ns, r)
        s = ns
        l = optimize()
        td = target.state_dict()
        pd = policy.state_dict()
        for k in pd:
            td[k] = pd[k] * 0.005 + td[k] * (1 - 0.005)
        target.load_state_dict(td)
        if term or trunc:
            break
    print(ep, t + 1, None if l is None else f"{l.item():.4f}")
