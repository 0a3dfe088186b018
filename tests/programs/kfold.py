import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset

torch.manual_seed(2)
rng = np.random.default_rng(2)
X = rng.normal(size=(150, 5)).astype(np.float32)
Y = (X @ np.array([1, -2, 0.5, 0, 3], dtype=np.float32))[:, None] + 0.1 * rng.normal(size=(150, 1)).astype(np.float32)
data = TensorDataset(torch.tensor(X), torch.tensor(Y))
scores = []
for fold, valid in enumerate(np.array_split(rng.permutation(150), 3)):
    train = np.setdiff1d(np.arange(150), valid)
    net = nn.Sequential(nn.Linear(5, 20), nn.SELU(), nn.Linear(20, 1))
    opt = torch.optim.Adagrad(net.parameters(), lr=0.1)
    lr = torch.optim.lr_scheduler.LambdaLR(opt, lambda e: 0.9**e)
    loader = DataLoader(data, batch_size=16, sampler=SubsetRandomSampler(train.tolist()))
    for _ in range(10):
        for xb, yb in loader:
            loss = nn.SmoothL1Loss()(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        lr.step()
    with torch.inference_mode():
        xv, yv = next(iter(DataLoader(Subset(data, valid.tolist()), batch_size=len(valid))))
        error = torch.sqrt(torch.mean((net(xv) - yv) ** 2))
    scores.append(float(error))
    print(fold, f"{error:.3f}")
print(f"{np.mean(scores):.3f} ± {np.std(scores):.3f}")
