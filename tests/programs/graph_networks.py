"""Networks on a graph: convolutions, attention, means and maxima of neighbours."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
N = 20
A = (torch.rand(N, N) < 0.2).float()
A = ((A + A.t()) > 0).float()
A.fill_diagonal_(1)
d = A.sum(1).pow(-0.5)
d[torch.isinf(d)] = 0
Ah = d[:, None] * A * d[None, :]
X = torch.randn(N, 6)
y = torch.randint(3, (N,))
mask = torch.zeros(N, dtype=torch.bool)
mask[torch.randperm(N)[:12]] = True


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = nn.Linear(6, 8, bias=False)
        self.w2 = nn.Linear(8, 3, bias=False)
        self.b = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return F.log_softmax(Ah @ self.w2(F.dropout(F.relu(Ah @ self.w1(x)), 0.5, self.training)) + self.b, dim=1)


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.empty(6, 8))
        self.a = nn.Parameter(torch.empty(16, 1))
        nn.init.xavier_uniform_(self.W.data, gain=1.414)
        nn.init.xavier_uniform_(self.a.data, gain=1.414)
        self.o = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.mm(x, self.W)
        e = F.leaky_relu((h @ self.a[:8]) + (h @ self.a[8:]).T, 0.2)
        at = F.softmax(torch.where(A > 0, e, -9e15 * torch.ones_like(e)), dim=1)
        return F.log_softmax(self.o(F.elu(at @ h)), 1)


src, dst = A.nonzero(as_tuple=True)


class SAGE(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(12, 3)

    def forward(self, x):
        m = torch.zeros(N, 6).index_add(0, dst, x[src]) / torch.bincount(dst, minlength=N).clamp(min=1).unsqueeze(1)
        mx = torch.zeros(N, 6).scatter_reduce(
            0, dst.unsqueeze(1).expand(-1, 6), x[src], reduce="amax", include_self=False
        )
        return F.log_softmax(self.l(torch.cat([x, m + mx], 1)), 1)


for M in (GCN, GAT, SAGE):
    torch.manual_seed(1)
    m = M()
    o = torch.optim.Adam(m.parameters(), lr=0.01, weight_decay=5e-4)
    for e in range(20):
        m.train()
        o.zero_grad()
        l = F.nll_loss(m(X)[mask], y[mask])
        l.backward()
        o.step()
    m.eval()
    p = m(X).argmax(1)
    print(M.__name__, f"{l.item():.4f}", (p[~mask] == y[~mask]).sum().item())
print(
    torch.sparse if False else src.shape,
    torch.triu_indices(4, 4, 1),
    torch.cartesian_prod(torch.arange(2), torch.arange(3)).T,
    torch.combinations(torch.arange(4)).shape,
)
