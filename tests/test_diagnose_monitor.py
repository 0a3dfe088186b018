"""`diagnose.Monitor`, in a loop and as a Trainer's callback."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

import unspool
from test_diagnose import mlp
from unspool import nn
from unspool.diagnose import Monitor
from unspool.diagnose.columns import columns
from unspool.nn import functional as F


def train(model: Any, monitor: Any, steps: int, lr: float, labels: Any = None) -> None:
    unspool.manual_seed(2)
    optimizer = unspool.optim.SGD(model.parameters(), lr=lr)
    x = unspool.randn(64, 32)
    y = (x[:, :10].argmax(1)) if labels is None else labels
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        monitor(loss)


def watched(model: Any, **kwargs: Any) -> tuple[Any, list[str]]:
    said: list[str] = []
    return Monitor(model, tell=said.append, every=20, window=20, **kwargs), said


def events(monitor: Any) -> set[str]:
    return {kind for _, kind, _ in monitor.events}


def test_nothing_is_said_of_a_good_run() -> None:
    unspool.manual_seed(1)
    monitor, said = watched(model := mlp(3, 32), uninformed=math.log(10))
    train(model, monitor, 100, 0.05)
    assert said == []
    assert [s.step for s in monitor.samples] == [20, 40, 60, 80, 100]
    last = monitor.samples[-1]
    assert list(last.gradient) == ["0", "2", "4", "6"]
    assert last.update["0"] == pytest.approx(0.05 * last.gradient["0"], rel=0.01)  # of SGD
    assert "nothing turned bad" in str(monitor)
    assert max(map(len, str(monitor).splitlines())) <= 80


def test_a_monitor_s_table_of_wide_names() -> None:
    model = nn.Sequential()
    for name in ("変数の層" * 8, "head"):
        model.add_module(name, nn.Linear(32, 32))
    monitor, _ = watched(model)
    train(model, monitor, 20, 0.05)
    *_, head, first, second = str(monitor).splitlines()
    assert {columns(first), columns(second)} == {len(head)}


@pytest.mark.parametrize(
    ("make", "lr", "kind"),
    [
        (lambda: mlp(30, 32, 1 / 16), 0.05, "plateau"),
        (lambda: mlp(30, 32, 1 / 16), 0.05, "vanishing_gradients"),
        (lambda: mlp(12, 32, 16.0), 1e-12, "exploding_gradients"),
        (lambda: mlp(12, 32, 16.0), 1.0, "non_finite"),
        (lambda: mlp(3, 32, bias=-60.0), 0.05, "dying_units"),
        (lambda: mlp(3, 32), 2.0, "large_updates"),
        (lambda: mlp(3, 32), 1e-9, "small_updates"),
        (lambda: mlp(3, 32), 1e-9, "flat_loss"),
    ],
)
def test_what_turns_bad_is_said_once(make: Any, lr: float, kind: str) -> None:
    unspool.manual_seed(1)
    monitor, said = watched(model := make(), uninformed=math.log(10))
    train(model, monitor, 60, lr)
    assert kind in events(monitor)
    assert sum(f": {kind}: " in line for line in said) == 1
    assert kind in str(monitor)


def test_a_volatile_loss_and_its_return() -> None:
    monitor, said = watched(mlp(1, 8))
    for step in range(120):
        monitor(1.0 + (0.9 if step % 2 else -0.9) * (step < 20 or step >= 60))
    assert [line.split(":")[0] for line in said if "volatile_loss" in line] == ["step 20", "step 80"]


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("volatile_loss", lambda step: 1.0 + (0.9 if step % 2 else -0.9)),
        ("flat_loss", lambda step: 3.0),
        ("plateau", lambda step: 2.2 + (0.01 if step % 2 else -0.01)),
        ("non_finite", lambda step: math.nan if step == 45 else 1.0 + step % 3),
    ],
)
def test_losses_are_judged_far_from_any_look(kind: str, loss: Any) -> None:
    """Between looks only the native call can tell that there is something to see."""
    monitor = Monitor(mlp(1, 8), every=10000, window=20, uninformed=2.2, tell=[].append)
    for step in range(100):
        monitor(loss(step) if step >= 40 else 1.0 + step % 3)
    assert [(step, found) for step, found, _ in monitor.events] == [(46 if kind == "non_finite" else 60, kind)]


def test_a_frozen_step_stays_frozen() -> None:
    unspool.manual_seed(1)
    model = mlp(2, 32)
    optimizer = unspool.optim.SGD(model.parameters(), lr=0.05)

    @unspool.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    monitor, _ = watched(model)
    x, y = unspool.randn(64, 32), unspool.randint(0, 10, (64,))
    for _ in range(60):
        monitor(step(x, y))
    assert step.plans == 1
    assert all(math.isfinite(v) for s in monitor.samples for v in s.gradient.values())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((F.relu,), TypeError, "model must be a Module"),
        ((nn.ReLU(),), ValueError, r"the model \(ReLU\) has no linear layer"),
        ((nn.Linear(2, 2), {"every": 1}), ValueError, "every must be an int of at least 2, got 1"),
        ((nn.Linear(2, 2), {"window": 2.5}), ValueError, r"window must be an int of at least 2, got 2\.5"),
    ],
)
def test_bad_arguments_of_a_monitor(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Monitor(arguments[0], **(arguments[1] if len(arguments) > 1 else {}))


def test_a_trainer_s_monitor_sees_what_a_loop_s_sees() -> None:
    said: list[str] = []
    x, y = unspool.randn(70, 8), unspool.randint(0, 10, (70,))
    seen = []
    for by_hand in (True, False):
        unspool.manual_seed(3)
        model = mlp(3, 32)
        x = unspool.randn(70, model[0].in_features)
        monitor = Monitor(model, tell=said.append, every=20, window=20)
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.05)
        criterion = nn.CrossEntropyLoss()
        unspool.manual_seed(4)
        if by_hand:
            for _ in range(15):
                rows = unspool.utils.data.TensorDataset(x, y)
                for a, b in unspool.utils.data.DataLoader(rows, batch_size=10, shuffle=True):
                    optimizer.zero_grad()
                    loss = criterion(model(a), b)
                    loss.backward()
                    optimizer.step()
                    monitor(loss)
        else:
            unspool.Trainer(model, criterion, optimizer).fit(x, y, epochs=15, batch_size=10, callbacks=[monitor])
            assert said[-1] == str(monitor)
        seen.append((monitor.losses, monitor.samples, monitor.events))
    assert seen[0] == seen[1]
    assert [sample.step for sample in seen[0][1]] == [20, 40, 60, 80, 100]


def test_a_trainer_s_error_leaves_the_losses_before_it() -> None:
    said: list[str] = []
    model = mlp(12, 32, 16.0)
    monitor = Monitor(model, tell=said.append)
    trainer = unspool.Trainer(model, nn.CrossEntropyLoss(), unspool.optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(FloatingPointError):
        trainer.fit(unspool.randn(640, 32), unspool.randint(0, 10, (640,)), batch_size=10, callbacks=[monitor])
    assert not math.isfinite(monitor.losses[-1])
    assert all(map(math.isfinite, monitor.losses[:-1]))
    assert f"step {len(monitor.losses)}: non_finite: " in said[-1]


def test_one_loss_that_is_not_finite_is_said_again_after_it_has_passed() -> None:
    monitor, said = watched(mlp(1, 8))
    for step in range(100):
        monitor(math.nan if step in (5, 6, 45) else 1.0 + step % 3)
    assert [line.split(":")[0] for line in said if "non_finite" in line] == ["step 6", "step 46"]


@pytest.mark.parametrize("cuts", [(0, 7, 7, 20, 95, 190, 1000), (0, 200, 1000)])
def test_losses_that_come_together_are_judged_as_those_that_come_one_by_one(cuts: tuple[int, ...]) -> None:
    """Many windows are looked at all at once."""
    losses = [1.0 + (0.9 if step % 2 else -0.9) * (step // 20 % 3 == 1) for step in range(1000)]
    for step in range(200, 1000):
        level = 2.0 if 400 <= step < 440 else 1.0 + 0.9 * (step % 3) * (700 <= step < 800)
        losses[step] = (1 + 0.2 * (step % 2)) * level
    losses[150] = math.inf
    one_by_one, together = (
        Monitor(mlp(1, 8), every=10000, window=20, uninformed=2.2, tell=[].append) for _ in range(2)
    )
    for loss in losses:
        one_by_one(loss)
    for first, last in pairwise(cuts):
        together._take(losses[first:last])
    assert together.losses == one_by_one.losses
    assert together.events == one_by_one.events
    assert {kind for _, kind, _ in together.events} == {"volatile_loss", "flat_loss", "non_finite", "plateau"}
    assert max(step for step, _, _ in together.events) > 400


def test_a_copy_goes_on_as_the_monitor_does() -> None:
    monitor = Monitor(mlp(1, 8), window=4, every=5)
    monitor(3.0)
    monitor(loss=2.0)
    for other in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        assert other.losses == [3.0, 2.0]
        for one in (monitor, other) if other.steps == monitor.steps else (other,):
            for _ in range(8):
                one(1.0)
        assert (other.losses, other.events) == (monitor.losses, monitor.events)
        assert len(other.samples) == len(monitor.samples) == 2
        assert "flat_loss" in events(other)


def test_a_call_that_is_replaced_in_the_class() -> None:
    class Own(Monitor):
        pass

    monitor = Own(mlp(1, 8))
    monitor(1.0)
    called: list[Any] = []
    Own.__call__ = lambda self, loss: called.append(loss)  # type: ignore[method-assign]
    monitor(2.0)
    assert (called, monitor.losses) == ([2.0], [1.0])


def test_what_is_no_loss_is_not_counted() -> None:
    monitor, _ = watched(mlp(1, 8))
    monitor(unspool.tensor(1.5))
    for bad, error in (("1", TypeError), (None, TypeError), (unspool.ones(2), (RuntimeError, ValueError))):
        with pytest.raises(error):
            monitor(bad)
    with pytest.raises(TypeError, match="loss"):
        monitor()
    assert (monitor.losses, monitor.steps) == ([1.5], 1)


def test_looks_keep_the_pace_of_the_steps_and_not_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a step takes 1 ms and a look 6 ms: 0.3 % of the time is a look in 2000 steps."""
    now = [0.0]
    monkeypatch.setattr("unspool.diagnose.monitor.time", SimpleNamespace(perf_counter=lambda: now[0]))
    monitor = Monitor(mlp(1, 8))
    now[0] += 3600.0  # between the cells of a notebook

    def look(step: int, loss: float) -> None:
        looks.append(step)
        now[0] += 0.006

    looks: list[int] = []
    monkeypatch.setattr(monitor, "_look", look)
    for _ in range(4400):
        now[0] += 0.001
        monitor(1.0)
    assert looks == [100, 2100, 4100]
    now[0] += 3600.0
    monitor.fit_begin(SimpleNamespace(history=[]))
    assert monitor.every == 1700
