import copy

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
rng = np.random.RandomState(0)


class Table(Dataset):
    def __init__(self, n):
        self.cat = rng.randint(0, [5, 3], size=(n, 2))
        self.num = rng.randn(n, 3).astype("float32")
        self.y = (self.num.sum(1) + self.cat[:, 0] * 0.5 > 1).astype("float32")

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.as_tensor(self.cat[i]), self.num[i], self.y[i]


class Tabular(nn.Module):
    def __init__(self, sizes, n_num):
        super().__init__()
        self.emb = nn.ModuleList([nn.Embedding(n, d) for n, d in sizes])
        width = sum(d for _, d in sizes) + n_num
        self.net = nn.Sequential(
            nn.BatchNorm1d(width), nn.Linear(width, 16), nn.LeakyReLU(0.1), nn.Dropout(0.2), nn.Linear(16, 1)
        )

    def forward(self, cat, num):
        parts = [e(cat[:, i]) for i, e in enumerate(self.emb)]
        return self.net(torch.cat(parts + [num], dim=1)).squeeze(-1)


train, valid = Table(256), Table(64)
model = Tabular([(5, 3), (3, 2)], 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, epochs=4, steps_per_epoch=8)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1.5))
best, best_state = float("inf"), None
for epoch in range(4):
    model.train()
    for cat, num, y in DataLoader(train, 32, shuffle=True, drop_last=True):
        optimizer.zero_grad()
        loss = criterion(model(cat, num), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
    model.eval()
    with torch.no_grad():
        losses = [criterion(model(c, n), y).item() for c, n, y in DataLoader(valid, 32)]
    score = float(np.mean(losses))
    if score < best:
        best, best_state = score, copy.deepcopy(model.state_dict())
    print(f"{epoch} {loss.item():.3f} {score:.3f} {optimizer.param_groups[0]['lr']:.4f}")
model.load_state_dict(best_state)
print(list(best_state)[:4], best_state["net.0.num_batches_tracked"], f"{best:.3f}")
