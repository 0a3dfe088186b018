"""Ctrl-C in a training: answered soon, after a whole step, from which it goes on. And what else ends one midway."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import unspool
from small_training import SIZE, network, state_of
from trainer_runs import Run, generator, numbers
from unspool import nn
from unspool.train import Callback, Trainer
from unspool.train import trainer as trainer_module
from unspool.train.data import Rows


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler, also where a shell has started this in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_whole_steps_and_can_be_resumed() -> None:
    def trainer_of(run: Run) -> Trainer:
        return Trainer(run.model, run.criterion, run.optimizer, run.scheduler, metrics=["mae"])

    def big() -> Run:
        run = Run(13)
        run.x, run.y = numbers(20_000)
        return run

    run = big()
    trainer = trainer_of(run)
    stopped = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))

    class Starts(Callback):
        def fit_begin(self, trainer: Trainer) -> None:
            stopped.start()

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.x, run.y, epochs=1000, batch_size=10, generator=generator(1), callbacks=[Starts()])
    stopped.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    state = trainer.state_dict()
    epochs = trainer.epoch + 2  # beyond where it was stopped, which is another place each time
    whole = big()
    history = trainer_of(whole).fit(whole.x, whole.y, epochs=epochs, batch_size=10, generator=generator(1))
    assert state["losses"] == history.batch_losses[trainer.epoch][: trainer.step]
    other = big()
    again = trainer_of(other)
    resumed = again.fit(other.x, other.y, epochs=epochs, batch_size=10, generator=generator(7), resume=state)
    assert resumed.to_dict() == history.to_dict()
    for a, b in zip(whole.model.parameters(), other.model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, [1] * 20), (1e9, [1, 1, 18])])
def test_ctrl_c_is_answered_within_a_tenth_of_a_second_of_steps(
    seconds: float, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The native loop comes back after the step in which its time is over; without one, at the end of the epoch."""
    assert 0 < trainer_module._CHUNK <= 0.1
    monkeypatch.setattr(trainer_module, "_CHUNK", seconds)
    run = Run(14, rows=200)
    done: list[int] = []
    before = Rows.run

    def watched(*arguments: Any) -> int:
        done.append(before(*arguments))
        return done[-1]

    monkeypatch.setattr(Rows, "run", watched)
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, batch_size=10)
    assert done == calls  # the first two are recorded


class _Sees(Callback):
    """Weights, statistics and the random state after each step."""

    every = 1

    def __init__(self) -> None:
        self.states: list[Any] = []

    def step_end(self, trainer: Trainer) -> None:
        self.states.append(state_of(trainer.model, []))


@pytest.mark.parametrize("optimizer", ["SGD", "Adagrad"])
@pytest.mark.parametrize("bad", [0, 3, 8])
def test_a_batch_that_raises_in_the_middle_of_native_steps_leaves_whole_counted_ones(bad: int, optimizer: str) -> None:
    """Steps before it in the same native run are done; what it had changed itself is taken back."""
    rows = 23 * SIZE
    labels = unspool.arange(rows) % 3
    wrong = labels.clone()
    wrong[bad * SIZE] = 3
    made = []
    for every_step in (True, False):
        unspool.manual_seed(0)
        model = network()
        own = getattr(unspool.optim, optimizer)(model.parameters(), lr=0.05)
        x = unspool.randn(rows, 6)
        trainer = Trainer(model, nn.CrossEntropyLoss(), own)
        trainer.fit(x, labels, batch_size=SIZE, shuffle=False)  # there is a plan from now on
        before, sees = state_of(model, []), _Sees()
        with pytest.raises(IndexError, match="Target 3 is out of bounds"):
            trainer.fit(x, wrong, batch_size=SIZE, shuffle=False, callbacks=[sees] if every_step else [])
        assert trainer.step == bad
        assert all(p.grad is None for p in model.parameters())
        if every_step:
            assert len(sees.states) == bad
            assert state_of(model, []) == [before, *sees.states][-1]
        made.append(state_of(model, []))
    assert made[0] == made[1]
