"""What a program of writes and backward gives in unspool and in PyTorch: gradient and results, or an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

VECTOR = [1.0, 2.0, 3.0]
MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def leaf(m: Any, data: Any = MATRIX) -> Any:
    return m.tensor(data, dtype=m.float64, requires_grad=True)


def outcome(m: Any, program: Callable[..., Any], data: Any) -> Any:
    """The leaf's gradient and what the program returned; or the exception."""
    x = leaf(m, data)
    try:
        result = program(m, x)
    except Exception as error:
        return error
    return (None if x.grad is None else x.grad.tolist()), result


def programs_in(names: dict[str, Any]) -> list[Callable[[Any, Any], Any]]:
    """The programs among a module's names: functions of a library and a leaf."""
    return [
        f for f in list(names.values()) if getattr(f, "__code__", None) and f.__code__.co_varnames[:2] == ("m", "x")
    ]


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (list, tuple)) and theirs:
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    else:
        assert ours == theirs
