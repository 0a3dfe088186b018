import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

parser = argparse.ArgumentParser()
parser.add_argument("--gamma", type=float, default=0.97)
parser.add_argument("--seed", type=int, default=543)
args = parser.parse_args([])
torch.manual_seed(args.seed)
rng = np.random.default_rng(args.seed)


class Policy(nn.Module):
    def __init__(self):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(4, 32)
        self.dropout = nn.Dropout(p=0.2)
        self.affine2 = nn.Linear(32, 3)
        self.saved_log_probs = []
        self.rewards = []
        self.entropies = []

    def forward(self, x):
        x = self.dropout(self.affine1(x))
        return F.softmax(self.affine2(F.relu(x)), dim=1)


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
eps = np.finfo(np.float32).eps.item()


def select_action(state):
    probs = policy(torch.from_numpy(state).float().unsqueeze(0))
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    policy.entropies.append(m.entropy())
    return action.item()


for episode in range(30):
    score = 0
    for t in range(12):
        state = rng.normal(size=4)
        action = select_action(state)
        reward = float(action == int(np.argmax(state[:3])))
        policy.rewards.append(reward)
        score += reward
    R, returns = 0, []
    for r in policy.rewards[::-1]:
        R = r + args.gamma * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    policy_loss = [-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns)]
    optimizer.zero_grad()
    loss = torch.cat(policy_loss).sum() - 0.01 * torch.stack(policy.entropies).sum()
    loss.backward()
    optimizer.step()
    del policy.rewards[:], policy.saved_log_probs[:], policy.entropies[:]
    if episode % 5 == 0:
        print(f"Episode {episode}\tscore {score:.0f}\tloss {loss.item():.2f}")
logits = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
d = Categorical(logits=logits)
print(d, d.sample((3,)).shape, d.probs, d.log_prob(torch.tensor([2, 1])), d.entropy())
