"""Learning-rate schedules: the same floats as PyTorch, to the last bit."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for the sequences of rates")

_SCHEDULES: list[tuple[str, Any]] = [
    ("StepLR", lambda s, o, **k: s.StepLR(o, step_size=3, gamma=0.7, **k)),
    ("StepLR default", lambda s, o, **k: s.StepLR(o, 10, **k)),
    ("StepLR 1", lambda s, o, **k: s.StepLR(o, 1, 1 / 3, **k)),
    ("MultiStepLR", lambda s, o, **k: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3, **k)),
    ("ExponentialLR", lambda s, o, **k: s.ExponentialLR(o, 0.93, **k)),
    ("LambdaLR", lambda s, o, **k: s.LambdaLR(o, lambda e: 0.95**e, **k)),
    ("LambdaLR list", lambda s, o, **k: s.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.5], **k)),
]
_IDS = [name for name, _ in _SCHEDULES]


def _optimizer(t: Any, **extra: Any) -> Any:
    groups = [{"params": [t.nn.Parameter(t.ones(1))], **extra} for _ in range(2)]
    groups[1]["lr"] = 0.3
    return t.optim.SGD(groups, lr=0.1)


def _run(optimizer: Any, scheduler: Any, epochs: int) -> list[Any]:
    rates = [scheduler.get_last_lr()]
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr())
        assert rates[-1] == [group["lr"] for group in optimizer.param_groups]
    return rates


@pytest.mark.parametrize(("name", "make"), _SCHEDULES, ids=_IDS)
def test_rates_and_state(name: str, make: Any) -> None:
    results = []
    for t in (unspool, torch):
        optimizer = _optimizer(t)
        scheduler = make(t.optim.lr_scheduler, optimizer)
        rates = _run(optimizer, scheduler, 60)
        results.append((rates, scheduler.state_dict(), repr(optimizer)))
    assert results[0] == results[1]


@pytest.mark.parametrize(("name", "make"), _SCHEDULES, ids=_IDS)
def test_resuming(name: str, make: Any) -> None:
    results = []
    for t in (unspool, torch):
        optimizer = _optimizer(t, initial_lr=0.5)
        results.append(_run(optimizer, make(t.optim.lr_scheduler, optimizer, last_epoch=8), 12))
        other = _optimizer(t)
        scheduler = make(t.optim.lr_scheduler, other)
        _run(other, scheduler, 5)
        third = _optimizer(t)
        again = make(t.optim.lr_scheduler, third)
        again.load_state_dict(scheduler.state_dict())
        third.load_state_dict(other.state_dict())
        results[-1] += _run(third, again, 7)
    assert results[0] == results[1]


@pytest.mark.parametrize(("name", "make"), _SCHEDULES, ids=_IDS)
def test_going_to_an_epoch(name: str, make: Any) -> None:
    results = []
    for t in (unspool, torch):
        optimizer = _optimizer(t)
        scheduler = make(t.optim.lr_scheduler, optimizer)
        optimizer.step()
        with pytest.warns(UserWarning, match="epoch"):
            scheduler.step(7)
        results.append((scheduler.get_last_lr(), scheduler.last_epoch))
    assert results[0] == results[1]


def test_the_wrong_order_of_calls_warns_once() -> None:
    optimizer = _optimizer(unspool)
    scheduler = unspool.optim.lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_optimizers_of_ones_own_are_watched_too() -> None:
    class Still(unspool.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            return "stepped"

    optimizer = Still([unspool.nn.Parameter(unspool.ones(1))], {"lr": 1.0})
    scheduler = unspool.optim.lr_scheduler.StepLR(optimizer, 1)
    assert optimizer.step() == "stepped"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    assert scheduler.get_last_lr() == [0.1]


def test_get_lr_outside_of_step_warns() -> None:
    scheduler = unspool.optim.lr_scheduler.StepLR(_optimizer(unspool), 3)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


def test_bad_input() -> None:
    schedulers = unspool.optim.lr_scheduler
    with pytest.raises(TypeError, match="Optimizer"):
        schedulers.StepLR(unspool.nn.Parameter(unspool.ones(1)), 3)
    with pytest.raises(KeyError, match="initial_lr"):
        schedulers.StepLR(_optimizer(unspool), 3, last_epoch=4)
    with pytest.raises(ValueError, match="step_size"):
        schedulers.StepLR(_optimizer(unspool), 0)
    with pytest.raises(ValueError, match="2 parameter groups"):
        schedulers.LambdaLR(_optimizer(unspool), [lambda e: 1.0])
