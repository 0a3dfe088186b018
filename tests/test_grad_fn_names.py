"""What `grad_fn` shows of results that programs print: PyTorch's name of the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch 2.13 shows the names")


def _labels(t: Any) -> Any:
    return t.tensor([0, 2, 1, 0])


_NAMED: dict[str, Callable[[Any, Any], Any]] = {
    "number minus": lambda t, x: 1 - x,
    "number over": lambda t, x: 2 / x,
    "number to the power": lambda t, x: 2**x,
    "number plus": lambda t, x: 1 + x,
    "tensor minus": lambda t, x: t.ones(3) - x,
    "dot": lambda t, x: x[0] @ x[1],
    "matrix times vector": lambda t, x: x @ x[0],
    "vector times matrix": lambda t, x: x[0] @ x.T,
    "matrices": lambda t, x: x @ x.T,
    "batch": lambda t, x: t.matmul(x[None], x.T),
    "matrix times batch": lambda t, x: x @ t.ones(2, 3, 4),
    "constant times batch": lambda t, x: t.ones(4, 4) @ x[None],
    "linear without bias": lambda t, x: t.nn.Linear(3, 2, bias=False)(x),
    "linear": lambda t, x: t.nn.Linear(3, 2)(x),
    "linear of a vector": lambda t, x: t.nn.Linear(3, 2)(x[0]),
    "linear of a batch": lambda t, x: t.nn.Linear(3, 2)(x[None]),
    "linear of a batch without bias": lambda t, x: t.nn.Linear(3, 2, bias=False)(x[None]),
    "cross_entropy": lambda t, x: t.nn.functional.cross_entropy(x, _labels(t)),
    "cross_entropy none": lambda t, x: t.nn.functional.cross_entropy(x, _labels(t), reduction="none"),
    "cross_entropy smoothed": lambda t, x: t.nn.CrossEntropyLoss(label_smoothing=0.1)(x, _labels(t)),
    "cross_entropy of shares": lambda t, x: t.nn.functional.cross_entropy(x, x.detach().softmax(1)),
    "cross_entropy of shares of one": lambda t, x: t.nn.functional.cross_entropy(x[0], x[1].detach().softmax(0)),
    "cross_entropy of places": lambda t, x: t.nn.CrossEntropyLoss()(x[None], t.zeros(1, 3, dtype=t.int64)),
    "einsum": lambda t, x: t.einsum("ij,kj->ik", x, x),
    "outer einsum": lambda t, x: t.einsum("i,j->ij", x[0], x[1]),
    "rms_norm": lambda t, x: t.nn.RMSNorm(3)(x),
    "pairwise_distance": lambda t, x: t.nn.functional.pairwise_distance(x, x.detach() + 1),
    "det": lambda t, x: t.det(x[:3]),
    "inverse": lambda t, x: t.linalg.inv(x[:3]),
    "attention": lambda t, x: t.nn.functional.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]),
    "convolution": lambda t, x: t.nn.Conv1d(4, 2, 2)(x[None]),
    "convolution of one": lambda t, x: t.nn.Conv1d(4, 2, 2)(x),
    "pool": lambda t, x: t.nn.MaxPool2d(2)(x[None]),
}


@pytest.mark.parametrize("call", _NAMED.values(), ids=_NAMED.keys())
def test_a_result_shows_pytorchs_name(call: Callable[[Any, Any], Any]) -> None:
    values = [[0.5, 1.0, 2.0], [1.5, -1.0, 0.25], [3.0, 1.0, -2.0], [0.5, 0.25, 1.0]]
    ours, theirs = (call(t, t.tensor(values, requires_grad=True)) for t in (unspool, torch))
    assert ours.grad_fn.name() == theirs.grad_fn.name()


def test_a_format_of_many_elements_is_refused_in_pythons_words() -> None:
    for t in (unspool, torch):
        with pytest.raises(TypeError, match=r"^unsupported format string passed to Tensor.__format__"):
            format(t.ones(2), ".2f")
