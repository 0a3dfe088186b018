"""Layers and losses beside PyTorch's: the same seed, repr, state_dict, outputs, gradients and running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn
from beside_torch import agree, behaviour

RNG = np.random.default_rng(0)
X2, X3 = RNG.normal(size=(6, 4)).astype("float32"), RNG.normal(size=(3, 4, 5)).astype("float32")

LAYERS: list[tuple[Callable[[Any], Any], Any]] = [
    *[
        (make, x)
        for x in (X2, X3)
        for make in (
            lambda nn: nn.LeakyReLU(),
            lambda nn: nn.LeakyReLU(0.2),
            lambda nn: nn.PReLU(),
            lambda nn: nn.PReLU(4),
            lambda nn: nn.ELU(0.7),
            lambda nn: nn.CELU(1.3),
            lambda nn: nn.SELU(),
            lambda nn: nn.GELU(),
            lambda nn: nn.GELU("tanh"),
            lambda nn: nn.SiLU(),
            lambda nn: nn.Mish(),
            lambda nn: nn.Softplus(),
            lambda nn: nn.Softplus(2.0, 1.0),
            lambda nn: nn.Hardtanh(-0.5, 0.8),
            lambda nn: nn.ReLU6(),
            lambda nn: nn.Hardsigmoid(),
            lambda nn: nn.Hardswish(),
            lambda nn: nn.LogSigmoid(),
            lambda nn: nn.Softsign(),
            lambda nn: nn.Tanhshrink(),
            lambda nn: nn.Softshrink(),
            lambda nn: nn.Hardshrink(0.3),
            lambda nn: nn.Threshold(0.1, 2.0),
            lambda nn: nn.GLU(1),
            lambda nn: nn.Softmin(-1),
            lambda nn: nn.BatchNorm1d(4),
            lambda nn: nn.BatchNorm1d(4, momentum=None),
            lambda nn: nn.BatchNorm1d(4, affine=False),
            lambda nn: nn.BatchNorm1d(4, track_running_stats=False, eps=1e-3),
            lambda nn: nn.Dropout(0.3),
            lambda nn: nn.Dropout(1.0),
            lambda nn: nn.Dropout(0.0),
        )
    ],
    (lambda nn: nn.LayerNorm(4), X2),
    (lambda nn: nn.LayerNorm((4, 5), bias=False), X3),
    (lambda nn: nn.LayerNorm(5, elementwise_affine=False), X3),
    (lambda nn: nn.RMSNorm(4), X2),
    (lambda nn: nn.RMSNorm([4, 5], eps=1e-3), X3),
    (lambda nn: nn.Embedding(7, 3), np.array([[1, 6, 1], [0, 2, 2]])),
    (lambda nn: nn.Embedding(7, 3, padding_idx=-6), np.array([1, 6, 1])),
    (lambda nn: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)), X2),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_a_layer_is_pytorchs(i: int, torch: Any) -> None:
    make, data = LAYERS[i]
    agree(behaviour(unspool, make, data), behaviour(torch, make, data), repr(make(unspool.nn)))


P, Q = RNG.uniform(0.05, 0.95, (5, 3)), RNG.uniform(0.05, 0.95, (5, 3))
LABELS = np.array([0, 2, 1, -100, 2])
LOSSES: list[tuple[Callable[[Any], Any], Any, Any]] = [
    *[
        (lambda m, name=name, reduction=reduction: getattr(m.nn, name)(reduction=reduction), a, b)
        for reduction in ("none", "mean", "sum")
        for name, a, b in (
            ("L1Loss", P, Q),
            ("SmoothL1Loss", P * 4, Q),
            ("HuberLoss", P * 4, Q),
            ("NLLLoss", np.log(P), LABELS),
            ("BCELoss", P, Q),
            ("BCEWithLogitsLoss", P * 40 - 20, Q),
            ("KLDivLoss", np.log(P), Q),
            ("CrossEntropyLoss", P * 9, LABELS),
            ("CrossEntropyLoss", P * 9, Q / Q.sum(1, keepdims=True)),
        )
    ],
    (lambda m: m.nn.SmoothL1Loss(beta=0.3), P, Q),
    (lambda m: m.nn.SmoothL1Loss(beta=0.0), P, Q),
    (lambda m: m.nn.HuberLoss(delta=0.2), P, Q),
    (lambda m: m.nn.NLLLoss(weight=m.tensor([0.5, 2.0, 1.0], dtype=m.float64)), np.log(P), LABELS),
    (lambda m: m.nn.NLLLoss(ignore_index=2), np.log(P), np.array([0, 2, 1, 1, 2])),
    (lambda m: m.nn.BCELoss(weight=m.tensor([0.5, 2.0, 1.0], dtype=m.float64)), P, Q),
    (lambda m: m.nn.BCEWithLogitsLoss(pos_weight=m.tensor([3.0, 2.0, 1.0], dtype=m.float64)), P * 6 - 3, Q),
    (lambda m: m.nn.KLDivLoss(reduction="batchmean"), np.log(P), Q),
    (lambda m: m.nn.KLDivLoss(reduction="sum", log_target=True), np.log(P), np.log(Q)),
]


def loss_behaviour(m: Any, make: Callable[[Any], Any], a: Any, b: Any) -> Any:
    """Value, first and second gradient."""
    loss = make(m)
    x, target = m.tensor(a, requires_grad=True), m.tensor(b)
    y = loss(x, target)
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = m.autograd.grad((g * g).sum(), x) if g.requires_grad else (m.zeros_like(x),)
    return [repr(loss), y.detach().numpy(), g.detach().numpy(), h.numpy(force=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(LOSSES)))
def test_a_loss_is_pytorchs(i: int, torch: Any) -> None:
    make, a, b = LOSSES[i]
    agree(loss_behaviour(unspool, make, a, b), loss_behaviour(torch, make, a, b), repr(make(unspool)))


@pytest.mark.parametrize("size", [*range(1, 40), 100, 10000])
def test_dropout_drops_what_pytorch_drops(size: int, torch: Any) -> None:
    for m in (torch, unspool):
        m.manual_seed(size)
    for dtype in ("float32", "float64"):
        mine, theirs = (
            m.nn.functional.dropout(m.ones(size, dtype=getattr(m, dtype)), 0.4).numpy() for m in (unspool, torch)
        )
        np.testing.assert_array_equal(mine, theirs)


def test_binary_cross_entropy_at_0_and_1(torch: Any) -> None:
    seen = []
    for m in (unspool, torch):
        p = m.tensor([0.0, 1.0, 0.5, 0.0, 1.0], requires_grad=True)
        loss = m.nn.BCELoss(reduction="none")(p, m.tensor([1.0, 0.0, 1.0, 0.0, 1.0]))
        loss.sum().backward()
        seen.append((loss.tolist(), p.grad.tolist()))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: unspool.nn.Dropout(1.5), ValueError, "between 0 and 1, but got 1.5"),
    (lambda: unspool.nn.BatchNorm1d(3)(unspool.ones(2, 3, 4, 5)), ValueError, "2D or 3D input .got 4D"),
    (lambda: unspool.nn.BatchNorm1d(3)(unspool.ones(1, 3)), ValueError, "more than 1 value per channel"),
    (lambda: unspool.nn.BatchNorm1d(3)(unspool.ones(2, 4)), RuntimeError, "running_mean should contain 4 .* not 3"),
    (lambda: unspool.nn.LayerNorm(3)(unspool.ones(2, 4)), RuntimeError, r"\[\*, 3\], but got input of size \[2, 4\]"),
    (lambda: unspool.nn.PReLU(3)(unspool.ones(2, 4)), RuntimeError, "weight has 3 elements"),
    (lambda: unspool.nn.Embedding(3, 2)(unspool.tensor([3])), IndexError, "index 3 is out of bounds"),
    (lambda: unspool.nn.Embedding(3, 2)(unspool.tensor([0.5])), TypeError, "float32"),
    (lambda: unspool.nn.Embedding(3, 2, padding_idx=3), AssertionError, "within num_embeddings 3, got 3"),
    (lambda: unspool.nn.GELU("fast")(unspool.ones(2)), RuntimeError, "'none' or 'tanh', got 'fast'"),
    (lambda: unspool.nn.Hardtanh(1, 0), ValueError, "1 and 0"),
    (lambda: unspool.nn.GLU()(unspool.ones(3)), RuntimeError, "even, but dimension -1 has size 3"),
    (lambda: unspool.nn.BCELoss()(unspool.tensor([1.5]), unspool.ones(1)), RuntimeError, "between 0 and 1, got 1.5"),
    (lambda: unspool.nn.BCELoss()(unspool.ones(1), unspool.ones(2)), ValueError, "target size"),
    (lambda: unspool.nn.NLLLoss()(unspool.ones(2, 3), unspool.tensor([0, 3])), IndexError, "Target 3 is out of bounds"),
    (lambda: unspool.nn.NLLLoss()(unspool.ones(2, 3), unspool.tensor([0])), ValueError, r"got \(1,\)"),
    (lambda: unspool.nn.HuberLoss(delta=0)(unspool.ones(1), unspool.ones(1)), RuntimeError, "non-positive .* got 0"),
    (lambda: unspool.nn.L1Loss(reduction="all")(unspool.ones(1), unspool.ones(1)), ValueError, "all is not a valid"),
]


@pytest.mark.parametrize(("call", "kind", "text"), BAD)
def test_a_bad_call_says_what_is_wrong(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()
