"""Ratings by embeddings, under one optimizer after the other; counts and sums by index."""

import torch
import torch.nn as nn

torch.manual_seed(7)


class MF(nn.Module):
    def __init__(self, nu, ni, k=8):
        super().__init__()
        self.u = nn.Embedding(nu, k)
        self.i = nn.Embedding(ni, k)
        self.ub = nn.Embedding(nu, 1)
        self.ib = nn.Embedding(ni, 1)
        self.b = nn.Parameter(torch.zeros(1))
        self.u.weight.data.uniform_(0, 0.05)
        self.i.weight.data.uniform_(0, 0.05)
        nn.init.zeros_(self.ub.weight)
        nn.init.zeros_(self.ib.weight)

    def forward(self, u, i):
        return (self.u(u) * self.i(i)).sum(1) + self.ub(u).squeeze() + self.ib(i).squeeze() + self.b


m = MF(30, 40)
us = torch.randint(30, (500,))
it = torch.randint(40, (500,))
r = torch.randint(1, 6, (500,)).float()
groups = [
    {"params": [m.u.weight, m.i.weight], "weight_decay": 1e-3},
    {"params": [m.ub.weight, m.ib.weight, m.b], "lr": 0.05},
]
for O in (
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.ASGD,
    torch.optim.Rprop,
):
    torch.manual_seed(1)
    m = MF(30, 40)
    groups = [{"params": [m.u.weight, m.i.weight]}, {"params": [m.ub.weight, m.ib.weight, m.b], "lr": 0.05}]
    o = O(groups, lr=0.01)
    for e in range(5):
        l = nn.functional.mse_loss(m(us, it), r)
        o.zero_grad(set_to_none=True)
        l.backward()
        o.step()
    print(O.__name__, f"{l.item():.4f}", o)
eb = nn.EmbeddingBag(40, 4, mode="mean")
print(eb(torch.tensor([1, 2, 4, 5, 4, 3]), torch.tensor([0, 4])))
n = torch.bincount(us, minlength=30)
print(n, torch.unique(it, return_counts=True)[1][:5], torch.histc(r, 5, 1, 5))
print(
    r.scatter_reduce(0, torch.zeros(500, dtype=torch.long), r, "amax")[:2],
    torch.zeros(30).index_add_(0, us, r)[:4],
    torch.zeros(30).scatter_add(0, us, r)[-2:],
)
