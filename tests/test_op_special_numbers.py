"""Ops at zeros, infinities, NaN, subnormal and overflowing numbers, and integer division, beside PyTorch."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

from op_outcomes import INF, NAN, SPECIAL, SUBNORMAL, same_signs, side_by_side, value_and_gradients

UNARY = ["neg", "sign", "abs", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu", "isnan", "logical_not"]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unary_at_special_numbers(torch: ModuleType, name: str, dtype: str) -> None:
    x = np.array((*SPECIAL, *SUBNORMAL[dtype]), dtype)
    # (1 - y)·y and 1 - y² cancel: one unit of y in the last place is all that the derivative has.
    atol = float(np.finfo(dtype).eps) if name in ("sigmoid", "tanh") else 1e-44
    same_signs(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), x, seed=1), name, atol)
    for x0 in x:  # and alone: a tail is no other code
        same_signs(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), x0, seed=1), (name, x0), atol)


BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("name", [*BINARY, "remainder", "floor_divide"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_at_special_numbers(torch: ModuleType, name: str, dtype: str) -> None:
    # PyTorch's fmod of a subnormal divisor is NaN where it flushes it to 0; the remainder here is exact.
    x = np.array(SPECIAL if name in ("remainder", "floor_divide") else (*SPECIAL, *SUBNORMAL[dtype]), dtype)
    a, b = (np.ascontiguousarray(v) for v in np.meshgrid(x, x))
    if name == "floor_divide":
        same_signs(torch, lambda m: m.floor_divide(m.from_numpy(a), m.from_numpy(b)), name)
    else:
        same_signs(torch, value_and_gradients(lambda m, a, b: getattr(m, name)(a, b), a, b, seed=1), name)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, -3, 0.5, -0.5, 1.5, 2.5, 1 / 3, INF, -INF, NAN])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow_of_numbers(torch: ModuleType, exponent: float, dtype: str) -> None:
    x = np.array((*SPECIAL, *SUBNORMAL[dtype]), dtype)
    same_signs(torch, value_and_gradients(lambda m, x: x**exponent, x, seed=1), exponent)
    same_signs(torch, value_and_gradients(lambda m, x: exponent**x, x, seed=1), exponent)
    same_signs(torch, value_and_gradients(lambda m, x: m.pow(x, exponent), x, seed=1), exponent)


def test_pow_of_integers(torch: ModuleType) -> None:
    for a, b in itertools.product((-3, -1, 0, 1, 2, 3, 7), (-3, -2, -1, 0, 1, 2, 5, 40, 41, 62, 63, 64)):
        side_by_side(torch, lambda m, a=a, b=b: m.tensor([a]) ** m.tensor([b]), (a, b))
        side_by_side(torch, lambda m, a=a, b=b: m.tensor([a]) ** b, (a, b))
        side_by_side(torch, lambda m, a=a, b=b: a ** m.tensor([b]), (a, b))
    x = np.arange(1, 6, dtype="uint8")
    side_by_side(torch, lambda m: m.from_numpy(x) ** m.from_numpy(x), "uint8")


def test_integer_division(torch: ModuleType) -> None:
    x = np.array([-7, -4, -1, 0, 1, 4, 7])
    for name, b in itertools.product(("div", "floor_divide", "remainder"), (-3, -1, 2, 5)):
        side_by_side(torch, lambda m, name=name, b=b: getattr(m, name)(m.from_numpy(x), b), (name, b))
    for name in ("floor_divide", "remainder"):
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1, 2]), m.tensor([1, 0])), name)
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1, 2]), 0), name)
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1.0, -2, 0]), 0), name)
