"""Deep Q-learning on a corridor, with a NumPy replay buffer and a target network."""

import random
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward", "done"))


class Corridor:
    def __init__(self, n=8):
        self.n = n

    def reset(self):
        self.at, self.t = 0, 0
        return self._obs()

    def _obs(self):
        o = np.zeros(self.n, dtype=np.float32)
        o[self.at] = 1.0
        return o

    def step(self, action):
        self.at = min(max(self.at + (1 if action == 1 else -1), 0), self.n - 1)
        self.t += 1
        goal = self.at == self.n - 1
        return self._obs(), 1.0 if goal else -0.01, goal or self.t >= 40


class QNet(nn.Module):
    def __init__(self, n, actions):
        super().__init__()
        self.l1, self.l2 = nn.Linear(n, 24), nn.Linear(24, 24)
        self.value, self.advantage = nn.Linear(24, 1), nn.Linear(24, actions)

    def forward(self, x):
        x = F.relu(self.l2(F.relu(self.l1(x))))
        a = self.advantage(x)
        return self.value(x) + a - a.mean(dim=-1, keepdim=True)


def main():
    seed = 5
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    env, memory = Corridor(), deque(maxlen=2000)
    policy, target = QNet(8, 2), QNet(8, 2)
    target.load_state_dict(policy.state_dict())
    target.eval()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-3, amsgrad=True)
    epsilon, gamma, tau = 1.0, 0.95, 0.05
    for episode in range(25):
        state, total = env.reset(), 0.0
        done = False
        while not done:
            if random.random() < epsilon:
                action = random.randrange(2)
            else:
                with torch.no_grad():
                    action = policy(torch.from_numpy(state).unsqueeze(0)).max(1).indices.view(1, 1).item()
            after, reward, done = env.step(action)
            memory.append(Transition(state, action, after, reward, done))
            state, total = after, total + reward
            if len(memory) < 64:
                continue
            batch = Transition(*zip(*random.sample(memory, 64)))
            s = torch.from_numpy(np.stack(batch.state))
            a = torch.tensor(batch.action, dtype=torch.int64).unsqueeze(1)
            r = torch.tensor(batch.reward)
            s2 = torch.as_tensor(np.array(batch.next_state))
            d = torch.tensor(batch.done, dtype=torch.float32)
            q = policy(s).gather(1, a).squeeze(1)
            with torch.no_grad():
                best = policy(s2).argmax(dim=1, keepdim=True)
                y = r + gamma * (1 - d) * target(s2).gather(1, best).squeeze(1)
            loss = F.smooth_l1_loss(q, y)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(policy.parameters(), 100)
            optimizer.step()
            state_dict = target.state_dict()
            for key, value in policy.state_dict().items():
                state_dict[key] = value * tau + state_dict[key] * (1 - tau)
            target.load_state_dict(state_dict)
        epsilon = max(0.05, epsilon * 0.85)
        if episode % 6 == 0:
            print(
                f"episode {episode:2d} return {total:.2f} buffer {len(memory)} loss {loss.item():.1f}"
                if len(memory) >= 64
                else f"episode {episode:2d} return {total:.2f}"
            )
    with torch.no_grad():
        q = policy(torch.eye(8))
    print(q.argmax(1).tolist()[:-1], q.shape, q.requires_grad)


main()
