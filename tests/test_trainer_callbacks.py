"""Callbacks of a Trainer: when they are called, what they may do, and what one that raises leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool
from small_training import SIZE, Parts, started, state_of
from trainer_runs import Run, checked, everything, numbers
from unspool import nn
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


def test_step_end_comes_after_the_last_step_of_a_loader_without_length() -> None:
    model, optimizer, x, y = started()
    seen = []

    class Looks(Callback):
        every = 2

        def step_end(self, trainer: Any) -> None:
            seen.append((trainer.epoch, trainer.step))

    Trainer(model, nn.MSELoss(), optimizer).fit(Parts(x, y), epochs=2, callbacks=[Looks()])
    loaded = seen.copy()
    seen.clear()
    Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=2, batch_size=SIZE, callbacks=[Looks()])
    assert loaded == seen == [(0, 2), (0, 4), (0, 5), (1, 1), (1, 3), (1, 5)]


def test_callbacks_may_evaluate_and_predict() -> None:
    found: list[float] = []

    class Looks(Callback):
        every, gradients = 2, True

        def look(self, trainer: Any) -> None:
            found.append(trainer.evaluate(x[:9], y[:9])["loss"])
            with unspool.no_grad():
                model.eval()
                assert trainer.predict(x[:9]).equal(model(x[:9]))
                model.train()

        fit_begin = epoch_begin = step_begin = step_end = epoch_end = fit_end = look

    results = []
    for callbacks in ([], [Looks()]):
        model, optimizer, x, y = started()
        unspool.manual_seed(9)
        history = Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=3, batch_size=SIZE, callbacks=callbacks)
        results.append(state_of(model, history.batch_losses))
    assert results[0] == results[1]
    assert len(found) > 12
    assert found[0] > found[-1]


@pytest.mark.parametrize("name", ["fit", "rate_test"])
def test_callbacks_may_not_train(name: str) -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)

    class Trains(Callback):
        def epoch_end(self, trainer: Any) -> None:
            getattr(trainer, name)(x, y)

    with pytest.raises(RuntimeError, match=f"{name}: this trainer is training already"):
        trainer.fit(x, y, callbacks=[Trains()])
    assert len(trainer.fit(x, y)) == 1


def test_every_callback_gets_its_fit_end() -> None:
    ends = []

    class Ends(Callback):
        def fit_end(self, trainer: Any) -> None:
            ends.append(trainer.failed)
            raise ZeroDivisionError

    model, optimizer, x, y = started()
    with pytest.raises(ZeroDivisionError):
        Trainer(model, nn.MSELoss(), optimizer).fit(x, y, callbacks=[Ends(), Ends()])
    assert ends == [False, False]


def test_the_rate_that_epoch_begin_sets_is_the_epochs() -> None:
    class Warms(Callback):
        def epoch_begin(self, trainer: Any) -> None:
            trainer.optimizer.param_groups[0]["lr"] = 0.25 * (trainer.epoch + 1)

    model, optimizer, x, y = started()
    history = Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=3, callbacks=[Warms()])
    assert history["lr"] == [0.25, 0.5, 0.75]


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_first_step(tmp_path: Any) -> None:
    run = Run()
    before = everything(run)
    for path in (tmp_path / "no such folder" / "a.safetensors", tmp_path):
        with pytest.raises(OSError, match="Checkpoint: "):
            checked(run).fit(run.x, run.y, callbacks=[Checkpoint(path)])
        assert everything(run) == before
    checked(run).fit(run.x, run.y, callbacks=[Checkpoint(tmp_path / "{epoch}")], epochs=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1"]


def test_a_callback_with_no_method_of_the_protocol() -> None:
    """Such as one of another library's names, which would never be called."""

    class Other:
        def on_epoch_end(self, epoch: int) -> None:
            raise AssertionError

    run = Run()
    before = everything(run)
    for callback in (Other(), 3, None):
        with pytest.raises(TypeError, match=r"fit: callbacks must have one of fit_begin, .* has none"):
            checked(run).fit(run.x, run.y, callbacks=[callback])
        assert everything(run) == before
