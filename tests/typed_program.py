"""A user's program with annotations: mypy reads it against the stubs (pyproject.toml names it), a test runs it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import unspool as torch
import unspool.nn.functional as F
from unspool import nn
from unspool.optim.lr_scheduler import CosineAnnealingLR
from unspool.utils.checkpoint import checkpoint
from unspool.utils.data import DataLoader, Dataset, TensorDataset, random_split


class Waves(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self, n: int) -> None:
        self.x = torch.linspace(0.0, 1.0, n).unsqueeze(1)
        self.y = torch.sin(6.0 * self.x) + 0.1 * torch.randn(n, 1)

    def __len__(self) -> int:
        return self.x.size(0)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[index], self.y[index]


class Net(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(1, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        for block in self.blocks:
            h = h + F.gelu(block(h))
        out: torch.Tensor = self.last(self.norm(h)) * self.scale
        return out


def batches(x: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    for chunk in torch.randperm(x.size(0)).split(size):
        yield x[chunk]


def shapes(t: torch.Tensor) -> tuple[int, ...]:
    rows: int = t.shape[0]
    columns: int = t.size(-1)
    values, places = t.max(1)
    best = t.topk(1).indices
    order: torch.Tensor = t.sort(dim=0).values
    spread, mean = torch.var_mean(t, dim=0)
    number: float = t.sum().item()
    count: int = t.numel()
    array: np.ndarray = t.detach().numpy()
    nested: list[list[float]] = t.tolist()
    flags: torch.Tensor = (t > 0) & (t < 1)
    where: tuple[torch.Tensor, ...] = torch.nonzero(flags, as_tuple=True)
    dtype: torch.dtype = t.dtype
    device: torch.device = torch.device("cpu")
    moved = t.to(device).to(torch.float64).double().long()
    stacked = torch.stack([values, mean.sum().expand(rows)]) if rows else torch.cat([t, t])
    assert isinstance(number, float)
    assert (count, len(array), len(nested)) == (rows * columns, rows, rows)
    assert moved.dtype == torch.int64 != dtype
    assert len(where) == t.dim()
    return (*order.shape, *best.shape, *places.shape, *spread.shape, *stacked.shape)


def main() -> list[float]:
    torch.manual_seed(0)
    data = Waves(64)
    train, valid = random_split(data, [48, 16])
    loader = DataLoader(train, batch_size=16, shuffle=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net(16).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-3)
    scheduler = CosineAnnealingLR(optimizer, T_max=5)
    losses: list[float] = []
    for _ in range(5):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x.to(device)), y.to(device))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            losses.append(sum(F.mse_loss(model(x), y).item() for x, y in DataLoader(valid, batch_size=8)))
    grads = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    (slope,) = torch.autograd.grad(checkpoint(model, torch.zeros(1, 1), use_reentrant=False).sum(), [model.scale])
    assert slope.shape == (1,)
    assert len(grads) == len(list(model.parameters()))
    assert next(batches(data.x, 8)).shape == (8, 1)
    assert len(TensorDataset(data.x, data.y)) == 64
    return losses


if __name__ == "__main__":
    print(main(), shapes(torch.rand(3, 4)))
