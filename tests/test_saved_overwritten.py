"""Overwriting what an operation has, or has not, saved for backward: raises where PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool
from program_outcomes import MATRIX, outcome, same

SAVING: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "neg": (((2, 3),), lambda m, x: -x),
    "abs": (((2, 3),), lambda m, x: x.abs()),
    "exp": (((2, 3),), lambda m, x: x.exp()),
    "log": (((2, 3),), lambda m, x: x.log()),
    "sqrt": (((2, 3),), lambda m, x: x.sqrt()),
    "reciprocal": (((2, 3),), lambda m, x: x.reciprocal()),
    "tanh": (((2, 3),), lambda m, x: x.tanh()),
    "sigmoid": (((2, 3),), lambda m, x: x.sigmoid()),
    "clamp": (((2, 3),), lambda m, x: x.clamp(0, 1)),
    "square": (((2, 3),), lambda m, x: x**2),
    "add": (((2, 3), (3,)), lambda m, a, b: a + b),
    "sub": (((2, 3), (3,)), lambda m, a, b: a - b),
    "mul": (((2, 3), (3,)), lambda m, a, b: a * b),
    "mul by a number": (((2, 3),), lambda m, a: a * 3),
    "div": (((2, 3), (3,)), lambda m, a, b: a / b),
    "remainder": (((2, 3), (3,)), lambda m, a, b: a % b),
    "maximum": (((2, 3), (3,)), lambda m, a, b: m.maximum(a, b)),
    "where": (((2, 3), (3,)), lambda m, a, b: m.where(a > b, a, b)),
    "sum": (((2, 3),), lambda m, x: x.sum(0)),
    "mean": (((2, 3),), lambda m, x: x.mean(0)),
    "max": (((2, 3),), lambda m, x: x.max()),
    "max along a dim": (((2, 3),), lambda m, x: x.max(1)[0]),
    "softmax": (((2, 3),), lambda m, x: x.softmax(1)),
    "log_softmax": (((2, 3),), lambda m, x: x.log_softmax(1)),
    "matmul": (((2, 3), (3, 2)), lambda m, a, b: a @ b),
    "linear": (((2, 3), (4, 3), (4,)), lambda m, x, w, b: m.nn.functional.linear(x, w, b)),
    "mse_loss": (((2, 3), (2, 3)), lambda m, a, b: m.nn.functional.mse_loss(a, b)),
    "cat": (((2, 3), (1, 3)), lambda m, a, b: m.cat([a, b])),
    "clone": (((2, 3),), lambda m, x: x.clone()),
    "transpose": (((2, 3),), lambda m, x: x.t()),
    "float": (((2, 3),), lambda m, x: x.float()),
    "cross_entropy": (((2, 3),), lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([1, 2]))),
}


@pytest.mark.parametrize("name", SAVING)
def test_an_error_where_what_was_saved_is_overwritten(torch: ModuleType, name: str) -> None:
    """For each operand and the result, and each choice of operands that need a gradient: raise as PyTorch does."""
    shapes, f = SAVING[name]
    for needs in range(1, 2 ** len(shapes)):
        for victim in range(len(shapes) + 1):

            def program(m: Any, _: Any, needs: int = needs, victim: int = victim) -> Any:
                rng = np.random.default_rng(3)
                leaves = [m.tensor(rng.uniform(0.5, 2, s)) for s in shapes]
                for i, x in enumerate(leaves):
                    x.requires_grad_(bool(needs >> i & 1))
                xs = [x * 1 for x in leaves]
                y = f(m, *xs)
                (xs[victim] if victim < len(xs) else y).mul_(2)
                y.sum().backward()
                return [None if x.grad is None else x.grad.tolist() for x in leaves]

            ours, theirs = outcome(unspool, program, MATRIX), outcome(torch, program, MATRIX)
            what = f"{name}, needs {needs:b}, overwritten {victim}: {ours}, PyTorch: {theirs}"
            if name == "cross_entropy" and victim == 0:
                # The one op that keeps more than PyTorch's: the logits, for a second derivative.
                assert isinstance(ours, RuntimeError), what
                continue
            assert isinstance(ours, RuntimeError) == isinstance(theirs, RuntimeError), what
            if not isinstance(theirs, Exception):
                same(ours, theirs)
