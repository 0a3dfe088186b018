"""Softmax, cross entropy and squared error as ops, beside PyTorch."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool
from op_outcomes import INF, NAN, leaf, random, side_by_side, value_and_gradients

ROWS = {
    "plain": random((3, 4)),
    "large": np.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]]),
    "one -inf": np.array([[0.0, -INF, 1.0], [-INF, -INF, 2.0]]),
    "all -inf": np.array([[-INF, -INF], [0.0, 1.0]]),
    "inf": np.array([[INF, 0.0], [INF, INF]]),
    "nan": np.array([[NAN, 0.0], [1.0, 2.0]]),
    "wide": random((2, 67)),
    "no rows": random((0, 3)),
    "no columns": random((3, 0)),
    "vector": random((5,)),
    "scalar": random(()),
    "cube": random((2, 3, 4)),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax(torch: ModuleType, name: str, rows: str, dtype: str) -> None:
    x = ROWS[rows].astype(dtype)
    for dim in range(-max(x.ndim, 1), max(x.ndim, 1) + 1):
        program = value_and_gradients(lambda m, x, d=dim: getattr(m, name)(x, d), x)
        side_by_side(torch, program, (name, rows, dim), atol=2e-5 if dtype == "float32" else None)  # g - y·Σg cancels
        side_by_side(torch, value_and_gradients(lambda m, x, d=dim: getattr(x, name)(dim=d, dtype=m.float64), x), dim)


def labels(*values: int) -> Any:
    return np.array(values)


CROSS_ENTROPIES: dict[str, tuple[Any, Any]] = {
    "rows": (random((3, 4)), labels(1, 0, 3)),
    "some ignored": (random((3, 4)), labels(1, -100, 3)),
    "all ignored": (random((3, 4)), labels(-100, -100, -100)),
    "vector": (random((4,)), np.array(2)),
    "vector ignored": (random((4,)), np.array(-100)),
    "images": (random((2, 4, 3, 2)), np.arange(12).reshape(2, 3, 2) % 4),
    "sequences": (random((2, 4, 3)), np.array([[0, 3, -100], [2, 2, 1]])),
    "probabilities": (random((3, 4)), np.abs(random((3, 4), seed=1))),
    "probabilities of a vector": (random((4,)), np.abs(random((4,), seed=1))),
    "probabilities of sequences": (random((2, 4, 3)), np.abs(random((2, 4, 3), seed=1))),
    "large": (np.array([[1e4, -1e4, 0.0, 0.0], [1e4, 1e4, 0.0, 1.0]]), labels(1, 1)),
    "-inf": (np.array([[0.0, -INF, 1.0, 2.0], [-INF, 0.0, 0.0, 0.0]]), labels(0, 1)),
    "-inf at the target": (np.array([[0.0, -INF, 1.0, 2.0]]), labels(1)),
    "no rows": (random((0, 4)), np.zeros(0, np.int64)),
    "label too large": (random((2, 4)), labels(1, 4)),
    "label negative": (random((2, 4)), labels(1, -1)),
    "shapes differ": (random((2, 4)), labels(1, 2, 3)),
    "target of floats": (random((2, 4)), np.array([1.0, 2.0])),
    "target of int32": (random((2, 4)), np.array([1, 2], np.int32)),
    "target of bytes": (random((2, 4)), np.array([1, 2], np.uint8)),
}


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(torch: ModuleType, name: str, reduction: str) -> None:
    logits, target = CROSS_ENTROPIES[name]
    weights = (None, np.array([0.5, 2.0, 0.0, 1.5]))
    for weight, smoothing, dtype in itertools.product(weights, (0.0, 0.1), ("float32", "float64")):
        options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}

        def f(m: Any, x: Any, t: Any, options: Any = options, weight: Any = weight, dtype: str = dtype) -> Any:
            w = None if weight is None else m.from_numpy(weight.astype(dtype))
            return m.nn.functional.cross_entropy(x, t, weight=w, **options)

        t = target.astype(dtype) if name.startswith("probabilities") else target
        if smoothing and name.startswith("-inf"):
            continue  # 0 · -inf: NaN in both, at places that differ
        if smoothing and name == "target of bytes":
            continue  # PyTorch refuses
        if name in ("target of floats", "target of int32"):
            with pytest.raises(RuntimeError):
                f(unspool, leaf(unspool, logits.astype(dtype)), unspool.from_numpy(t))
            continue
        side_by_side(
            torch, value_and_gradients(f, logits.astype(dtype), t), (name, reduction, weight, smoothing, dtype)
        )


def test_cross_entropy_ignores_the_index_asked_for(torch: ModuleType) -> None:
    for index in (0, 2, -1):
        target = labels(0, 2, 1) if index != -1 else labels(0, -1, 1)

        def f(m: Any, x: Any, t: Any, index: int = index) -> Any:
            return m.nn.functional.cross_entropy(x, t, ignore_index=index)

        side_by_side(torch, value_and_gradients(f, random((3, 4)), target), index)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_second_derivative(torch: ModuleType, reduction: str) -> None:
    for name in ("some ignored", "all ignored", "sequences", "probabilities"):
        logits, target = CROSS_ENTROPIES[name]

        def program(m: Any, logits: Any = logits, target: Any = target) -> Any:
            x, t = leaf(m, logits), leaf(m, target, grad=False)
            loss = m.nn.functional.cross_entropy(x, t, reduction=reduction, label_smoothing=0.1)
            (g,) = m.autograd.grad(loss.sum(), x, create_graph=True)
            (h,) = m.autograd.grad((g * m.from_numpy(random(logits.shape, seed=3))).sum(), x)
            return loss, g, h

        side_by_side(torch, program, name, rtol=1e-10)


def test_mse_loss(torch: ModuleType) -> None:
    for reduction, shape, dtype in itertools.product(
        ("none", "mean", "sum"), ((), (3,), (2, 3), (0,)), ("float32", "float64")
    ):

        def f(m: Any, a: Any, b: Any, r: str = reduction) -> Any:
            return m.nn.functional.mse_loss(a, b, reduction=r)

        a, b = random(shape, dtype), random(shape, dtype, seed=1)
        side_by_side(torch, value_and_gradients(f, a, b), (reduction, shape, dtype))
        side_by_side(torch, value_and_gradients(lambda m, a, b: f(m, a.t(), b.t()), a, b), (reduction, shape))
    for m in (unspool, torch):
        with pytest.raises(RuntimeError), pytest.warns(UserWarning, match="size"):
            m.nn.functional.mse_loss(m.zeros(2), m.zeros(3), reduction="none")
        with pytest.raises(ValueError, match="average"):
            m.nn.functional.mse_loss(m.zeros(2), m.zeros(2), reduction="average")
