"""Frozen functions that add to gradients which are there: those of several calls, as loops over parts of a batch do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim


def _model() -> Any:
    unspool.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def _halve(model: Any) -> None:
    for p in model.parameters():
        p.grad = p.grad / 2


def _halve_inplace(model: Any) -> None:
    for p in model.parameters():
        p.grad.mul_(0.5)


def _transpose(model: Any) -> None:
    model[0].weight.grad = model[0].weight.grad.t().contiguous().t()


def _share(model: Any) -> None:
    both = unspool.ones(4, 6)
    model[0].bias.grad, model[2].weight.grad = both[0], both[1:]


def _drop_one(model: Any) -> None:
    model[0].bias.grad = None


# What happens to gradients between calls, and how many plans that makes: with no gradient there, with gradients, and
# with those in another layout.
_BETWEEN: dict[str, tuple[Callable[[Any], None], int]] = {
    "nothing": (lambda model: None, 2),
    "halved": (_halve, 2),
    "halved in place": (_halve_inplace, 2),
    "transposed": (_transpose, 3),
    "in one memory": (_share, 3),
    "one dropped": (_drop_one, 3),
}


def _accumulated(freeze: bool, between: str, to_none: bool, held: bool) -> tuple[list[Any], int]:
    model = _model()
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def part(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    run = unspool.compile(part) if freeze else part
    seen: list[Any] = []
    kept = []
    for i in range(40):
        seen.append(bits(run(unspool.randn(5, 4), unspool.randn(5, 3)).detach()))
        if held:
            kept.append(model[2].bias.grad)
        if i % 5 == 1:
            _BETWEEN[between][0](model)
        if i % 5 == 4:
            opt.step()
            opt.zero_grad(set_to_none=to_none)
        seen += [None if p.grad is None else bits(p.grad) for p in model.parameters()]
    return [*seen, *map(bits, kept), *map(bits, model.parameters())], run.plans if freeze else 0


@pytest.mark.parametrize("between", _BETWEEN)
@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("held", [False, True])
def test_gradients_of_several_calls_add_up(between: str, to_none: bool, held: bool) -> None:
    seen, plans = _accumulated(True, between, to_none, held)
    assert seen == _accumulated(False, between, to_none, held)[0]
    most = _BETWEEN[between][1]
    assert plans == most if to_none else plans <= most


def test_a_step_may_begin_with_gradients_and_end_without() -> None:
    def run(freeze: bool) -> list[Any]:
        model = _model()
        opt = optim.Adam(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            model(x).square().sum().backward()
            opt.step()
            opt.zero_grad()
            return model[0].weight.detach()

        x = unspool.randn(5, 4)
        frozen = unspool.compile(step)
        for _ in range(6):
            model(x).sum().backward()
            _ = frozen(x) if freeze else step(x)
        model(x).sum().backward()
        # The first of these finds a gradient, the others none.
        if freeze:
            frozen.repeat(5, x)
        else:
            _ = [step(x) for _ in range(5)]
        return [*map(bits, model.parameters())]

    assert run(True) == run(False)


def test_what_raises_leaves_the_gradients_that_were_there() -> None:
    model = _model()

    @unspool.compile
    def step(x: Any, label: Any) -> Any:
        model(x).square().sum().backward()
        loss = F.cross_entropy(model(x), label)
        loss.backward()
        return loss

    x, good, bad = unspool.randn(2, 4), unspool.tensor([0, 2]), unspool.tensor([0, 3])
    for _ in range(4):
        step(x, good)
    grads = [p.grad for p in model.parameters()]
    before = [*map(bits, grads)]
    with pytest.raises(IndexError):
        step(x, bad)
    assert [*map(bits, grads)] == before
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))


def test_a_gradient_may_be_an_argument_too() -> None:
    def run(freeze: bool) -> list[Any]:
        model = _model()

        def part(x: Any, grad: Any) -> Any:
            model(x).sum().backward()
            return grad.sum()

        frozen = unspool.compile(part) if freeze else part
        x = unspool.randn(5, 4)
        model(x).sum().backward()
        seen = []
        for i in range(8):
            if i == 5:
                _halve(model)
            seen.append(bits(frozen(x, model[0].weight.grad)))
            seen.append(bits(frozen(x, unspool.ones(6, 4))))
        return [*seen, *(bits(p.grad) for p in model.parameters())]

    assert run(True) == run(False)


def test_gradients_are_from_outside_in_the_text() -> None:
    model = nn.Linear(3, 2)
    run = unspool.compile(lambda x: model(x).sum().backward() or model.weight.grad)
    for _ in range(4):
        run(unspool.ones(1, 3))
    first = [line for line in run.explain().splitlines() if " = add(" in line]
    assert first
    assert all("= add(p" in line for line in first)
