"""Copies and pickles of what holds frozen functions: they have no plans, and nothing of the original."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import unspool
from compile_programs import bits
from unspool import nn, optim
from unspool.train import Trainer

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
}


@unspool.compile
def doubled(x: Any) -> Any:
    return x * 2


class Holds(nn.Module):
    """A module with a frozen method, and one with a frozen child."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = unspool.compile(nn.Linear(2, 2))
        self.fast = unspool.compile(self.slow, fallback="eager", memory_budget=10**6)

    def slow(self, x: Any) -> Any:
        return self.inner._orig_mod(x).detach()

    def forward(self, x: Any) -> Any:
        return self.inner(x)


@pytest.mark.parametrize("how", COPIES)
def test_what_a_decorator_made_is_found_by_its_name(how: str) -> None:
    assert COPIES[how](doubled) is doubled


@pytest.mark.parametrize("how", COPIES)
def test_a_module_that_holds_frozen_ones(how: str) -> None:
    model, x = Holds(), unspool.ones(1, 2)
    for _ in range(3):
        model(x)
        model.fast(x)
    other = COPIES[how](model)
    assert (model.fast.plans, other.fast.plans, other.inner.plans) == (1, 0, 0)
    assert list(other.state_dict()) == list(model.state_dict())
    with unspool.no_grad():
        other.inner.weight.zero_()
    for _ in range(4):
        assert bits(other.fast(x)) == bits(other(x)) == bits(other.inner._orig_mod.bias.detach()[None])
        assert bits(model.fast(x)) == bits(model(x)) != bits(other(x))
    assert (other.fast.plans, other.inner.plans) == (1, 1)
    assert other.inner.eval().training is False


class Doubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x) * 2


@pytest.mark.parametrize("how", COPIES)
def test_a_trainer(how: str) -> None:
    unspool.manual_seed(0)
    model, x, y = Doubles(), unspool.randn(20, 3), unspool.randn(20, 1)
    opt = optim.Adam(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(opt, 1, 0.5)
    trainer = Trainer(model, nn.MSELoss(), opt, schedule, metrics=["mae"], clip_norm=1.0, accumulate=2)
    trainer.fit(x, y, epochs=2, batch_size=5, shuffle=False)
    other = COPIES[how](trainer)
    assert other.history.to_dict() == trainer.history.to_dict()
    assert other.optimizer is not opt
    assert other.scheduler.optimizer is other.optimizer
    before = [bits(p) for p in model.parameters()]
    assert [bits(p) for p in other.model.parameters()] == before
    seen = []
    for each in (other, trainer):  # the copy first: the original must not notice
        each.fit(x, y, epochs=2, batch_size=5, shuffle=False)
        seen.append([bits(p) for p in each.model.parameters()] + [each.history.to_dict(), each.evaluate(x, y)])
        assert each is trainer or [bits(p) for p in model.parameters()] == before
    assert seen[0] == seen[1]


def test_a_trainer_that_trains_is_not_copied() -> None:
    model = Doubles()
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))

    class Copies:
        def epoch_end(self, trainer: Any) -> None:
            copy.deepcopy(trainer)

    with pytest.raises(RuntimeError, match="it is training; it can be copied afterwards"):
        trainer.fit(unspool.ones(4, 3), unspool.ones(4, 1), callbacks=[Copies()])
