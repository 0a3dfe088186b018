"""What `unspool.diagnose` refuses, with which words."""

from __future__ import annotations

import math
from typing import Any

import pytest

import unspool
from test_diagnose import fingerprint, mlp
from test_diagnose_findings import Cut, batch
from unspool import nn
from unspool.nn import functional as F


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.blocks = nn.ModuleList([mlp(1, 8, out=8), mlp(1, 9, out=9)])

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        return x * 2


def X(*shape: int) -> Any:
    return unspool.ones(*shape)


REFUSED: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no module": (lambda: F.relu, lambda: (X(4, 8),), TypeError, "model must be a Module, got"),
    "no parameters": (
        lambda: nn.Sequential(nn.ReLU()), lambda: (X(4, 8),), ValueError, r"the model \(Sequential\) has no parameters"
    ),
    "no linear layer": (
        lambda: nn.Sequential(nn.BatchNorm1d(8)), lambda: (X(4, 8),), ValueError, "the model .* has no linear layer"
    ),
    "lazy": (
        lambda: nn.Sequential(nn.ReLU(), nn.LazyLinear(3)), lambda: (X(4, 8),), ValueError, r"'1' \(LazyLinear\)"
    ),
    "empty batch": (lambda: mlp(1, 8), lambda: (X(0, 8),), ValueError, r"x is empty, its shape is \(0, 8\)"),
    "no batch": (lambda: mlp(1, 8), lambda: ((),), ValueError, "x is an empty tuple"),
    "no loss for a tuple": (
        lambda: Cut(True), lambda: (*batch(),), ValueError, r"the model gives a tuple, .*; give loss="
    ),
    "inf": (lambda: mlp(1, 8), lambda: (X(4, 8) / 0,), ValueError, r"x is not finite: x\[0, 0\] is inf"),
    "list": (lambda: mlp(1, 8), lambda: ([[1.0]],), TypeError, r"x\[0\] must be a tensor, got list"),
    "NaN labels": (lambda: mlp(1, 8), lambda: (X(4, 8), X(4, 10) * math.nan), ValueError, "y is not finite"),
    "labels that are none": (lambda: mlp(1, 8), lambda: (X(4, 8), [1]), TypeError, "y must be a tensor, got list"),
    "no labels": (
        lambda: mlp(1, 8), lambda: (X(4, 8), None, nn.CrossEntropyLoss()), ValueError, "CrossEntropyLoss needs labels"
    ),
    "no labels for a function": (
        lambda: mlp(1, 8), lambda: (X(4, 8), None, F.mse_loss), ValueError, "mse_loss needs labels, and y is None"
    ),
    "labels of another shape": (
        lambda: mlp(1, 8), lambda: (X(4, 8), X(4, 3)), ValueError, r"y has shape \(4, 3\), the output \(4, 10\)"
    ),
    "a loss that fails": (
        lambda: mlp(1, 8), lambda: (X(4, 8), X(4), F.cross_entropy), RuntimeError, "the loss cross_entropy failed"
    ),
    "a loss of many numbers": (
        lambda: mlp(1, 8), lambda: (X(4, 8), None, F.relu), ValueError, r"must give one number, got shape \(4, 10\)"
    ),
    "a loss that is none": (lambda: mlp(1, 8), lambda: (X(4, 8), None, 3), TypeError, "loss must be callable, got int"),
    "a loss without history": (
        lambda: mlp(1, 8), lambda: (X(4, 8), None, lambda out: X(1)), ValueError, "does not depend on the model"
    ),
    "forward": (Nested, lambda: (X(4, 8),), RuntimeError, r"forward failed in 'blocks\.1\.0' \(Linear\)"),
    "forward of the model": (
        lambda: nn.Linear(3, 3), lambda: (X(4, 8),), RuntimeError, r"forward failed in the model \(Linear\)"
    ),
    "nothing depends": (Constant, lambda: (X(4, 8),), ValueError, r"\(Constant\) returned depends on no parameter"),
    "dtype": (lambda: mlp(1, 8), lambda: (X(4, 8), None, None, unspool.int64), TypeError, "dtype must be one of float"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_bad_input(name: str) -> None:
    make, arguments, error, text = REFUSED[name]
    model, given = make(), arguments()
    before = fingerprint(model) if isinstance(model, nn.Module) else None
    with pytest.raises(error, match=text):
        unspool.diagnose(model, *given)
    assert before is None or fingerprint(model) == before


@pytest.mark.parametrize("lr", [0.0, -1.0, "fast"])
def test_rates_that_are_none(lr: Any) -> None:
    with pytest.raises(ValueError, match=f"lr must be a number above 0, got {lr!r}"):
        unspool.diagnose(mlp(1, 8), X(4, 8), lr=lr)
