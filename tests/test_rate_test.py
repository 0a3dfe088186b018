"""Trainer.rate_test: losses over learning rates that grow."""

from __future__ import annotations

import pytest

from small_training import started
from trainer_runs import Run, everything
from unspool import nn
from unspool.train import Trainer
from unspool.utils.data import DataLoader, TensorDataset


def test_rate_test_leaves_everything_as_it_was() -> None:
    run = Run(25, extra=(nn.BatchNorm1d(16),))
    run.criterion(run.model(run.x), run.y).backward()
    trainer = Trainer(run.model, run.criterion, run.optimizer)
    before = everything(run)
    found = trainer.rate_test(run.x, run.y, batch_size=10, start=1e-4, stop=100.0, steps=60)
    assert everything(run) == before
    assert run.optimizer.param_groups[0]["lr"] == 0.05
    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[1] / found.rates[0] == pytest.approx(10 ** (6 / 59))
    assert found.suggestion is None or 1e-4 <= found.suggestion <= 100
    with pytest.raises(ValueError, match="0 < start < stop"):
        trainer.rate_test(run.x, run.y, start=1.0, stop=0.1)


def test_a_rate_test_without_batches_is_told() -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    with pytest.raises(ValueError, match="rate_test: there is no batch"):
        trainer.rate_test(DataLoader(TensorDataset(x, y), batch_size=50, drop_last=True))
    with pytest.raises(ValueError, match="rate_test: 1 steps are done, and there is no batch"):
        trainer.rate_test(iter([(x, y)]))
