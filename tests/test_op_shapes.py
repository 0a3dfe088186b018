"""Shapes and strides of ops beside PyTorch: broadcasting, joins, views."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool
from op_outcomes import DTYPES, outcome, random, side_by_side, value_and_gradients

PAIRS = [
    ((), ()),
    ((3,), ()),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((0, 3), (1, 3)),
    ((0,), (1,)),
    ((2,), (3,)),
    ((2, 0), (3,)),
]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "remainder", "maximum", "minimum", "lt", "eq"])
def test_broadcasting(torch: ModuleType, name: str) -> None:
    for a, b in PAIRS:
        x, y = np.abs(random(a)) + 0.5, np.abs(random(b, seed=1)) + 0.5
        side_by_side(torch, value_and_gradients(lambda m, x, y: getattr(m, name)(x, y), x, y), (name, a, b))
        if x.ndim > 1:
            program = value_and_gradients(lambda m, x, y: getattr(m, name)(x.t(), y.t()), x, y)
            side_by_side(torch, program, (name, "t", a, b))


def test_cat_and_stack(torch: ModuleType) -> None:
    joined: list[tuple[list[tuple[int, ...]], int]] = [
        ([(2, 3), (4, 3)], 0),
        ([(2, 3), (2, 1)], 1),
        ([(2, 3), (2, 1)], -1),
        ([(2, 3), (0,)], 0),
        ([(0,), (2, 3), (2, 3)], 1),
        ([(0,), (0,)], 0),
        ([(0, 3), (2, 3)], 0),
        ([(2, 3)], 0),
        ([(3,)] * 12, 0),
        ([(2, 3), (3, 2)], 0),
        ([(2, 3), (2,)], 0),
        ([(2, 3)], 2),
        ([(), ()], 0),
        ([], 0),
    ]
    for shapes, dim in joined:
        arrays = [random(s, seed=i) for i, s in enumerate(shapes)]
        for name in ("cat", "stack"):

            def f(m: Any, *xs: Any, name: str = name, dim: int = dim) -> Any:
                return getattr(m, name)(list(xs), dim=dim)

            side_by_side(torch, value_and_gradients(f, *arrays), (name, shapes, dim))
    for a, b in itertools.product(DTYPES, repeat=2):  # an empty vector has a dtype all the same
        side_by_side(
            torch, lambda m, a=a, b=b: m.cat([m.zeros(0).to(getattr(m, a)), m.ones(2, 2).to(getattr(m, b))]), (a, b)
        )


VIEWS: list[tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = [
    (shape, f)
    for shape in ((2, 3, 4), (1, 3, 1), (2, 0, 3), (6,), ())
    for f in (
        lambda m, x: x.view(-1),
        lambda m, x: x.view(2, -1),
        lambda m, x: x.reshape(3, -1),
        lambda m, x: x.reshape(-1, -1),
        lambda m, x: x.reshape(7),
        lambda m, x: x.view(-2),
        lambda m, x: x.flatten(),
        lambda m, x: x.flatten(1),
        lambda m, x: x.flatten(0, 1),
        lambda m, x: x.flatten(1, 0),
        lambda m, x: x.transpose(0, -1),
        lambda m, x: x.transpose(0, 5),
        lambda m, x: x.transpose(0, -1).reshape(-1),
        lambda m, x: x.transpose(0, -1).view(-1),
        lambda m, x: x.t(),
        lambda m, x: x.permute(2, 0, 1),
        lambda m, x: x.permute(0, 0, 1),
        lambda m, x: x.permute(0),
        lambda m, x: x.expand(5, 2, 3, 4),
        lambda m, x: x.expand(2, 3, 4),
        lambda m, x: x.expand(-1, 3, 7),
        lambda m, x: x.squeeze(),
        lambda m, x: x.squeeze(0),
        lambda m, x: x.squeeze(-1),
        lambda m, x: x.squeeze((0, 2)),
        lambda m, x: x.unsqueeze(0),
        lambda m, x: x.unsqueeze(-1),
        lambda m, x: x.unsqueeze(7),
        lambda m, x: x.select(0, 1),
        lambda m, x: x.select(1, -1),
        lambda m, x: x.select(0, 9),
        lambda m, x: x.narrow(0, 1, 1),
        lambda m, x: x.narrow(-1, 0, 2),
        lambda m, x: x.narrow(0, 1, 9),
        lambda m, x: x[0],
        lambda m, x: x[-1],
        lambda m, x: x[1:],
        lambda m, x: x[::2],
        lambda m, x: x[5:2],
        lambda m, x: x[..., 0],
        lambda m, x: x[None],
        lambda m, x: x[:, 1:, ::3],
        lambda m, x: x[0, ..., 1:],
        lambda m, x: x[9],
        lambda m, x: x.T if x.ndim == 2 else x,
        lambda m, x: x.clone(),
        lambda m, x: x.contiguous(),
        lambda m, x: x.double(),
        lambda m, x: x.float(),
    )
]


def strides_of(f: Callable[..., Any], shape: tuple[int, ...], m: Any) -> tuple[int, ...]:
    return tuple(f(m, m.from_numpy(random(shape))).stride())


@pytest.mark.parametrize("shape", sorted({s for s, _ in VIEWS}), ids=str)
def test_views(torch: ModuleType, shape: tuple[int, ...]) -> None:
    for i, f in enumerate(f for s, f in VIEWS if s == shape):
        side_by_side(torch, value_and_gradients(f, random(shape)), (shape, i))
        strides = functools.partial(strides_of, f, shape)
        theirs = outcome(strides, torch)
        if not isinstance(theirs, Exception) and 0 not in shape:
            assert outcome(strides, unspool) == theirs, (shape, i)
