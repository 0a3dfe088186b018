import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(3)


class Block(nn.Module):
    def __init__(self, width, p=0.1):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.a = nn.Linear(width, width)
        self.b = nn.Linear(width, width)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        h = F.relu(self.a(self.norm(x)))
        return x + self.drop(self.b(h))


class Net(nn.Module):
    def __init__(self, d_in, width, d_out, depth):
        super().__init__()
        self.stem = nn.Linear(d_in, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, d_out))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


x = torch.randn(400, 12)
y = (x[:, :4].sum(1) > 0).long() + (x[:, 4:8].prod(1) > 0).long()
train, test = random_split(TensorDataset(x, y), [320, 80], generator=torch.Generator().manual_seed(1))
loader = DataLoader(train, batch_size=32, shuffle=True)
model = Net(12, 32, 3, 3)
print(model)
print(sum(p.numel() for p in model.parameters() if p.requires_grad))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
scheduler = CosineAnnealingLR(optimizer, T_max=5)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
for epoch in range(5):
    model.train()
    total = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(xb)
    scheduler.step()
    model.eval()
    with torch.no_grad():
        xs, ys = test[:]
        hits = (model(xs).argmax(dim=1) == ys).float().mean().item()
    lr = scheduler.get_last_lr()[0]
    print(f"epoch {epoch}: loss {total / len(train):.3f} norm {norm:.2f} acc {hits:.3f} lr {lr:.5f}")
