import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Walk:
    def __init__(self, rng):
        self.rng = rng

    def reset(self):
        self.at = 3
        return self.state()

    def state(self):
        s = np.zeros(7, dtype=np.float32)
        s[self.at] = 1
        return s

    def step(self, action):
        self.at += 1 if action else -1
        done = self.at in (0, 6)
        return self.state(), (1.0 if self.at == 6 else -0.1), done


torch.manual_seed(7)
policy = nn.Sequential(nn.Linear(7, 24), nn.ReLU(), nn.Linear(24, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
env = Walk(np.random.default_rng(0))
for episode in range(31):
    state, done = env.reset(), False
    log_probs, rewards = [], []
    while not done and len(rewards) < 30:
        logits = policy(torch.from_numpy(state))
        action = torch.multinomial(F.softmax(logits, dim=-1), 1).item()
        log_probs.append(F.log_softmax(logits, dim=-1)[action])
        state, reward, done = env.step(action)
        rewards.append(reward)
    returns, g = [], 0.0
    for r in reversed(rewards):
        g = r + 0.95 * g
        returns.insert(0, g)
    returns = torch.tensor(returns)
    if len(returns) > 1:
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
    loss = -(torch.stack(log_probs) * returns).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if episode % 10 == 0:
        print(episode, len(rewards), f"{sum(rewards):.1f}", f"{loss.item():.3f}")
