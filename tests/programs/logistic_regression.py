"""A classifier by hand and with layers; quantiles, covariances, histograms."""

import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(0)
np.random.seed(0)
X = np.random.randn(200, 3).astype(np.float32)
w = np.array([1.0, -2.0, 0.5], dtype=np.float32)
Y = (X @ w + 0.3 > 0).astype(np.float32)
X = torch.from_numpy(X)
Y = torch.from_numpy(Y).view(-1, 1)
Xn = (X - X.mean(0)) / X.std(0)
m = nn.Linear(3, 1)
crit = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
opt = torch.optim.Adam(m.parameters(), lr=0.1)
for e in range(100):
    l = crit(m(Xn), Y)
    l.backward()
    opt.step()
    opt.zero_grad()
    if (e + 1) % 25 == 0:
        print(f"epoch: {e + 1}, loss = {l.item():.4f}")
with torch.no_grad():
    p = m(Xn).sigmoid().round()
    print(f"{p.eq(Y).sum() / float(Y.shape[0]):.4f}")
    cm = torch.zeros(2, 2, dtype=torch.int64)
for t, q in zip(Y.view(-1).long(), p.view(-1).long()):
    cm[t, q] += 1
print(
    cm,
    torch.quantile(X[:, 0], torch.tensor([0.1, 0.5, 0.9])),
    torch.median(X, 0),
    X.kthvalue(3, 0).values,
    torch.corrcoef(X.T),
    torch.cov(X.T),
)
w = torch.zeros(3, 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
for e in range(50):
    l = nn.functional.binary_cross_entropy(torch.sigmoid(Xn.mm(w) + b), Y) + 0.01 * w.norm(1) + 0.01 * w.pow(2).sum()
    l.backward()
    with torch.no_grad():
        w -= 0.5 * w.grad
        b -= 0.5 * b.grad
        w.grad.zero_()
        b.grad = None
print(w.flatten(), b, l)
print(torch.histogram(X[:, 0], 5))
print(torch.gradient(torch.tensor([1.0, 4.0, 9.0, 16.0])))
print(
    torch.trapezoid(torch.tensor([1.0, 2.0, 3.0])),
    torch.bucketize(torch.tensor([1.5, 0.2]), torch.tensor([0.0, 1.0, 2.0])),
)
print(torch.set_printoptions(precision=2, sci_mode=False))
print(X[:2] * 1e-5, X.std(0, keepdim=True))
