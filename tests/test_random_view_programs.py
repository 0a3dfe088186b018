"""Random programs of views, writes in place and elementwise operations, beside PyTorch and central differences."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import unspool

# Each step names an op and, by numbers, its operands among the tensors made so far and its arguments. Numbers are taken
# modulo what there is, so that every drawn program means something; one that PyTorch refuses at a step skips the step.
STEP = st.tuples(st.integers(0, 27), st.integers(0, 7), st.integers(0, 7), st.integers(0, 5))


def elementwise(m: Any, x: Any, k: int) -> Any:
    return (
        lambda: m.tanh(x),
        lambda: m.sigmoid(x),
        lambda: m.exp(x * 0.2),
        lambda: m.relu(x),
        lambda: m.abs(x),
        lambda: -x,
    )[k % 6]()


def combined(m: Any, a: Any, b: Any, k: int) -> Any:
    return (
        lambda: a + b,
        lambda: a - b,
        lambda: a * b,
        lambda: a / (b * b + 1),
        lambda: m.maximum(a, b),
        lambda: m.where(a > b, a * 2, b),
    )[k % 6]()


def viewed(x: Any, k: int) -> Any:
    return (
        lambda: x.t() if x.ndim == 2 else x.transpose(0, -1),
        lambda: x[k % max(1, x.shape[0] if x.ndim else 1)],
        lambda: x[1:] if x.ndim else x[None],
        lambda: x[..., ::2],
        lambda: x.reshape(-1),
        lambda: x.unsqueeze(0).expand(2, *x.shape) if x.ndim < 3 else x.squeeze(),
    )[k % 6]()


def written(m: Any, x: Any, other: Any, k: int) -> None:
    if any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True)):
        raise RuntimeError("expanded: PyTorch lets fill_ and zero_ through, unspool none")

    def put() -> None:
        x[0] = other.sum() * 0.1

    (
        lambda: x.mul_(0.5),
        lambda: x.add_(other),
        lambda: x.mul_(other),
        put,
        lambda: x.tanh_(),
        lambda: x.zero_(),
    )[k % 6]()


def reduced(m: Any, x: Any, k: int) -> Any:
    return (
        lambda: x.sum(),
        lambda: x.sum(0) if x.ndim else x.sum(),
        lambda: x.mean(-1, keepdim=True) if x.ndim else x.mean(),
        lambda: x.softmax(-1) if x.ndim else x.sigmoid(),
        lambda: x.max(0)[0] if x.ndim else x.max(),
        lambda: m.cat([x, x * 2]) if x.ndim else m.stack([x, x]),
    )[k % 6]()


def advance(m: Any, made: list[Any], step: tuple[int, int, int, int]) -> None:
    kind, i, j, k = step
    a, b = made[-1 - i % len(made)], made[-1 - j % len(made)]
    if kind < 6:
        made.append(elementwise(m, a, k))
    elif kind < 12:
        made.append(combined(m, a, b, k))
    elif kind < 18:
        made.append(viewed(a, k))
    elif kind < 24:
        written(m, a, b, k)
    elif kind < 26:
        made.append(reduced(m, a, k))
    else:
        made.append(a.detach() if k == 0 else a.clone())


def total(made: list[Any]) -> Any:
    """A scalar that every tensor reaches, each element with a weight of its own."""
    return sum(((t.reshape(-1) if t.numel() else t.reshape(0)).sum() * (0.5 + 0.25 * n) for n, t in enumerate(made)), 0)


class Run:
    """A program's tensors in one library; the leaves are the first two."""

    def __init__(self, m: Any) -> None:
        self.m = m
        rng = np.random.default_rng(11)
        self.leaves = [m.tensor(rng.uniform(-2, 2, s), requires_grad=True) for s in ((2, 3), (3,))]
        self.made = [x * 1.5 for x in self.leaves]

    def step(self, step: tuple[int, int, int, int]) -> bool:
        try:
            advance(self.m, self.made, step)
        except (RuntimeError, IndexError, ValueError):
            return False
        return True


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=3, max_size=20))
@example([(12, 0, 0, 1), (18, 0, 0, 0), (18, 1, 0, 1)])
@example([(12, 1, 0, 0), (12, 0, 0, 1), (20, 0, 0, 0), (6, 0, 1, 2)])
@example([(0, 0, 0, 1), (12, 0, 0, 2), (18, 0, 0, 2), (6, 0, 1, 0)])
def test_random_programs(torch: ModuleType, steps: list[tuple[int, int, int, int]]) -> None:
    ours, theirs = Run(unspool), Run(torch)
    for step in steps:
        a, b = ours.step(step), theirs.step(step)
        assert len(ours.made) >= len(theirs.made), f"step {step}: only PyTorch can do it"
        assert a >= b, f"step {step}: only PyTorch can do it"
        if a != b:
            return  # unspool accepts more; nothing to compare from here on
        for x, y in zip(ours.made, theirs.made, strict=True):
            assert tuple(x.shape) == tuple(y.shape)
            assert x.requires_grad == y.requires_grad
            assert x._version == y._version
    for x, y in zip(ours.made, theirs.made, strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    try:
        total(theirs.made).backward()
    except RuntimeError:  # a saved tensor was overwritten: PyTorch raises, unspool raises or is right
        return
    total(ours.made).backward()
    for x, y in zip(ours.leaves, theirs.leaves, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-10, atol=1e-12)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=3, max_size=12))
def test_random_programs_against_differences(steps: list[tuple[int, int, int, int]]) -> None:
    """Where unspool accepts more than PyTorch, the gradient is right all the same."""
    run = Run(unspool)
    for step in steps:
        if not run.step(step):
            return
    try:
        total(run.made).backward()
    except RuntimeError:  # a saved tensor was overwritten
        return
    direction = [np.random.default_rng(5 + i).uniform(-1, 1, tuple(x.shape)) for i, x in enumerate(run.leaves)]

    def value(h: float) -> float:
        """The program's total at leaves moved by h."""
        moved = Run(unspool)
        with unspool.no_grad():
            for x, d in zip(moved.leaves, direction, strict=True):
                x.add_(unspool.from_numpy(d * h))
            moved.made = [x * 1.5 for x in moved.leaves]
            for step in steps:
                moved.step(step)
        return float(total(moved.made))

    if any(kind >= 26 and k == 0 for kind, _, _, k in steps):
        return  # a difference would see through detach
    h = 1e-6
    slopes = [(value(h) - value(0.0)) / h, (value(0.0) - value(-h)) / h]
    if abs(slopes[0] - slopes[1]) > 1e-3 * (1 + abs(slopes[0])):
        return  # at a kink
    found = sum(
        float((x.grad * unspool.from_numpy(d)).sum())
        for x, d in zip(run.leaves, direction, strict=True)
        if x.grad is not None
    )
    assert found == pytest.approx(sum(slopes) / 2, rel=1e-4, abs=1e-4)
