"""Dtypes of ops beside PyTorch: promotion, reductions, writes in place."""

from __future__ import annotations

import itertools
import operator
from types import ModuleType
from typing import Any

import pytest

from op_outcomes import DTYPES, side_by_side

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.mark.parametrize("sign", OPERATORS)
def test_type_promotion(torch: ModuleType, sign: str) -> None:
    op = OPERATORS[sign]
    for a, b in itertools.product(DTYPES, repeat=2):
        if sign == "-" and "bool" in (a, b) and a != b:
            continue  # PyTorch refuses; here a bool counts as 0 or 1, as it does for +
        for left, right in itertools.product(([3, 1], 2), repeat=2):
            side_by_side(
                torch,
                lambda m, a=a, b=b, left=left, right=right: op(
                    m.tensor(left).to(getattr(m, a)), m.tensor(right).to(getattr(m, b))
                ),
                (a, sign, b, left, right),
            )
    for a, number in itertools.product(DTYPES, (True, 2, 2.5)):
        if a == "bool" and (sign == "-" or (sign == "**" and number is True)):
            continue
        if sign == "-" and number is True:
            continue
        for data in ([3, 1], 2):
            side_by_side(
                torch, lambda m, a=a, n=number, d=data: op(m.tensor(d).to(getattr(m, a)), n), (a, sign, number)
            )
            side_by_side(
                torch, lambda m, a=a, n=number, d=data: op(n, m.tensor(d).to(getattr(m, a))), (number, sign, a)
            )


@pytest.mark.parametrize("name", ["cat", "stack", "where", "maximum", "matmul"])
def test_type_promotion_of_functions(torch: ModuleType, name: str) -> None:
    for a, b in itertools.product(DTYPES, repeat=2):
        if (name == "maximum" and a == b == "bool") or (name == "matmul" and ("uint8" in (a, b) or "bool" in (a, b))):
            continue  # maximum of bools and products of bytes are not supported

        def program(m: Any, a: str = a, b: str = b) -> Any:
            x, y = m.tensor([3, 0]).to(getattr(m, a)), m.tensor([2, 1]).to(getattr(m, b))
            if name == "where":
                return m.where(m.tensor([True, False]), x, y)
            return getattr(m, name)([x, y]) if name in ("cat", "stack") else getattr(m, name)(x, y)

        side_by_side(torch, program, (name, a, b))


@pytest.mark.parametrize("name", ["neg", "sign", "abs", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu"])
def test_unary_dtypes(torch: ModuleType, name: str) -> None:
    for dtype in DTYPES:
        if name == "abs" and dtype == "bool":
            continue
        if name == "sign" and dtype == "bool":
            continue
        side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1, 0]).to(getattr(m, d))), (name, dtype))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "any", "all", "argmax", "argmin"])
def test_reduction_dtypes(torch: ModuleType, name: str) -> None:
    for dtype in DTYPES:
        if name.startswith("arg") and dtype == "bool":
            continue  # PyTorch refuses
        side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1, 0]).to(getattr(m, d))), (name, dtype))
        side_by_side(
            torch, lambda m, d=dtype: getattr(m, name)(m.tensor([[3, 1], [0, 2]]).to(getattr(m, d)), -1), (name, dtype)
        )
    for dtype in ("float32", "float64", "int64"):
        if name == "sum" or (name == "mean" and dtype != "int64"):
            side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1]), dtype=getattr(m, d)), dtype)
            side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([2.5, 1]), dtype=getattr(m, d)), dtype)


def test_in_place_dtypes(torch: ModuleType) -> None:
    """The result is cast to the target's dtype, and only down within a category."""
    for name, a, b in itertools.product(("add_", "sub_", "mul_", "div_", "pow_", "copy_"), DTYPES, DTYPES):
        if (name == "sub_" and "bool" in (a, b)) or (name == "pow_" and a == b == "bool"):
            continue
        side_by_side(
            torch,
            lambda m, name=name, a=a, b=b: getattr(m.tensor([3, 1]).to(getattr(m, a)), name)(
                m.tensor([2, 1]).to(getattr(m, b))
            ),
            (name, a, b),
        )
