"""Windows of M samples, symmetric, or with sym=False periodic: the first M of a symmetric one of M + 1.

Each has the keywords dtype (float32 or float64, the default dtype where None), layout, device and requires_grad, and
raises ValueError for a negative M and another dtype. Formulas are those of Harris (1978) and Nuttall (1981).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import check_device

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip


def _window(f: Callable[..., Any]) -> Callable[..., Tensor]:
    """Of f(M, number of samples of a period, …), which gives float64, a window with the common keywords."""

    @wraps(f)
    def window(
        M: int,
        *,
        sym: bool = True,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        op = f"signal.windows.{f.__name__}"
        dtype = dtype or _core.get_default_dtype()
        if M < 0:
            raise ValueError(f"{op}: requires non-negative window length, got M={M}")
        if dtype not in (_core.float32, _core.float64):
            raise ValueError(f"{op}: expects float32 or float64 dtypes, got {dtype}")
        check_device(device)
        values = f(M, M - 1 if sym else M, **settings)
        made = _core.tensor(values if M != 1 else np.ones(1), dtype=dtype)
        return made.requires_grad_() if requires_grad else made

    return window


def _positive(op: str, name: str, value: float, least: str = "positive") -> None:
    if value < 0 or (value == 0 and least == "positive"):
        raise ValueError(f"signal.windows.{op}: {name} must be {least}, got {value}")


@_window
def exponential(M: int, span: int, *, center: float | None = None, tau: float = 1.0) -> Any:
    """e^(-|k - center| / tau), around the middle where `center` is None."""
    _positive("exponential", "tau", tau)
    if center is not None and span == M - 1:
        raise ValueError("signal.windows.exponential: center must be None where the window is symmetric")
    return np.exp(-np.abs(np.arange(M) - (span / 2 if center is None else center)) / tau)


@_window
def cosine(M: int, span: int) -> Any:
    """sin(π (k + 1/2) / M), half a period of the sine."""
    return np.sin(np.pi * (np.arange(M) + 0.5) / (span + 1))


@_window
def gaussian(M: int, span: int, *, std: float = 1.0) -> Any:
    """e^(-(k - middle)² / (2 std²))."""
    _positive("gaussian", "std", std)
    return np.exp(-(((np.arange(M) - span / 2) / std) ** 2) / 2)


@_window
def kaiser(M: int, span: int, *, beta: float = 12.0) -> Any:
    """I₀(beta √(1 - (2k / (M - 1) - 1)²)) / I₀(beta)."""
    _positive("kaiser", "beta", beta, "non-negative")
    at = 2 * np.arange(M) / max(span, 1) - 1
    return np.i0(beta * np.sqrt(np.maximum(1 - at**2, 0))) / np.i0(beta)


def _cosines(M: int, span: int, a: Iterable[float]) -> Any:
    angle = 2 * np.pi * np.arange(M) / max(span, 1)
    return sum(((-1) ** i * weight * np.cos(i * angle) for i, weight in enumerate(a)), np.zeros(M))


@_window
def general_cosine(M: int, span: int, *, a: Iterable[float]) -> Any:
    """Σ (-1)^i a_i cos(2πik / (M - 1))."""
    if not isinstance(a, Iterable):
        raise TypeError(f"signal.windows.general_cosine: a must be several weights, got {a!r}")
    weights = list(a)
    if not weights:
        raise ValueError("signal.windows.general_cosine: a must not be empty")
    return _cosines(M, span, weights)


@_window
def general_hamming(M: int, span: int, *, alpha: float = 0.54) -> Any:
    """alpha - (1 - alpha) cos(2πk / (M - 1))."""
    return _cosines(M, span, (alpha, 1 - alpha))


@_window
def hamming(M: int, span: int) -> Any:
    """0.54 - 0.46 cos(2πk / (M - 1))."""
    return _cosines(M, span, (0.54, 0.46))


@_window
def hann(M: int, span: int) -> Any:
    """(1 - cos(2πk / (M - 1))) / 2."""
    return _cosines(M, span, (0.5, 0.5))


@_window
def blackman(M: int, span: int) -> Any:
    """0.42 - 0.5 cos(2πk / (M - 1)) + 0.08 cos(4πk / (M - 1))."""
    return _cosines(M, span, (0.42, 0.5, 0.08))


@_window
def nuttall(M: int, span: int) -> Any:
    """Four cosines, of Nuttall's smallest side lobes with a continuous first derivative."""
    return _cosines(M, span, (0.3635819, 0.4891775, 0.1365995, 0.0106411))


@_window
def bartlett(M: int, span: int) -> Any:
    """A triangle from 0 to 1 and back."""
    return 1 - np.abs(2 * np.arange(M) / max(span, 1) - 1)
