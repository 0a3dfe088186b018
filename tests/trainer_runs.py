"""A training by hand or by Trainer, from one seed: what the tests of Trainer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import unspool
from unspool import nn
from unspool.optim import lr_scheduler
from unspool.train import Trainer


def network(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), *extra, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def numbers(rows: int = 47) -> tuple[unspool.Tensor, unspool.Tensor]:
    return unspool.randn(rows, 6), unspool.randn(rows, 3)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: unspool.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda p: unspool.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: unspool.optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: unspool.optim.RMSprop(p, lr=0.01),
    "Adagrad": lambda p: unspool.optim.Adagrad(p, lr=0.01),
}


class Run:
    """A training by hand or by Trainer, from one seed; `state` is all that must be equal."""

    def __init__(
        self, seed: int = 0, optimizer: str = "SGD", extra: tuple[nn.Module, ...] = (), rows: int = 47
    ) -> None:
        unspool.manual_seed(seed)
        self.model = network(*extra)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = lr_scheduler.StepLR(self.optimizer, step_size=2, gamma=0.5)
        self.x, self.y = numbers(rows)
        self.criterion: Any = nn.MSELoss()
        self.losses: list[list[float]] = []

    def by_hand(self, loader: Any, epochs: int) -> Run:
        unspool.manual_seed(99)
        for _ in range(epochs):
            epoch = []
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                epoch.append(loss.item())
            self.scheduler.step()
            self.losses.append(epoch)
        return self

    def by_trainer(self, *data: Any, **arguments: Any) -> Run:
        unspool.manual_seed(99)
        trainer = Trainer(self.model, self.criterion, self.optimizer, self.scheduler)
        self.losses = trainer.fit(*data, **arguments).batch_losses
        return self

    def state(self) -> list[Any]:
        found = [t.numpy().tobytes() for t in self.model.state_dict().values()]
        for state in self.optimizer.state_dict()["state"].values():
            found += [t.numpy().tobytes() if unspool.is_tensor(t) else t for t in state.values()]
        return [*found, self.losses, self.scheduler.get_last_lr(), unspool.randn(3).tolist()]


def generator(seed: int) -> unspool.Generator:
    return unspool.Generator().manual_seed(seed)


def everything(run: Run) -> list[Any]:
    grads = [None if p.grad is None else p.grad.tolist() for p in run.model.parameters()]
    return [
        [t.tolist() for t in run.model.state_dict().values()],
        grads,
        {k: [str(v) for v in s.values()] for k, s in run.optimizer.state_dict()["state"].items()},
        unspool.get_rng_state().tolist(),
    ]


def checked(run: Run, **more: Any) -> Trainer:
    return Trainer(run.model, run.criterion, run.optimizer, run.scheduler, **more)
