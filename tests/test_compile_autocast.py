"""Frozen functions under mixed precision: outside of them, inside, and switched between calls."""

from __future__ import annotations

from collections.abc import Callable

import unspool
from unspool import Tensor, nn


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and unspool.equal(a, b)


def made() -> tuple[nn.Module, unspool.optim.Optimizer, Tensor, Tensor]:
    unspool.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    return model, unspool.optim.SGD(model.parameters(), lr=0.1), unspool.randn(4, 5), unspool.tensor([0, 2, 1, 1])


def test_a_plan_is_for_the_precision_it_was_recorded_in() -> None:
    model, _, x, _ = made()
    frozen: Callable[[Tensor], Tensor] = unspool.compile(model)
    for on in (False, False, False, True, True, True, False, True):
        with unspool.no_grad(), unspool.autocast("cpu", enabled=on):
            assert same(frozen(x), model(x)), on
            assert frozen(x).dtype == (unspool.bfloat16 if on else unspool.float32)
    with unspool.no_grad(), unspool.autocast("cpu", dtype=unspool.float16):
        for _ in range(3):
            assert frozen(x).dtype == unspool.float16


def test_steps_with_autocast_inside_have_the_eager_bits() -> None:
    def run(compiled: bool) -> list[Tensor]:
        model, optimizer, x, y = made()

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            with unspool.autocast("cpu"):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        call = unspool.compile(step) if compiled else step
        return [*(call(x, y).clone() for _ in range(5)), *model.parameters()]

    assert all(map(same, run(False), run(True)))
