"""What an op gives in unspool and in PyTorch: values, dtypes, shapes, gradients, or an exception.

`side_by_side` runs one function with unspool and with PyTorch in the role of `m` and compares all that it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import unspool

INF, NAN = float("inf"), float("nan")
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, INF, -INF, NAN, 88.8, -104.0, 709.5, -746.0, 1e30, -1e30, 20.0, -20.0)
SUBNORMAL = {"float32": (1e-42, -1e-42), "float64": (1e-310, -1e-310)}

Program = Callable[[Any], Any]


def outcome(program: Program, m: Any) -> Any:
    """The results as (dtype, shape, array), or the exception."""
    try:
        result = program(m)
    except Exception as error:
        return error
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [plain(r) for r in results]


def plain(r: Any) -> Any:
    if not hasattr(r, "detach"):
        return r
    return str(r.dtype).removeprefix("torch."), tuple(r.shape), r.detach().numpy()


def side_by_side(
    torch: ModuleType, program: Program, what: Any = "", *, rtol: float | None = None, atol: float | None = None
) -> None:
    ours, theirs = outcome(program, unspool), outcome(program, torch)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert isinstance(ours, Exception), f"{what}: PyTorch raises {theirs!r}, unspool gives {ours}"
        assert isinstance(theirs, Exception), f"{what}: unspool raises {ours!r}, PyTorch gives {theirs}"
        # NotImplementedError is a RuntimeError; DTypeError and ShapeError are what PyTorch raises, and more.
        kinds = [k for k in (RuntimeError, IndexError, ValueError, TypeError) if isinstance(theirs, k)]
        assert isinstance(ours, kinds[0]), f"{what}: {ours!r}, but PyTorch raises {theirs!r}"
        return
    assert len(ours) == len(theirs), what
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not isinstance(b, tuple) or len(b) != 3:
            assert a == b, f"{what}, result {i}"
            continue
        assert a[:2] == b[:2], f"{what}, result {i}"
        scale = 3e-6 if a[0] == "float32" else 1e-12
        if a[2].dtype.kind == "f":
            bounds = (rtol or scale, scale if atol is None else atol)
            np.testing.assert_allclose(a[2], b[2], *bounds, err_msg=f"{what}, result {i}")
        else:
            np.testing.assert_array_equal(a[2], b[2], err_msg=f"{what}, result {i}")


def same_signs(torch: ModuleType, program: Program, what: Any, atol: float = 1e-44) -> None:
    """As side_by_side to one unit of a subnormal float32, and the signs of zeros agree."""
    side_by_side(torch, program, what, atol=atol)
    for a, b in zip(outcome(program, unspool), outcome(program, torch), strict=True):
        keep = (b[2] == 0) & ~np.isnan(b[2]) if b[2].dtype.kind == "f" else np.zeros(b[2].shape, bool)
        np.testing.assert_array_equal(np.signbit(a[2][keep]), np.signbit(b[2][keep]), err_msg=str(what))


def leaf(m: Any, array: Any, grad: bool = True) -> Any:
    t = m.from_numpy(np.array(array))
    return t.requires_grad_() if grad and t.is_floating_point() else t


def value_and_gradients(f: Callable[..., Any], *arrays: Any, seed: Any = None) -> Program:
    """A program: f(m, *tensors), its gradient by every floating tensor for a cotangent of 1, 2, 3 … (or `seed`)."""

    def program(m: Any) -> Any:
        xs = [leaf(m, a) for a in arrays]
        y = f(m, *xs)
        if not y.requires_grad:
            return (y,)
        g = np.arange(1, y.numel() + 1, dtype=str(y.dtype).removeprefix("torch.")).reshape(tuple(y.shape))
        y.backward(m.from_numpy(np.asarray(g if seed is None else np.full_like(g, seed))))
        zero = m.zeros(0)
        return (y, *(zero if x.grad is None or not x.numel() else x.grad for x in xs))

    return program


def random(shape: tuple[int, ...], dtype: str = "float64", *, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed + 100 * len(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(1, 6, shape).astype(dtype)
    return np.asarray(rng.uniform(-2, 2, shape), dtype)
