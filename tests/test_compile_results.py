"""What a frozen function returns and leaves: tensors of its own, gradients, writes to arguments, random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits, recorded, step_of
from unspool import nn, optim
from unspool.errors import PlanError


def test_each_call_returns_tensors_of_its_own() -> None:
    double = recorded(lambda x: x * 2, unspool.zeros(3))
    kept = [double(unspool.full((3,), float(i))) for i in range(5)]
    assert [t.tolist() for t in kept] == [[2.0 * i] * 3 for i in range(5)]


def test_a_gradient_that_is_held_keeps_its_numbers() -> None:
    w = nn.Parameter(unspool.ones(2))

    def step(x: Any) -> None:
        w.grad = None
        (w * x).sum().backward()

    frozen = recorded(step, unspool.ones(2))
    frozen(unspool.tensor([1.0, 2.0]))
    held = w.grad
    frozen(unspool.tensor([3.0, 4.0]))
    assert held.tolist() == [1.0, 2.0]
    assert w.grad.tolist() == [3.0, 4.0]


def test_what_is_returned_may_be_an_argument_a_view_of_it_or_a_parameter() -> None:
    w = unspool.ones(2)
    frozen = recorded(lambda x: (x, x[0], w, [w[1:], {"twice": x + x}]), unspool.zeros(2, 2))
    x = unspool.arange(4.0).reshape(2, 2)
    same, row, weight, (part, twice) = frozen(x)
    assert same is x
    row[0] = 7.0
    assert x[0, 0] == 7.0
    part.fill_(5.0)
    assert weight.tolist() == w.tolist() == [1.0, 5.0]
    assert twice["twice"].tolist() == [[0.0, 2.0], [4.0, 6.0]]


def test_writes_to_arguments_are_seen_and_counted() -> None:
    frozen = recorded(lambda x: x.mul_(2).sum(), unspool.ones(3))
    x = unspool.ones(3)
    before = x._version
    frozen(x)
    assert x.tolist() == [2.0] * 3
    assert x._version > before


def test_a_parameter_that_a_graph_saved_is_known_to_be_overwritten() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    frozen = recorded(step_of("zero first", model, optimizer, nn.MSELoss()), unspool.ones(3, 2), unspool.zeros(3, 1))
    x = unspool.ones(3, 2, requires_grad=True)
    loss = model(x).sum()
    frozen(unspool.ones(3, 2), unspool.zeros(3, 1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_scalars_empty_and_strided_arguments() -> None:
    for x in (unspool.tensor(2.0), unspool.zeros(0, 3), unspool.arange(12.0).reshape(3, 4).t()[1:]):
        frozen = recorded(lambda x: (x.sum(), x * 3, x.t() if x.dim() == 2 else x.exp()), x)
        assert bits(frozen(x)) == bits((x.sum(), x * 3, x.t() if x.dim() == 2 else x.exp()))


def test_random_numbers_come_from_the_stream_also_where_nobody_reads_them() -> None:
    def function(x: Any) -> Any:
        unspool.rand(3)
        return x + unspool.randn(2), unspool.randperm(5)

    frozen = unspool.compile(function)
    unspool.manual_seed(1)
    expected = [bits(function(unspool.zeros(2))) for _ in range(5)]
    unspool.manual_seed(1)
    assert [bits(frozen(unspool.zeros(2))) for _ in range(5)] == expected


@pytest.mark.parametrize("op", ["embedding", "index_select", "index_add", "index_copy", "index_fill"])
def test_an_index_below_0_is_refused_in_a_replay_as_in_the_eager_call(op: str) -> None:
    """Only brackets count from the end."""
    table = unspool.randn(5, 4)
    calls: dict[str, Callable[[Any], Any]] = {
        "embedding": lambda i: F.embedding(i, table),
        "index_select": lambda i: table.index_select(0, i),
        "index_add": lambda i: table.index_add(0, i, unspool.ones(2, 4)),
        "index_copy": lambda i: table.index_copy(0, i, unspool.ones(2, 4)),
        "index_fill": lambda i: table.index_fill(0, i, 3.0),
    }
    call = calls[op]
    frozen = unspool.compile(call)
    good, bad = unspool.tensor([1, 2]), unspool.tensor([1, -1])
    for _ in range(3):
        assert bits(frozen(good)) == bits(call(good))
    for function in (call, frozen):
        with pytest.raises(IndexError, match=f"{op}: index -1 is out of bounds for dimension 0 with size 5"):
            function(bad)
    brackets = unspool.compile(lambda i: table[i])
    for _ in range(3):
        brackets(good)
    assert bits(brackets(bad)) == bits(table[bad])


def test_repeats_in_a_tensor_are_read_at_each_replay() -> None:
    """They were taken for the program's own numbers."""

    def function(x: Any, repeats: Any) -> Any:
        return x.repeat_interleave(repeats, 0)

    x = unspool.arange(8.0).reshape(4, 2)
    frozen = recorded(function, x, unspool.tensor([1, 2, 0, 3]))
    for repeats in ([2, 2, 0, 2], [0, 0, 6, 0]):
        expected = x.numpy().repeat(repeats, 0)
        assert frozen(x, unspool.tensor(repeats)).tolist() == expected.tolist()
    with pytest.raises(PlanError, match="add up to 4, and the function was frozen with repeats that add up to 6"):
        frozen(x, unspool.tensor([1, 1, 1, 1]))
    with pytest.raises(RuntimeError, match="repeats can not be negative, got -7"):
        frozen(x, unspool.tensor([1, 2, -7, 10]))
    assert frozen.plans == 1


def test_one_hot_of_a_given_number_of_classes() -> None:
    frozen = recorded(lambda i: F.one_hot(i, 5), unspool.tensor([[0, 1], [2, 3]]))
    for labels in ([[4, 4], [0, 2]], [[1, 3], [3, 0]]):
        found = frozen(unspool.tensor(labels))
        assert found.dtype == unspool.int64
        assert found.tolist() == [[[int(k == c) for c in range(5)] for k in row] for row in labels]
    for wrong in (5, -1):
        with pytest.raises(RuntimeError, match=f"one_hot: index {wrong} is out of bounds"):
            frozen(unspool.tensor([[0, wrong], [0, 0]]))
    assert frozen.plans == 1
