"""One small training with batch norm and dropout, by hand and for Trainer, from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import unspool
from unspool import nn
from unspool.train import Callback
from unspool.utils.data import DataLoader, TensorDataset

ROWS, SIZE = 23, 5


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3))


def started(model: Callable[[], nn.Module] = network, momentum: float = 0.9) -> tuple[Any, Any, Any, Any]:
    """Model, optimizer, x and y from one seed."""
    unspool.manual_seed(0)
    made = model()
    optimizer = unspool.optim.SGD(made.parameters(), lr=0.05, momentum=momentum)
    return made, optimizer, unspool.randn(ROWS, 6), unspool.randn(ROWS, 3)


def state_of(model: Any, losses: list[list[float]]) -> list[Any]:
    """All that must be equal: weights, buffers, losses, the random state."""
    return [*(t.numpy().tobytes() for t in model.state_dict().values()), losses, unspool.get_rng_state().tolist()]


def by_hand(
    epochs: int,
    model: Callable[[], nn.Module] = network,
    between: Callable[[Any, int], None] = lambda model, epoch: None,
) -> list[Any]:
    made, optimizer, x, y = started(model)
    unspool.manual_seed(9)
    losses = []
    for epoch in range(epochs):
        losses.append([])
        for inputs, target in DataLoader(TensorDataset(x, y), batch_size=SIZE, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(made(inputs), target)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        between(made, epoch)
    return state_of(made, losses)


class Changes(Callback):
    def __init__(self, change: Callable[[Any, int], None]) -> None:
        self.change = change

    def epoch_end(self, trainer: Any) -> None:
        self.change(trainer.model, trainer.epoch)


class Parts:
    """Batches without a length."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def __iter__(self) -> Iterator[Any]:
        return (tuple(a[i : i + SIZE] for a in self.arrays) for i in range(0, ROWS, SIZE))
