"""Normalisations: the fused kernels against the same formula written in ops, and against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
from tolerances import assert_close
from unspool import _core
from unspool.autograd import grad, gradcheck, gradgradcheck
from unspool.nn import functional as F

SHAPES = [(5, 7), (3, 4, 6), (2, 40), (1, 33), (70, 3)]


def in_ops(x: Any, dims: tuple[int, ...], weight: Any, bias: Any, eps: float, centered: bool) -> Any:
    rest = x - x.mean(dims, keepdim=True) if centered else x
    y = rest * (1 / ((rest * rest).mean(dims, keepdim=True) + eps).sqrt())
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


CASES: dict[str, tuple[Callable[..., Any], bool, bool]] = {  # the function, whether it is centred, takes a bias
    "layer_norm": (lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b), True, True),
    "layer_norm of all": (lambda x, w, b: F.layer_norm(x, x.shape), True, False),
    "rms_norm": (lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, 1e-5), False, False),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), True, True),
    "group_norm": (lambda x, w, b: F.group_norm(x, x.shape[1], w, b), True, True),
}


def arguments(name: str, shape: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(3)
    length = shape[1] if name in ("batch_norm", "group_norm") else shape[-1]
    arrays = [rng.normal(2.0, 3.0, shape), rng.normal(1.0, 0.5, length), rng.normal(0.0, 1.0, length)]
    return [unspool.tensor(a.astype(dtype)).requires_grad_() for a in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["layer_norm", "layer_norm of all", "rms_norm"])
def test_fused_rows_have_the_bits_of_the_formula(name: str, shape: tuple[int, ...], dtype: str) -> None:
    f, centered, with_bias = CASES[name]
    x, w, b = arguments(name, shape, dtype)
    dims = tuple(range(len(shape))) if name == "layer_norm of all" else (-1,)
    weight = None if name == "layer_norm of all" else w
    wanted = in_ops(x, dims, weight, b if with_bias else None, 1e-5, centered)
    np.testing.assert_array_equal(f(x, w, b).detach().numpy(), wanted.detach().numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["layer_norm", "layer_norm of all", "rms_norm", "batch_norm"])
def test_fused_backward_has_the_bits_of_the_recorded_rule(name: str, shape: tuple[int, ...], dtype: str) -> None:
    if name == "batch_norm" and shape[0] == 1 and len(shape) == 2:
        pytest.skip("one value a channel")
    f = CASES[name][0]
    xs = arguments(name, shape, dtype)
    u = unspool.tensor(np.random.default_rng(4).normal(size=shape).astype(dtype))
    fused = grad(f(*xs), xs, u, allow_unused=True)
    recorded = grad(f(*xs), xs, u, allow_unused=True, create_graph=True)
    for a, b in zip(fused, recorded, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.numpy(), b.detach().numpy())


@pytest.mark.parametrize("name", CASES)
def test_values_and_two_derivatives_in_float64(name: str) -> None:
    f, centered, with_bias = CASES[name]
    for shape in [(4, 3, 2), (3, 5)]:
        if name == "group_norm" and len(shape) == 2:
            continue
        x, w, b = arguments(name, shape, "float64")
        a = x.detach().numpy()
        dims = {"batch_norm": (0, *range(2, len(shape))), "group_norm": tuple(range(2, len(shape)))}.get(name, (-1,))
        dims = tuple(range(len(shape))) if name == "layer_norm of all" else dims
        column = (-1,) + (1,) * (len(shape) - 2) if name in ("batch_norm", "group_norm") else (-1,)
        rest = a - a.mean(dims, keepdims=True) if centered else a
        wanted = rest / np.sqrt((rest**2).mean(dims, keepdims=True) + 1e-5)
        if name != "layer_norm of all":
            wanted = wanted * w.detach().numpy().reshape(column)
            wanted = wanted + b.detach().numpy().reshape(column) * with_bias
        assert_close(f(x, w, b).detach().numpy(), wanted, what=name)
        used = (x,) if name == "layer_norm of all" else (x, w, b) if with_bias else (x, w)
        assert gradcheck(lambda *xs, f=f, rest=(w, b): f(*xs, *rest[len(xs) - 1 :]), used)
        assert gradgradcheck(lambda *xs, f=f, rest=(w, b): f(*xs, *rest[len(xs) - 1 :]), used)


def test_large_means_and_small_spreads() -> None:
    """Two passes: the variance of 1e4 ± 1e-2 in float32 is right to the rounding of the numbers themselves."""
    x = (1e4 + 1e-2 * np.random.default_rng(5).normal(size=(3, 500))).astype(np.float32)
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    got = F.layer_norm(unspool.tensor(x), (500,)).numpy()
    np.testing.assert_allclose(got, wanted, atol=0.05)  # the mean itself is rounded to 2^-10
    columns = F.batch_norm(unspool.tensor(np.ascontiguousarray(x.T)), None, None, training=True).numpy()
    np.testing.assert_allclose(columns, wanted.T, atol=0.05)


def test_a_malformed_call_changes_nothing() -> None:
    x, kept = unspool.ones(3, 4), unspool.zeros(4)
    for weight in (unspool.ones(3), unspool.ones(4, dtype=unspool.float64)):
        with pytest.raises(RuntimeError, match=r"layer_norm: .*weight"):
            F.layer_norm(x, (4,), weight)
    with pytest.raises(RuntimeError, match=r"batch_norm: .*weight of the input's dtype"):
        F.batch_norm(x, kept, kept, unspool.ones(4, dtype=unspool.float64), training=True)
    with pytest.raises(RuntimeError, match=r"rms_norm: Given normalized_shape"):
        _core.rms_norm(x, (3,))
    assert (kept == 0).all()
    assert kept._version == 0
