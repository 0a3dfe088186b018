"""What cannot be frozen: an error that names the line and the way out, and all as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool
from compile_programs import bits, recorded, step_of
from unspool import nn, optim
from unspool.errors import PlanError


def _reads(x: Any) -> Any:
    if x.sum() > 0:  # this line is named
        return x
    return -x


def _doubled(x: Any) -> Any:
    return x * 2


@pytest.mark.parametrize(
    "function",
    [
        _reads,
        lambda x: x * x.sum().item(),
        lambda x: x + unspool.tensor(x.numpy()),
        lambda x: x + float(x[0]),
        lambda x: x.tolist(),
        lambda x: repr(x),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: np.asarray(x),
        lambda x: memoryview(x),
        lambda x: x.data_ptr(),
    ],
)
def test_a_value_that_python_reads_is_an_error(function: Any) -> None:
    frozen = unspool.compile(function)
    x = unspool.tensor([1.0, 2.0])
    with pytest.raises((PlanError, BufferError), match=r"test_compile_refusals\.py|being frozen"):
        frozen(x)
    assert frozen.plans == 0
    assert (x + 1).tolist() == [2.0, 3.0]  # nothing is left of the capture


def test_the_error_names_the_line_and_the_way_out() -> None:
    with pytest.raises(PlanError, match=rf"test_compile_refusals\.py:{_reads.__code__.co_firstlineno + 1}.*fallback"):
        unspool.compile(_reads)(unspool.ones(2))


def test_a_fallback_says_so_once() -> None:
    frozen = unspool.compile(_reads, fallback="eager")
    with pytest.warns(UserWarning, match=r"test_compile_refusals\.py.*eagerly from now on"):
        assert frozen(-unspool.ones(1)).tolist() == [1.0]
    assert frozen(-unspool.ones(1)).tolist() == [1.0]
    assert frozen.plans == 0


def test_other_numbers_in_the_second_call_are_an_error() -> None:
    numbers = iter([1.0, 2.0])
    frozen = unspool.compile(lambda x: x + unspool.tensor([next(numbers)]))
    frozen(unspool.ones(1))
    with pytest.raises(PlanError, match=r"other numbers in the second call.*argument"):
        frozen(unspool.ones(1))


def test_another_program_in_the_second_call_is_an_error() -> None:
    calls: list[int] = []

    def function(x: Any) -> Any:
        calls.append(0)
        return x.exp() if len(calls) == 1 else x.sin()

    frozen = unspool.compile(function)
    frozen(unspool.ones(1))
    with pytest.raises(PlanError, match=r"exp at .*test_compile_refusals\.py.* sin at .*test_compile_refusals\.py"):
        frozen(unspool.ones(1))


def test_a_tensor_that_is_kept_is_an_error() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append(x * 2)
        return x + 1

    with pytest.raises(PlanError, match=r"test_compile_refusals\.py.*lives on after the call"):
        unspool.compile(function)(unspool.ones(1))


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(TypeError, match="expected a function or a module, got int"):
        unspool.compile(3)
    with pytest.raises(ValueError, match='fallback must be None or "eager", got 1'):
        unspool.compile(_doubled, fallback=1)
    with pytest.raises(PlanError, match=r"hashable values, got .* of type set"):
        unspool.compile(lambda x: x)({1})
    with pytest.raises(PlanError, match="sets the gradient of an argument; leave backward outside"):
        unspool.compile(lambda x: (x * 2).sum().backward())(unspool.ones(1, requires_grad=True))
    with pytest.raises(PlanError, match="has no plan yet"):
        unspool.compile(_doubled).explain()
    inner = unspool.compile(_doubled)
    with pytest.raises(PlanError, match="called by another that is being frozen"):
        unspool.compile(lambda x: inner(x) + 1)(unspool.ones(1))


def test_an_exception_in_a_recording_leaves_all_as_it_was() -> None:
    fails = True

    def function(x: Any) -> Any:
        y = x * 2
        if fails:
            raise KeyError("here")
        return y

    frozen = unspool.compile(function)
    with pytest.raises(KeyError):
        frozen(unspool.ones(1))
    fails = False
    for _ in range(3):
        assert frozen(unspool.ones(1)).item() == 2.0
    assert frozen.plans == 1


def test_a_bad_label_in_a_replay_raises_what_the_eager_call_raises() -> None:
    model = nn.Linear(2, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = unspool.randn(4, 2), unspool.tensor([0, 1, 2, 0])
    frozen = recorded(step_of("zero first", model, optimizer, nn.CrossEntropyLoss()), x, y)
    before = bits(tuple(model.parameters()))
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        frozen(x, unspool.tensor([0, 1, 7, 0]))
    assert bits(tuple(model.parameters())) == before
    table = unspool.randn(5, 2)
    look = recorded(lambda i: table[i], unspool.tensor([0, 1]))
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        look(unspool.tensor([0, 9]))
    frozen(x, y)
