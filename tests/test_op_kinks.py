"""Slopes where there are several: at kinks, ties and bounds, in where and clamp; and reductions, beside PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool
from op_outcomes import INF, NAN, SPECIAL, leaf, random, same_signs, side_by_side, value_and_gradients

# The documented table: (op, at, derivative there).
KINKS: list[tuple[str, Callable[..., Any], list[float], list[float]]] = [
    ("relu'(0) = 0", lambda m, x: m.relu(x), [0.0, -0.0], [0, 0]),
    ("relu'(NaN) = 1", lambda m, x: m.relu(x), [NAN], [1]),
    ("abs'(0) = 0", lambda m, x: m.abs(x), [0.0, -0.0], [0, 0]),
    ("sign' = 0", lambda m, x: m.sign(x), [0.0, 2.0], [0, 0]),
    ("clamp' = 1 at its bounds", lambda m, x: m.clamp(x, -1, 1), [-1.0, 1.0, -2.0, 2.0, NAN], [1, 1, 0, 0, 0]),
    ("clamp' = 1 at one bound", lambda m, x: m.clamp(x, min=1), [1.0, 0.0, 2.0], [1, 0, 1]),
    ("maximum shares a tie in halves", lambda m, x: m.maximum(x, x * 1), [1.0, INF], [1, 1]),
    ("maximum with an equal constant", lambda m, x: m.maximum(x, m.ones_like(x)), [1.0, 0.0, 2.0], [0.5, 0, 1]),
    ("minimum with an equal constant", lambda m, x: m.minimum(x, m.ones_like(x)), [1.0, 0.0, 2.0], [0.5, 1, 0]),
    ("max() shares ties evenly", lambda m, x: x.max(), [3.0, 1.0, 3.0, 3.0], [1 / 3, 0, 1 / 3, 1 / 3]),
    ("min() shares ties evenly", lambda m, x: x.min(), [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    ("max(dim) takes the first of equals", lambda m, x: x.max(0)[0], [3.0, 1.0, 3.0], [1, 0, 0]),
    ("min(dim) takes the first of equals", lambda m, x: x.min(0)[0], [3.0, 1.0, 1.0], [0, 1, 0]),
    ("sqrt'(0) = inf", lambda m, x: m.sqrt(x), [0.0], [INF]),
    ("(x⁰)' = 0", lambda m, x: x**0, [0.0, 2.0], [0, 0]),
    ("(x²)'(0) = 0", lambda m, x: x**2, [0.0], [0]),
]


@pytest.mark.parametrize(("what", "f", "at", "slope"), KINKS, ids=[k[0] for k in KINKS])
def test_kinks_and_ties(torch: ModuleType, what: str, f: Any, at: list[float], slope: list[float]) -> None:
    for m in (unspool, torch):
        x = leaf(m, np.array(at))
        y = f(m, x)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-15, err_msg=what)
    if what.startswith("max() "):
        return  # the cotangent of a scalar is no array of 1, 2, 3
    side_by_side(torch, value_and_gradients(f, np.array(at)), what)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_masked_gradient_is_selected_not_multiplied(create_graph: bool) -> None:
    """0·inf never appears: where the derivative is 0, an infinite cotangent gives 0."""
    for f in (
        lambda x: unspool.relu(x),
        lambda x: x.clamp(0, 5),
        lambda x: unspool.maximum(x, unspool.zeros_like(x)),
        lambda x: unspool.where(x > 0, x, unspool.zeros_like(x)),
    ):
        x = unspool.tensor([-1.0, 1.0], requires_grad=True)
        (g,) = unspool.autograd.grad(f(x), x, unspool.tensor([INF, 2.0]), create_graph=create_graph)
        assert g.tolist() == [0.0, 2.0]


EXTREMES = [
    [1.0, NAN, 3.0, NAN],
    [NAN, INF],
    [INF, INF, 1.0],
    [-INF, -INF],
    [2.0, 2.0, 2.0],
    [0.0, -0.0],
    [-0.0, 0.0],
    [5.0],
    [3.0, 1.0, 3.0, *[0.0] * 70, 3.0],
    [*range(40), 39.0],
]


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("at", EXTREMES, ids=str)
def test_extremes(torch: ModuleType, name: str, at: list[float]) -> None:
    for dtype in ("float32", "float64"):
        x = np.array(at, dtype)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x)), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x), 0), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(np.stack([x, x[::-1]])), 1, True), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(np.stack([x, x[::-1]], 1)), 0), name)
    if name in ("max", "min"):
        for pick in (lambda m, x: getattr(x, name)(), lambda m, x: getattr(x, name)(0)[0]):
            side_by_side(torch, value_and_gradients(pick, np.array(at)), name)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_of_shapes(torch: ModuleType, name: str) -> None:
    for shape in ((), (0,), (3, 0), (0, 3), (2, 3), (2, 3, 4)):
        x = random(shape)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x)), (name, shape))
        for dim in range(-len(shape) - 1, len(shape) + 1):
            for keepdim in (False, True):
                side_by_side(
                    torch, lambda m, x=x, d=dim, k=keepdim: getattr(m, name)(m.from_numpy(x), d, k), (name, shape, dim)
                )


@pytest.mark.parametrize("name", ["sum", "mean", "any", "all"])
def test_reductions(torch: ModuleType, name: str) -> None:
    for shape in ((), (0,), (3, 0), (2, 3), (2, 3, 4)):
        dims: list[Any] = [None, *range(-len(shape) - 1, len(shape) + 1)]
        dims += [(0, 1), (0, -1), (-1, -2), (0, 0), [1], ()] if len(shape) > 1 else []
        for dim, keepdim in itertools.product(dims, (False, True)):
            if dim == () and name in ("any", "all"):
                continue  # PyTorch reduces no dim there, and all of them in sum and mean; here all in each

            def f(m: Any, x: Any, d: Any = dim, k: bool = keepdim) -> Any:
                return getattr(m, name)(x, dim=d, keepdim=k)

            side_by_side(torch, value_and_gradients(f, random(shape)), (name, shape, dim, keepdim))
            if len(shape) == 3:
                side_by_side(
                    torch, value_and_gradients(lambda m, x, f=f: f(m, x.permute(2, 0, 1)), random(shape)), (name, dim)
                )
        side_by_side(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), random(shape)), (name, shape))


def test_where(torch: ModuleType) -> None:
    for c, a, b in (((3,), (3,), (3,)), ((2, 3), (3,), ()), ((1,), (2, 1), (1, 3)), ((0,), (1,), ()), ((), (2,), (2,))):
        condition = random(c, "bool")
        program = value_and_gradients(lambda m, c, x, y: m.where(c, x, y), condition, random(a), random(b, seed=1))
        side_by_side(torch, program, (c, a, b))
    x = np.array([1.0, -2.0])
    side_by_side(torch, value_and_gradients(lambda m, x: m.where(x > 0, x, 0), x), "number")
    side_by_side(torch, value_and_gradients(lambda m, x: m.where(x > 0, 1.5, x), x), "number")
    side_by_side(torch, lambda m: m.where(m.tensor([True, False]), 1, 2), "two numbers")
    side_by_side(torch, lambda m: m.where(m.tensor([True, False]), 1.0, 2), "two numbers")
    side_by_side(torch, lambda m: m.where(m.tensor([1.0, 0.0]), 1.0, 2), "floating condition")


def test_clamp(torch: ModuleType) -> None:
    bounds: list[dict[str, Any]] = [
        {},
        {"min": 0},
        {"max": 1},
        {"min": -1, "max": 1},
        {"min": 1, "max": -1},
        {"min": 0.5},
        {"min": NAN},
        {"max": NAN},
        {"min": -INF, "max": INF},
    ]
    for options, dtype in itertools.product(bounds, ("float32", "float64", "int64", "int32", "uint8")):
        x = np.array(SPECIAL, dtype) if dtype.startswith("float") else np.array([0, 1, 2, 5, 7], dtype)
        same = same_signs if options and dtype.startswith("float") else side_by_side
        same(torch, value_and_gradients(lambda m, x, o=options: m.clamp(x, **o), x, seed=1), (options, dtype))
