"""The rules of writes in place and of backward: programs that run in unspool and PyTorch.

Equal values and gradients, or an error from both. MORE lists what PyTorch refuses and unspool computes; the gradient
is given there.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import backward_programs
import unspool
import write_programs
from program_outcomes import MATRIX, VECTOR, leaf, outcome, same

PROGRAMS = [*write_programs.PROGRAMS, *backward_programs.PROGRAMS]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_program(torch: ModuleType, program: Callable[[Any, Any], Any]) -> None:
    ours, theirs = outcome(unspool, program, MATRIX), outcome(torch, program, MATRIX)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"PyTorch raises {theirs!r}, unspool gives {ours}"
        kind = next(k for k in (RuntimeError, ValueError, TypeError, IndexError) if isinstance(theirs, k))
        assert isinstance(ours, kind), f"{ours!r}, but PyTorch raises {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{ours!r}, PyTorch gives {theirs}"
    same(ours, theirs)


def test_there_are_programs_of_each_kind() -> None:
    names = {f.__name__ for f in PROGRAMS}
    assert len(names) > 80
    assert {"write_first", "saved_output_overwritten", "backward_twice", "double_backward"} <= names


def relu_then_write(m: Any, x: Any) -> Any:
    y = m.relu(x - 2)
    y += 1
    y.sum().backward()


def square_in_place(m: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(y)
    y.sum().backward()


def square_in_place_through_a_view(m: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(y.view(2, 3))
    y.sum().backward()


def row_times_row_of_one_base(m: Any, x: Any) -> Any:
    y = x * 2
    y[0].mul_(y[1])
    y.sum().backward()


def power_of_a_fixed_exponent_overwritten(m: Any, x: Any) -> Any:
    z = x ** m.tensor(VECTOR, dtype=m.float64)
    z += 1
    z.sum().backward()


# ReLU saves a mask, not its result, and pow its result for the exponent's gradient alone; an operand that is
# overwritten by the op itself is copied first.
MORE: list[tuple[Callable[[Any, Any], Any], Any]] = [
    (relu_then_write, [[0, 0, 1], [1, 1, 1]]),
    (square_in_place, [[8.0, 16.0, 24.0], [32.0, 40.0, 48.0]]),
    (square_in_place_through_a_view, [[8.0, 16.0, 24.0], [32.0, 40.0, 48.0]]),
    (power_of_a_fixed_exponent_overwritten, [[1.0, 4.0, 27.0], [1.0, 10.0, 108.0]]),
    (row_times_row_of_one_base, [[16.0, 20.0, 24.0], [6.0, 10.0, 14.0]]),
]


@pytest.mark.parametrize(("program", "gradient"), MORE, ids=lambda f: getattr(f, "__name__", ""))
def test_more_than_pytorch(torch: ModuleType, program: Any, gradient: Any) -> None:
    assert isinstance(outcome(torch, program, MATRIX), RuntimeError)
    ours = outcome(unspool, program, MATRIX)
    assert not isinstance(ours, Exception), repr(ours)
    np.testing.assert_allclose(ours[0], gradient, rtol=1e-14)


def test_errors_name_the_culprit() -> None:
    x = leaf(unspool)
    y = x.exp()
    y.add_(1)
    with pytest.raises(
        RuntimeError, match=r"exp: .*modified by an inplace operation.*shape \(2, 3\).*version 0.*version 1"
    ):
        y.sum().backward()
    with pytest.raises(RuntimeError, match=r"add_?: a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"a view of a leaf Variable that requires grad"):
        x[0].add_(1)
    with pytest.raises(RuntimeError, match=r"grad can be implicitly created only for scalar.*\(2, 3\)"):
        (x * 2).backward()


def test_a_refused_write_changes_nothing() -> None:
    x = leaf(unspool)
    y = x * 2
    for write in (
        lambda: x.add_(1),
        lambda: x[0].mul_(0),
        lambda: y.add_(unspool.zeros(5)),
        lambda: unspool.zeros(1, 3).expand(2, 3).add_(1),
        lambda: y.__setitem__(9, 0.0),
        lambda: y.__setitem__(0, unspool.zeros(7)),
    ):
        with pytest.raises((RuntimeError, IndexError)):
            write()
    assert (x.tolist(), x._version) == (MATRIX, 0)
    assert (y.tolist(), y._version) == ((np.array(MATRIX) * 2).tolist(), 0)
    y.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2
