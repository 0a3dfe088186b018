import numpy as np
import torch

N, D, K = 60, 2, 3
np.random.seed(0)
X = np.zeros((N * K, D))
y = np.zeros(N * K, dtype="uint8")
for j in range(K):
    ix = range(N * j, N * (j + 1))
    r = np.linspace(0.0, 1, N)
    t = np.linspace(j * 4, (j + 1) * 4, N) + np.random.randn(N) * 0.2
    X[ix] = np.c_[r * np.sin(t), r * np.cos(t)]
    y[ix] = j
X, y = torch.from_numpy(X).float(), torch.from_numpy(y).long()
torch.manual_seed(0)
h = 50
model = torch.nn.Sequential(
    torch.nn.Linear(D, h), torch.nn.ReLU(), torch.nn.Linear(h, h), torch.nn.ReLU(), torch.nn.Linear(h, K)
)
loss_fn = torch.nn.CrossEntropyLoss(reduction="mean")
optimizer = torch.optim.Rprop(model.parameters(), lr=1e-3)
history = torch.empty(0)
for i in range(61):
    scores = model(X)
    loss = loss_fn(scores, y)
    reg = sum(w.pow(2.0).sum() for n, w in model.named_parameters() if "weight" in n)
    total = loss + 1e-3 * 0.5 * reg
    model.zero_grad()
    total.backward()
    optimizer.step()
    history = torch.cat((history, total.detach().reshape(1)))
    if i % 20 == 0:
        print("iteration %d: loss %.2f" % (i, total))
_, predicted = scores.max(dim=1)
print("training accuracy: %.1f" % np.mean((predicted == y).numpy()))
print(history.shape, history.argmin() > 30, history[:3])
grid = torch.stack(torch.meshgrid(torch.arange(-1, 1.01, 0.5), torch.arange(-1, 1.01, 0.5), indexing="xy"), -1).reshape(
    -1, 2
)
with torch.no_grad():
    Z = model(grid).argmax(1).reshape(5, 5)
print(Z.shape, Z.dtype, np.unique(np.asarray(Z)).size)
print(grid[:7])
weights = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
print(weights.shape, weights.dtype, [p.shape for p in model.parameters()])
