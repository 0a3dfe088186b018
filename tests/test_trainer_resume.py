"""Checkpoints of a training, and that one resumed from them goes on to the bit."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest

import unspool
from trainer_runs import Run, checked, generator, numbers
from unspool import nn
from unspool.train import Callback, Checkpoint, CSVLog, Trainer
from unspool.utils.data import DataLoader, TensorDataset


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_a_checkpoint_goes_on_to_the_bit(name: str, own: bool, stopped: int, tmp_path: Any) -> None:
    path = tmp_path / "training.safetensors"
    whole = Run(30, name, extra=(nn.BatchNorm1d(16),))
    first = {k: v.clone() for k, v in whole.model.state_dict().items()}
    data: dict[str, Any] = {"batch_size": 10, "validation": (whole.x, whole.y)}
    unspool.manual_seed(5)
    history = checked(whole, metrics=["mae"]).fit(
        whole.x, whole.y, epochs=8, generator=generator(1) if own else None, **data
    )
    whole.losses = history.batch_losses
    expected = whole.state()

    part = Run(30, name, extra=(nn.BatchNorm1d(16),))
    part.model.load_state_dict(first)
    unspool.manual_seed(5)
    log = CSVLog(tmp_path / "log.csv")
    checked(part, metrics=["mae"]).fit(
        part.x,
        part.y,
        epochs=stopped,
        callbacks=[Checkpoint(path), log],
        generator=generator(1) if own else None,
        **data,
    )
    rest = Run(31, name, extra=(nn.BatchNorm1d(16),))
    rest.x, rest.y = part.x, part.y
    resumed = checked(rest, metrics=["mae"]).fit(
        rest.x, rest.y, epochs=8, callbacks=[Checkpoint(path), log], generator=generator(9) if own else None,
        resume=path, **data,
    )  # fmt: skip
    rest.losses = resumed.batch_losses
    assert rest.state() == expected
    assert resumed == history
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(8))
    assert [float(row["val_mae"]) for row in rows] == history["val_mae"]


def test_checkpoints_of_the_best_and_of_every_third(tmp_path: Any) -> None:
    run = Run(32)
    x, y = numbers(30)
    trainer = checked(run)
    every = Checkpoint(tmp_path / "at-{epoch}.safetensors", every_epochs=3)
    best = Checkpoint(tmp_path / "best.safetensors", best="val_loss")
    history = trainer.fit(run.x, run.y, epochs=8, batch_size=10, validation=(x, y), callbacks=[every, best])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "at-2.safetensors", "at-5.safetensors", "at-7.safetensors", "best.safetensors"
    ]  # fmt: skip
    saved = unspool.load(tmp_path / "best.safetensors")
    assert saved["epoch"] == 1 + int(np.argmin(history["val_loss"]))
    run.model.load_state_dict(saved["model"])
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path: Any) -> None:
    run = Run(33)
    trainer = checked(run)
    with pytest.raises(OSError, match="nowhere"):
        trainer.fit(run.x, run.y, epochs=3, callbacks=[Checkpoint(tmp_path / "nowhere" / "file.safetensors")])
    assert len(trainer.history) == 1


def test_a_stop_within_an_epoch_is_resumed_there(tmp_path: Any) -> None:
    path = tmp_path / "training.safetensors"

    class Stop(Callback):
        every = 1

        def step_end(self, trainer: Trainer) -> None:
            trainer.stop = trainer.epoch == 2 and trainer.step == 3

    whole = Run(34)
    history = checked(whole, accumulate=2, metrics=["mae"]).fit(whole.x, whole.y, epochs=5, batch_size=5)
    after = unspool.get_rng_state()
    part = Run(34)
    trainer = checked(part, accumulate=2, metrics=["mae"])
    trainer.fit(part.x, part.y, epochs=5, batch_size=5, callbacks=[Stop()])
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (2, 3, 2)
    trainer.save(path)
    unspool.manual_seed(77)
    rest = Run(35)
    resumed = checked(rest, accumulate=2, metrics=["mae"]).fit(part.x, part.y, epochs=5, batch_size=5, resume=path)
    assert resumed == history
    assert [p.tolist() for p in rest.model.parameters()] == [p.tolist() for p in whole.model.parameters()]
    assert unspool.get_rng_state().tolist() == after.tolist()
    loader = DataLoader(TensorDataset(part.x, part.y), batch_sampler=[[0, 1], [2, 3]])
    with pytest.raises(ValueError, match="middle of an epoch"):
        checked(Run(35), accumulate=2).fit(loader, epochs=5, resume=path)


def test_a_stop_after_an_epoch_s_last_step_is_resumed_there() -> None:
    """Between the last step and the epoch's numbers."""
    whole, part, rest = Run(41), Run(41), Run(41)
    history = checked(whole).fit(whole.x, whole.y, epochs=3, batch_size=10, generator=generator(1))

    class Raises(Callback):
        every = 5

        def step_end(self, trainer: Trainer) -> None:
            raise KeyboardInterrupt

    trainer = checked(part)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(part.x, part.y, epochs=3, batch_size=10, callbacks=[Raises()], generator=generator(1))
    assert (trainer.epoch, trainer.step) == (0, 5)
    resumed = checked(rest).fit(
        rest.x, rest.y, epochs=3, batch_size=10, generator=generator(2), resume=trainer.state_dict()
    )
    assert resumed == history
    assert [p.tolist() for p in rest.model.parameters()] == [p.tolist() for p in whole.model.parameters()]
