"""Learning-rate schedules: the same floats as PyTorch, to the last bit."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for the sequences of rates")

_SCHEDULES: list[tuple[str, Any]] = [
    ("StepLR", lambda s, o, **k: s.StepLR(o, step_size=3, gamma=0.7, **k)),
    ("StepLR of a float", lambda s, o, **k: s.StepLR(o, 2.0, **k)),
    ("StepLR default", lambda s, o, **k: s.StepLR(o, 10, **k)),
    ("StepLR 1", lambda s, o, **k: s.StepLR(o, 1, 1 / 3, **k)),
    ("MultiStepLR", lambda s, o, **k: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3, **k)),
    ("ExponentialLR", lambda s, o, **k: s.ExponentialLR(o, 0.93, **k)),
    ("LambdaLR", lambda s, o, **k: s.LambdaLR(o, lambda e: 0.95**e, **k)),
    ("MultiplicativeLR", lambda s, o, **k: s.MultiplicativeLR(o, lambda e: 0.95, **k)),
    ("ConstantLR", lambda s, o, **k: s.ConstantLR(o, **k)),
    ("ConstantLR 1/4", lambda s, o, **k: s.ConstantLR(o, 0.25, 7, **k)),
    ("LinearLR", lambda s, o, **k: s.LinearLR(o, **k)),
    ("LinearLR down", lambda s, o, **k: s.LinearLR(o, 1.0, 0.1, 13, **k)),
    ("PolynomialLR", lambda s, o, **k: s.PolynomialLR(o, 20, 0.9, **k)),
    ("CosineAnnealingLR", lambda s, o, **k: s.CosineAnnealingLR(o, 10, **k)),
    ("CosineAnnealingLR min", lambda s, o, **k: s.CosineAnnealingLR(o, 7, 0.01, **k)),
    ("CosineAnnealingWarmRestarts", lambda s, o, **k: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.001, **k)),
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


_WARNING = [case for case in _SCHEDULES if "Restarts" not in case[0]]  # that one takes epochs


@pytest.mark.parametrize(("name", "make"), _WARNING, ids=[name for name, _ in _WARNING])
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


# These set what the groups hold beside the rate, or wrap others: compared as they run from the start.
_OTHERS: list[tuple[str, Any]] = [
    ("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=40)),
    ("OneCycleLR three", lambda s, o: s.OneCycleLR(o, [0.5, 0.7], epochs=4, steps_per_epoch=10, three_phase=True)),
    ("OneCycleLR linear", lambda s, o: s.OneCycleLR(o, 0.5, 40, anneal_strategy="linear", cycle_momentum=False)),
    ("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4)),
    ("CyclicLR 2", lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.1, 3, 5, mode="triangular2", cycle_momentum=False)),
    ("CyclicLR exp", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.9)),
    ("CyclicLR fn", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda x: 1 / x, scale_mode="cycle")),
    ("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 5), s.ExponentialLR(o, 0.9)])),
    (
        "SequentialLR",
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20)], [5]),
    ),
    (
        "SequentialLR 3",
        lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 3), s.StepLR(o, 4), s.ExponentialLR(o, 0.9)], [4, 17]),
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "make"), _OTHERS, ids=[name for name, _ in _OTHERS])
def test_cycles_and_compositions(name: str, make: Any) -> None:
    results = []
    for t in (unspool, torch):
        optimizer = t.optim.SGD(
            [{"params": [t.nn.Parameter(t.ones(1))]}, {"params": [t.nn.Parameter(t.ones(1))], "lr": 0.3}],
            lr=0.1,
            momentum=0.9,
        )
        scheduler = make(t.optim.lr_scheduler, optimizer)
        rates = [(scheduler.get_last_lr(), [g["momentum"] for g in optimizer.param_groups])]
        for _ in range(38):
            optimizer.step()
            scheduler.step()
            rates.append((scheduler.get_last_lr(), [g["momentum"] for g in optimizer.param_groups]))
        results.append((rates, repr(optimizer)))
    assert results[0] == results[1]


def test_cycling_adams_beta() -> None:
    results = []
    for t in (unspool, torch):
        optimizer = t.optim.Adam([t.nn.Parameter(t.ones(1))])
        scheduler = t.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
        seen = []
        for _ in range(9):
            optimizer.step()
            scheduler.step()
            seen.append((optimizer.param_groups[0]["betas"], scheduler.get_last_lr()))
        results.append(seen)
        scheduler.step()
        with pytest.raises(ValueError, match="10"):
            scheduler.step()
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"mode": "max"},
        {"threshold_mode": "abs", "threshold": 0.5},
        {"cooldown": 3, "patience": 1},
        {"min_lr": [0.02, 0.1]},
    ],
)
def test_a_plateau_lowers_the_rate(kwargs: dict[str, Any]) -> None:
    metrics = [5, 4, 4, 4, 3.9999, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, 7, 7, 7, float("nan"), 7]
    results = []
    for t in (unspool, torch):
        optimizer = _optimizer(t)
        scheduler = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"patience": 2, "factor": 0.3, **kwargs})
        seen = []
        for m in metrics:
            scheduler.step(t.tensor(float(m)))
            seen.append((scheduler.get_last_lr(), scheduler.best, scheduler.num_bad_epochs, scheduler.cooldown_counter))
        results.append((seen, scheduler.state_dict()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.5), ValueError, "1.5"),
        (lambda s, o: s.ReduceLROnPlateau(o, mode="up"), ValueError, "up"),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "min_lr"),
        (lambda s, o: s.OneCycleLR(o, 0.1), ValueError, "total_steps"),
        (lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1), ValueError, "-1"),
        (lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, pct_start=2.0), ValueError, "2.0"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="sine"), ValueError, "sine"),
        (lambda s, o: s.CyclicLR(o, [0.1], 0.2), ValueError, "base_lr"),
        (lambda s, o: s.LinearLR(o, 0.0), ValueError, "0.0"),
        (lambda s, o: s.ConstantLR(o, 2.0), ValueError, "2.0"),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0"),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]), ValueError, "milestone"),
        (lambda s, o: s.SequentialLR(o, [], []), ValueError, "none"),
        (lambda s, o: s.ChainedScheduler([]), ValueError, "none"),
        (lambda s, o: s.CosineAnnealingLR("o", 3), TypeError, "Optimizer"),
    ],
)
def test_impossible_schedules(make: Any, error: type[Exception], match: str) -> None:
    optimizer = unspool.optim.SGD([{"params": [unspool.ones(1)]}, {"params": [unspool.ones(1)]}], lr=0.1)
    before = repr(optimizer)
    with pytest.raises(error, match=match):
        make(unspool.optim.lr_scheduler, optimizer)
    assert repr(optimizer) == before or "initial_lr" in repr(optimizer)


@pytest.mark.parametrize(
    "kwargs", [{}, {"anneal_epochs": 3, "anneal_strategy": "linear"}, {"anneal_epochs": 0}, {"swa_lr": [0.5, 0.001]}]
)
def test_going_over_to_a_constant_rate(kwargs: dict[str, Any]) -> None:
    results = []
    for t in (unspool, torch):
        optimizer = _optimizer(t)
        scheduler = t.optim.swa_utils.SWALR(optimizer, **{"swa_lr": 0.05, **kwargs})
        rates = _run(optimizer, scheduler, 15)
        resumed = t.optim.swa_utils.SWALR(optimizer, **{"swa_lr": 0.05, **kwargs})
        resumed.load_state_dict(scheduler.state_dict())
        results.append((rates, scheduler.state_dict(), _run(optimizer, resumed, 2)))
    assert results[0] == results[1]


@pytest.mark.parametrize("kwargs", [{"anneal_strategy": "sine"}, {"anneal_epochs": -1}, {"swa_lr": [0.1]}])
def test_impossible_ends(kwargs: dict[str, Any]) -> None:
    for t in (unspool, torch):
        with pytest.raises(ValueError, match=r"\S"):
            t.optim.swa_utils.SWALR(_optimizer(t), **{"swa_lr": 0.05, **kwargs})


def test_the_older_name_of_the_base_class() -> None:
    rates = []
    for t in (unspool, torch):

        class Halved(t.optim.lr_scheduler._LRScheduler):  # type: ignore[name-defined,misc]
            def get_lr(self) -> list[float]:
                return [lr * 0.5**self.last_epoch for lr in self.base_lrs]

        schedule = Halved(_optimizer(t))
        assert isinstance(schedule, t.optim.lr_scheduler.LRScheduler)
        rates.append(_run(schedule.optimizer, schedule, 4))
    assert rates[0] == rates[1]
