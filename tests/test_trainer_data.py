"""Trainer beside the loop by hand, whatever the data come as: tensors, arrays, data sets, loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unspool
from small_training import SIZE, Parts, started
from trainer_runs import Run, numbers
from unspool import nn
from unspool.train import Trainer
from unspool.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset


class Pairs(Dataset[Any]):
    """Samples that Python makes."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.x[i] * 2, self.y[i]


@pytest.mark.parametrize("kind", ["loader", "drop_last", "subset", "dataset", "python", "iterable"])
def test_every_kind_of_data(kind: str) -> None:
    runs = []
    for by_hand in (True, False):
        run = Run(4)
        rows = TensorDataset(run.x, run.y)
        given: Any = {
            "loader": lambda rows=rows: DataLoader(rows, batch_size=8, shuffle=True),
            "drop_last": lambda rows=rows: DataLoader(rows, batch_size=8, shuffle=True, drop_last=True),
            "subset": lambda rows=rows: DataLoader(Subset(rows, list(range(3, 40))), batch_size=8, shuffle=True),
            "dataset": lambda rows=rows: rows,
            "python": lambda run=run: DataLoader(Pairs(run.x, run.y), batch_size=8, shuffle=True),
            "iterable": lambda run=run: Batches(run.x, run.y),
        }[kind]()
        if by_hand:
            loader = DataLoader(given, batch_size=8, shuffle=True) if kind == "dataset" else given
            run.by_hand(loader, 3)
        else:
            run.by_trainer(given, epochs=3, batch_size=8)
        runs.append(run.state())
    assert runs[0] == runs[1]


class Batches:
    """An iterable that does not say how long it is."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, 40, 8):
            yield self.x[start : start + 8], self.y[start : start + 8]


def test_arrays_lists_and_labels() -> None:
    """NumPy's arrays get the model's dtype, whole numbers are labels."""
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(40, 6)), random.integers(0, 3, 40).astype(np.int32)
    runs = []
    for data in (
        (x, labels),
        (x.tolist(), labels.tolist()),
        (unspool.tensor(x).float(), unspool.tensor(labels).long()),
    ):
        run = Run(5)
        run.criterion = nn.CrossEntropyLoss()
        runs.append(run.by_trainer(*data, epochs=3, batch_size=10).state())
    assert runs[0] == runs[1] == runs[2]


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(3, 3)

        def forward(self, p: Any, q: Any) -> Any:
            return self.a(p) + self.b(q)

    x, y = numbers(30)
    models = []
    for by_hand in (True, False):
        unspool.manual_seed(0)
        model = Two()
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.1)
        if by_hand:
            for a, b, t in DataLoader(TensorDataset(x, y, y), batch_size=10, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(a, b), t).backward()
                optimizer.step()
        else:
            trainer = Trainer(model, nn.MSELoss(), optimizer)
            trainer.fit((x, y), y, batch_size=10)
            assert trainer.predict((x, y)).tolist() == model(x, y).tolist()
        models.append([p.tolist() for p in model.parameters()])
    assert models[0] == models[1]


class Samples(IterableDataset[Any]):
    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        return zip(self.x, self.y, strict=True)


@pytest.mark.parametrize("kind", ["numpy batches", "iterable dataset", "single samples"])
def test_more_kinds_of_data(kind: str) -> None:
    results = []
    for tried in (kind, "tensors"):
        model, optimizer, x, y = started(lambda: nn.Linear(6, 3))
        data: Any = {
            "numpy batches": Parts(x.double().numpy(), y.double().numpy()),
            "iterable dataset": Samples(x, y),
            "single samples": DataLoader(TensorDataset(x, y[:, 0]), batch_size=None),
            "tensors": [Parts(x, y), DataLoader(TensorDataset(x, y[:, :1]), batch_size=1)][kind == "single samples"],
        }[tried]
        loss = (lambda p, y: (p[..., 0] - y.reshape(p.shape[:-1])) ** 2) if kind == "single samples" else nn.MSELoss()
        results.append(Trainer(model, loss, optimizer).fit(data, epochs=2, batch_size=SIZE).batch_losses)
    assert results[0] == results[1]


def test_batches_of_lists_of_tensors_are_named() -> None:
    model, optimizer, x, y = started()
    with pytest.raises(TypeError, match="fit: part 0 of a batch must be a tensor or an array, got "):
        Trainer(model, nn.MSELoss(), optimizer).fit(DataLoader([((a, a), b) for a, b in zip(x, y, strict=True)]))


def test_arrays_for_a_model_in_bfloat16() -> None:
    results = []
    for convert in (lambda t: t.numpy(), lambda t: t.to(unspool.bfloat16)):
        model, optimizer, x, y = started(lambda: nn.Linear(6, 3).to(unspool.bfloat16))
        results.append(Trainer(model, nn.MSELoss(), optimizer).fit(convert(x), convert(y), epochs=2).batch_losses)
    assert results[0] == results[1]


@pytest.mark.parametrize("metrics", [(), "mae"])
def test_epochs_without_batches_are_told(metrics: Any) -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer, metrics=metrics)
    with pytest.raises(ValueError, match="fit: epoch 0 has no batch"):
        trainer.fit(DataLoader(TensorDataset(x, y), batch_size=50, drop_last=True))
    with pytest.raises(ValueError, match="fit: epoch 1 has no batch"):
        trainer.fit(iter(Parts(x, y)), epochs=2)
    assert len(trainer.history) == 1
