"""Early stopping on a validation set, with the best weights kept."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset, random_split


class EarlyStopping:
    def __init__(self, patience=5, delta=0.0):
        self.patience, self.delta = patience, delta
        self.best, self.counter, self.state = float("inf"), 0, None

    def __call__(self, value, model):
        if value < self.best - self.delta:
            self.best, self.counter = value, 0
            self.state = copy.deepcopy(model.state_dict())
            return False
        self.counter += 1
        return self.counter >= self.patience


def main():
    torch.manual_seed(42)
    np.random.seed(42)
    X = np.random.uniform(-3, 3, size=(300, 2))
    y = np.sin(X[:, 0]) * np.cos(X[:, 1]) + 0.1 * np.random.randn(300)
    mu, sigma = X.mean(axis=0), X.std(axis=0)
    X = (X - mu) / sigma
    data = TensorDataset(torch.FloatTensor(X), torch.from_numpy(y).float().view(-1, 1))
    train, valid = random_split(data, [240, 60], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
    valid_loader = DataLoader(valid, batch_size=60)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    ).to(device)
    print(model)
    print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} parameters on {device}")
    optimizer = optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=2, min_lr=1e-4)
    stopper = EarlyStopping(patience=6)
    for epoch in range(1, 41):
        model.train()
        running = 0.0
        for xb, yb in train_loader:
            xb, yb = xb.to(device), yb.to(device)
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            running += loss.item() * xb.size(0)
        model.eval()
        with torch.no_grad():
            total = sum(F.mse_loss(model(x.to(device)), t.to(device), reduction="sum").item() for x, t in valid_loader)
        val = total / len(valid)
        scheduler.step(val)
        if epoch % 5 == 0:
            print(
                f"[{epoch:03d}] train {running / len(train):.2f} valid {val:.2f} lr {optimizer.param_groups[0]['lr']:.1e}"
            )
        if stopper(val, model):
            print("stopped early")
            break
    model.load_state_dict(stopper.state)
    print(f"best {stopper.best:.2f}", model.training)


if __name__ == "__main__":
    main()
