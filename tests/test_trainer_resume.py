"""Checkpoints of a training, and that one resumed from them goes on to the bit."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
from small_training import ROWS, SIZE, Changes, started, state_of
from trainer_runs import Run, checked, generator, numbers
from unspool import nn
from unspool.optim import lr_scheduler
from unspool.train import Callback, Checkpoint, CSVLog, EarlyStopping, Trainer
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
    class Goes(Callback):
        def epoch_end(self, trainer: Trainer) -> None:
            (tmp_path / "there").rmdir()

    run = Run(33)
    trainer = checked(run)
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "file.safetensors"
    with pytest.raises(OSError, match="there"):
        trainer.fit(run.x, run.y, epochs=3, callbacks=[Goes(), Checkpoint(path)])
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


class StopsAt(Callback):
    every = 1

    def step_end(self, trainer: Any) -> None:
        trainer.stop = (trainer.epoch, trainer.step) == (1, 2)


RESUMES: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "batch size": ({}, {"batch_size": 6}, ROWS, r"\[23, 5, 1\], and now they are \[23, 6, 1\]"),
    "fewer rows": ({}, {}, 20, r"\[23, 5, 1\], and now they are \[20, 5, 1\]"),
    "accumulate": ({"accumulate": 2}, {}, ROWS, r"\[23, 5, 1\], and now they are \[23, 5, 2\]"),
    "metrics": ({"metrics": "r2"}, {}, ROWS, "without metrics, unlike this trainer"),
}


@pytest.mark.parametrize("case", RESUMES)
def test_half_an_epoch_is_resumed_with_the_same_data_only(case: str, tmp_path: Any) -> None:
    options, arguments, rows, text = RESUMES[case]
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    trainer.fit(x, y, epochs=3, batch_size=SIZE, callbacks=[StopsAt()])
    trainer.save(tmp_path / "half")
    model, optimizer, x, y = started()
    before = state_of(model, [])
    with pytest.raises(ValueError, match=f"fit: resume: the checkpoint is from the middle of an epoch.*{text}"):
        Trainer(model, nn.MSELoss(), optimizer, **options).fit(
            x[:rows], y[:rows], **{"epochs": 3, "batch_size": SIZE, "resume": tmp_path / "half", **arguments}
        )
    assert state_of(model, []) == before


@pytest.mark.parametrize("saved", [True, False])
def test_a_scheduler_on_one_side_only_is_refused(saved: bool) -> None:
    states = []
    for has in (saved, not saved):
        model, optimizer, x, y = started()
        trainer = Trainer(model, nn.MSELoss(), optimizer, lr_scheduler.StepLR(optimizer, 1) if has else None)
        if not states:
            trainer.fit(x, y)
            states.append(trainer.state_dict())
    with pytest.raises(
        ValueError, match=r"fit: resume: (a|no) scheduler was saved, and this trainer has (a|no) scheduler"
    ):
        trainer.fit(x, y, epochs=2, resume=states[0])


def test_callbacks_find_their_states_by_class(tmp_path: Any) -> None:
    def rest(*callbacks: Any) -> tuple[Any, ...]:
        model, optimizer, x, y = started()
        Trainer(model, nn.MSELoss(), optimizer).fit(
            x, y, epochs=4, batch_size=SIZE, callbacks=callbacks, resume=None if first else tmp_path / "whole"
        )
        return callbacks

    first = True
    stopping, best, _ = rest(
        EarlyStopping("loss", 9), Checkpoint(tmp_path / "best", best="loss"), Checkpoint(tmp_path / "whole")
    )
    first = False
    again, moved = rest(Checkpoint(tmp_path / "best", best="loss"), EarlyStopping("loss", 9))
    assert (moved.best_epoch, moved._best.value) == (stopping.best_epoch, stopping._best.value)
    assert again._best.value == best._best.value
    rest()
    fresh = Changes(lambda model, epoch: None)
    rest(fresh, fresh)


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.001, 0.1, step_size_up=3),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 0.1, 2), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        milestones=[2],
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("schedule", ["step", "epoch"])
@pytest.mark.parametrize("at", [1, 7, 13])
def test_every_schedule_goes_on_to_the_bit(name: str, schedule: str, at: int, tmp_path: Any) -> None:
    class Stops(Callback):
        every = 1

        def step_end(self, trainer: Any) -> None:
            trainer.stop = SIZE * trainer.epoch + trainer.step == at

    def run(seed: int, callbacks: Any = (), resume: Any = None) -> tuple[Any, list[Any]]:
        model, optimizer, x, y = started()
        unspool.manual_seed(seed)
        trainer = Trainer(model, nn.MSELoss(), optimizer, SCHEDULES[name](optimizer), schedule=schedule, metrics="mae")
        history = trainer.fit(x, y, epochs=4, batch_size=SIZE, callbacks=callbacks, resume=resume)
        return trainer, [*state_of(model, history.batch_losses), history.to_dict()]

    _, expected = run(9)
    run(9, [Stops()])[0].save(tmp_path / "half")
    assert run(77, resume=tmp_path / "half")[1] == expected


def test_state_dict_stays_what_it_was() -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    trainer.fit(x, y, epochs=2)
    expected = state_of(model, trainer.history.batch_losses)
    state = trainer.state_dict()
    trainer.fit(x, y, epochs=3)
    history = trainer.fit(x, y, epochs=2, resume=state)
    assert state_of(model, history.batch_losses) == expected
