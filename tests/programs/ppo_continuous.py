"""Proximal policy optimisation of continuous actions, in the one-file style."""

import torch
import numpy as np
import torch.nn as nn
from torch.distributions.normal import Normal
from torch.distributions import MultivariateNormal
from dataclasses import dataclass


@dataclass
class Args:
    lr: float = 3e-4
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    anneal: bool = True


args = Args()
torch.manual_seed(0)
torch.backends.cudnn.deterministic = True


def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(3, 16)), nn.Tanh(), layer_init(nn.Linear(16, 1), std=1.0))
        self.actor_mean = nn.Sequential(layer_init(nn.Linear(3, 16)), nn.Tanh(), layer_init(nn.Linear(16, 2), std=0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, np.prod((2,))))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        mean = self.actor_mean(x)
        std = torch.exp(self.actor_logstd.expand_as(mean))
        probs = Normal(mean, std)
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action).sum(1), probs.entropy().sum(1), self.critic(x)


agent = Agent()
opt = torch.optim.Adam(agent.parameters(), lr=args.lr, eps=1e-5)
obs = torch.zeros((16, 4) + (3,))
actions = torch.zeros((16, 4) + (2,))
logprobs = torch.zeros((16, 4))
rewards = torch.zeros((16, 4))
dones = torch.zeros((16, 4))
values = torch.zeros((16, 4))
next_obs = torch.randn(4, 3)
next_done = torch.zeros(4)
for update in range(1, 4):
    if args.anneal:
        opt.param_groups[0]["lr"] = (1 - (update - 1) / 3) * args.lr
    for step in range(16):
        obs[step] = next_obs
        dones[step] = next_done
        with torch.no_grad():
            a, lp, _, v = agent.get_action_and_value(next_obs)
            values[step] = v.flatten()
        actions[step] = a
        logprobs[step] = lp
        reward = -(next_obs[:, :2] - a).pow(2).sum(1).cpu().numpy()
        rewards[step] = torch.tensor(reward).view(-1)
        next_obs = torch.Tensor(np.clip((next_obs * 0.9).numpy() + 0.1 * np.ones((4, 3)), -1, 1))
        next_done = torch.Tensor(np.array([step % 8 == 7] * 4))
    with torch.no_grad():
        nv = agent.get_value(next_obs).reshape(1, -1)
        adv = torch.zeros_like(rewards)
        last = 0
        for t in reversed(range(16)):
            nnt = 1.0 - (next_done if t == 15 else dones[t + 1])
            nval = nv if t == 15 else values[t + 1]
            delta = rewards[t] + 0.99 * nval * nnt - values[t]
            adv[t] = last = delta + 0.99 * 0.95 * nnt * last
        returns = adv + values
    b_obs = obs.reshape((-1,) + (3,))
    b_lp = logprobs.reshape(-1)
    b_a = actions.reshape((-1, 2))
    b_adv = adv.reshape(-1)
    b_ret = returns.reshape(-1)
    b_v = values.reshape(-1)
    b_inds = np.arange(64)
    clipfracs = []
    np.random.seed(update)
    for epoch in range(2):
        np.random.shuffle(b_inds)
        for start in range(0, 64, 16):
            mb = b_inds[start : start + 16]
            _, nlp, ent, nval = agent.get_action_and_value(b_obs[mb], b_a[mb])
            logratio = nlp - b_lp[mb]
            ratio = logratio.exp()
            with torch.no_grad():
                old_kl = (-logratio).mean()
                kl = ((ratio - 1) - logratio).mean()
                clipfracs += [((ratio - 1.0).abs() > args.clip_coef).float().mean().item()]
            A = b_adv[mb]
            A = (A - A.mean()) / (A.std() + 1e-8)
            pg = torch.max(-A * ratio, -A * torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)).mean()
            nval = nval.view(-1)
            vu = (nval - b_ret[mb]) ** 2
            vc = b_v[mb] + torch.clamp(nval - b_v[mb], -0.2, 0.2)
            vl = 0.5 * torch.max(vu, (vc - b_ret[mb]) ** 2).mean()
            loss = pg - args.ent_coef * ent.mean() + vl * 0.5
            opt.zero_grad()
            loss.backward()
            gn = nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            opt.step()
    y_pred, y_true = b_v.cpu().numpy(), b_ret.cpu().numpy()
    ev = 1 - np.var(y_true - y_pred) / np.var(y_true)
    print(
        update,
        f"{loss.item():.4f} {kl.item():.4f} {gn:.3f}",
        np.mean(clipfracs).round(3),
        f"{ev:.3f}",
        opt.param_groups[0]["lr"],
    )
d = MultivariateNormal(torch.zeros(2), torch.diag(torch.full((2,), 0.5)))
print(d, d.sample((2,)), d.entropy(), d.log_prob(torch.ones(2)))
print(Normal(torch.zeros(2), 1.0), Normal(0, 1), agent.actor_logstd)
