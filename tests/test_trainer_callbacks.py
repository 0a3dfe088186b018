"""Callbacks of a Trainer: when they are called, what they may do, and what one that raises leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool
from trainer_runs import Run, checked, numbers
from unspool.train import Callback, Checkpoint, EarlyStopping, Trainer
from unspool.utils.data import DataLoader, TensorDataset


class Notes(Callback):
    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.calls: list[tuple[Any, ...]] = []

    def fit_begin(self, trainer: Trainer) -> None:
        self.calls.append(("fit_begin",))

    def epoch_begin(self, trainer: Trainer) -> None:
        self.calls.append(("epoch_begin", trainer.epoch))

    def step_end(self, trainer: Trainer) -> None:
        assert len(trainer.losses) == trainer.step
        self.calls.append(("step_end", trainer.epoch, trainer.step))

    def epoch_end(self, trainer: Trainer) -> None:
        self.calls.append(("epoch_end", trainer.epoch, len(trainer.history)))

    def fit_end(self, trainer: Trainer) -> None:
        self.calls.append(("fit_end", trainer.failed))


def test_the_protocol_of_callbacks() -> None:
    run, notes = Run(10), Notes(every=2)
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=2, batch_size=10, callbacks=[notes])
    expected: list[tuple[Any, ...]] = [("fit_begin",)]
    for epoch in range(2):
        expected += [
            ("epoch_begin", epoch),
            *(("step_end", epoch, k) for k in ((2, 4, 5), (1, 3, 5))[epoch]),  # after 2, 4, 6, 8, 10 and 5 in all
            ("epoch_end", epoch, epoch + 1),
        ]
    assert notes.calls == [*expected, ("fit_end", False)]


def test_a_callback_may_look_at_gradients() -> None:
    """And the training has the same bits."""

    class Looks(Callback):
        every, gradients = 3, True

        def __init__(self) -> None:
            self.seen: list[Any] = []
            self.before: Any = None

        def step_begin(self, trainer: Trainer) -> None:
            assert all(p.grad is None for p in trainer.model.parameters())
            self.before = trainer.model[0].weight.detach().clone()

        def step_end(self, trainer: Trainer) -> None:
            weight = trainer.model[0].weight
            if weight.grad is not None:
                self.seen.append((trainer.epoch, trainer.step, weight.grad.tolist(), (weight - self.before).tolist()))

    looks, plain = Run(40), Run(40)
    callback = Looks()
    expected = plain.by_trainer(plain.x, plain.y, epochs=6, batch_size=10).state()
    assert looks.by_trainer(looks.x, looks.y, epochs=6, batch_size=10, callbacks=[callback]).state() == expected
    assert [5 * epoch + step for epoch, step, _, _ in callback.seen] == list(range(3, 31, 3))

    hand, wanted, steps = Run(40), [], 0
    unspool.manual_seed(99)
    for _ in range(6):
        for x, y in DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True):
            before = hand.model[0].weight.detach().clone()
            hand.optimizer.zero_grad()
            hand.criterion(hand.model(x), y).backward()
            hand.optimizer.step()
            steps += 1
            if steps % 3 == 0:
                wanted.append((hand.model[0].weight.grad.tolist(), (hand.model[0].weight - before).tolist()))
        hand.scheduler.step()
    assert [(g, d) for _, _, g, d in callback.seen] == wanted


def test_early_stopping_gives_the_best_weights() -> None:
    run = Run(11)
    x, y = numbers(30)
    stopping = EarlyStopping(patience=2)
    trainer = Trainer(run.model, run.criterion, unspool.optim.SGD(run.model.parameters(), lr=0.3, momentum=0.9))
    history = trainer.fit(run.x, run.y, epochs=100, batch_size=10, validation=(x, y), callbacks=[stopping])
    best = int(np.argmin(history["val_loss"]))
    assert stopping.best_epoch == best
    assert len(history) == best + 3
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(history["val_loss"][best], rel=1e-6)


@pytest.mark.parametrize("at", [0, 1, 7, 12])
def test_a_callback_that_raises_leaves_whole_steps(at: int) -> None:
    class Raises(Callback):
        every = 1
        count = 0

        def step_end(self, trainer: Trainer) -> None:
            self.count += 1
            if self.count > at:
                raise RuntimeError("enough")

    hand, ours = Run(12), Run(12)
    unspool.manual_seed(99)
    done = 0
    while done <= at:
        for x, y in DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True):
            if done > at:
                break
            hand.optimizer.zero_grad()
            hand.criterion(hand.model(x), y).backward()
            hand.optimizer.step()
            done += 1
        else:
            hand.scheduler.step()
    with pytest.raises(RuntimeError, match="enough"):
        ours.by_trainer(ours.x, ours.y, epochs=20, batch_size=10, callbacks=[Raises()])
    for a, b in zip(hand.model.parameters(), ours.model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


def test_fit_within_fit_is_refused() -> None:
    run = Run(21)
    trainer = Trainer(run.model, run.criterion, run.optimizer)

    class Again(Callback):
        def epoch_end(self, trainer: Trainer) -> None:
            trainer.fit(run.x, run.y)

    with pytest.raises(RuntimeError, match="training already"):
        trainer.fit(run.x, run.y, callbacks=[Again()])


def test_bad_callbacks() -> None:
    with pytest.raises(ValueError, match="patience must be an int of at least 1, got 0"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="min_delta must be at least 0"):
        EarlyStopping(min_delta=-1)
    with pytest.raises(ValueError, match='mode must be "auto"'):
        EarlyStopping(mode="least")
    for every in (0, 1.5):
        callback = Notes(every)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"Notes.every must be an int of at least 1, got {every}"):
            checked(Run(36)).fit(*numbers(), callbacks=[callback])
    with pytest.raises(ValueError, match="every_epochs must be"):
        Checkpoint("x", every_epochs=0)
    run = Run(36)
    with pytest.raises(ValueError, match="EarlyStopping: no 'val_loss' in the history, which has loss, lr"):
        checked(run).fit(run.x, run.y, epochs=2, callbacks=[EarlyStopping()])
