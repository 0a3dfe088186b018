"""Functions that create tensors, beside PyTorch."""

from __future__ import annotations

from types import ModuleType

import pytest

from op_outcomes import Program, side_by_side

CREATIONS: list[Program] = [
    lambda m: m.zeros(2, 3),
    lambda m: m.zeros((2, 3), dtype=m.int64),
    lambda m: m.zeros(0),
    lambda m: m.zeros(()),
    lambda m: m.ones(2, dtype=m.bool),
    lambda m: m.full((2,), 3),
    lambda m: m.full((2,), 3.5),
    lambda m: m.full((2,), True),
    lambda m: m.full((), 7, dtype=m.float64),
    lambda m: m.zeros_like(m.tensor([1, 2])),
    lambda m: m.ones_like(m.tensor([1.5]), dtype=m.int32),
    lambda m: m.full_like(m.tensor([1.5, 2]), 3),
    lambda m: m.arange(5),
    lambda m: m.arange(2, 5),
    lambda m: m.arange(5, 0, -2),
    lambda m: m.arange(0, 1, 0.1),
    lambda m: m.arange(0, 1, 0.1, dtype=m.float64),
    lambda m: m.arange(3.0),
    lambda m: m.arange(0),
    lambda m: m.arange(1, 5, 0),
    lambda m: m.arange(1, 5, -1),
    lambda m: m.linspace(0, 1, 11),
    lambda m: m.linspace(0, 1, 1),
    lambda m: m.linspace(3, -3, 0),
    lambda m: m.linspace(-10, 10, 7, dtype=m.float64),
    lambda m: m.linspace(0, 1, -1),
    lambda m: m.eye(3),
    lambda m: m.eye(2, 4, dtype=m.float64),
    lambda m: m.eye(0),
    lambda m: m.eye(-1),
    lambda m: m.ones(2, requires_grad=True),
    lambda m: m.ones(2, dtype=m.int64, requires_grad=True),
]


@pytest.mark.parametrize("i", range(len(CREATIONS)))
def test_creation(torch: ModuleType, i: int) -> None:
    side_by_side(torch, CREATIONS[i], i)
