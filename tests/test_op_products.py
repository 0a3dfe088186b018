"""Products beside PyTorch: matmul of all ranks, linear."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

import unspool
from op_outcomes import random, side_by_side, value_and_gradients

PRODUCTS = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((2, 3), (5, 3, 4)),
    ((2, 1, 2, 3), (4, 3, 2)),
    ((0,), (0,)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 2)),
    ((33, 65), (65, 17)),
    ((2,), (3,)),
    ((2, 3), (2, 3)),
    ((), (3,)),
    ((3,), ()),
    ((2, 2, 3), (3, 3, 2)),
]


@pytest.mark.parametrize(("a", "b"), PRODUCTS, ids=str)
def test_matmul(torch: ModuleType, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = random(a), random(b, seed=1)
    side_by_side(torch, value_and_gradients(lambda m, x, y: x @ y, x, y), (a, b))
    side_by_side(torch, value_and_gradients(lambda m, x, y: m.mm(x, y), x, y), ("mm", a, b))
    if len(a) == len(b) == 2 and a[1] == b[0]:  # the four transposes, and slices of a wider matrix
        program = value_and_gradients(lambda m, x, y: x.t() @ y.t(), np.array(x.T), np.array(y.T))
        side_by_side(torch, program, ("tt", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x.t() @ y, np.array(x.T), y), ("tn", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x @ y.t(), x, np.array(y.T)), ("nt", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x[::2] @ y[:, ::2], x, y), ("sliced", a, b))


def test_linear(torch: ModuleType) -> None:
    for shape, bias in itertools.product(((3,), (2, 3), (2, 5, 3), (0, 3)), (True, False)):
        arrays = [random(shape), random((4, 3), seed=1), *([random((4,), seed=2)] if bias else [])]
        side_by_side(torch, value_and_gradients(lambda m, *xs: m.nn.functional.linear(*xs), *arrays), (shape, bias))
    for shapes in (((2, 4), (4, 3)), ((2, 3), (3,), (3,)), ((2, 3), (4, 3), (5,))):
        with pytest.raises(RuntimeError):
            unspool.nn.functional.linear(*(unspool.zeros(s) for s in shapes))
