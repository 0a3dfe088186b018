"""The regularised incomplete gamma functions, summed in float64."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from unspool import _core
from unspool._core import DTypeError, Tensor
from unspool._functions._methods import as_array, need_tensor, with_inplace, with_out
from unspool._functions.grids import broadcast_tensors

__all__ = ["igamma", "igammac"]

_EPS = 2.0**-53


def _series(a: Any, x: Any) -> Any:
    """Σ xⁿ / (a · (a + 1) ⋯ (a + n)): γ(a, x) · x^-a · e^x (Abramowitz, Stegun, 6.5.29), for x < a + 1."""
    term = 1 / a
    total = term.copy()
    n = a.copy()
    while np.any(np.abs(term) > _EPS * np.abs(total)):
        n += 1
        term = term * x / n
        total += term
    return total


def _fraction(a: Any, x: Any) -> Any:
    """Γ(a, x) · x^-a · e^x by the continued fraction 6.5.31, after Lentz, for x ≥ a + 1."""
    b = x + 1 - a
    c = np.full_like(x, 1e300)
    d = 1 / b
    h = d.copy()
    for i in range(1, 100_000):
        factor = i * (a - i)
        b = b + 2
        d = 1 / np.where(factor * d + b == 0, 1e-300, factor * d + b)
        c = np.where(b + factor / c == 0, 1e-300, b + factor / c)
        h = h * d * c
        if np.all(np.abs(d * c - 1) <= 2 * _EPS):
            break
    return h


def _small(a: Any, x: Any, log_gamma_1: Any) -> tuple[Any, Any]:
    """P and Q for a below 1 and x below a + 1, where 1 - P would cancel: Q = 1 - e^t (1 + s) for t = ln(x^a / Γ(1 + a))
    and s = Σ a (-x)ⁿ / (n! (a + n)), n from 1 on (Abramowitz, Stegun, 6.5.29)."""
    # ln Γ(1 + a), by its series (6.1.33) where 1 + a has few digits of a.
    zeta = (math.pi**2 / 6, 1.2020569031595942, math.pi**4 / 90, 1.03692775514337)
    series = -np.euler_gamma * a + sum(z * (-a) ** n / n for n, z in enumerate(zeta, 2))
    t = a * np.log(x) - np.where(a < 1e-3, series, log_gamma_1)
    power, s = np.ones_like(x), np.zeros_like(x)
    for n in range(1, 40):  # 2⁴⁰ / 40! is 1e-36
        power = power * -x / n
        s += power * a / (a + n)
    return np.exp(t) * (1 + s), -np.expm1(t) - np.exp(t) * s


def _both(a: Any, x: Any, log_gamma_1: Any) -> tuple[Any, Any]:
    """P(a, x) and Q(a, x) = 1 - P, of float64 arrays of one shape; log_gamma_1: ln Γ(1 + a)."""
    p = np.full(a.shape, np.nan)
    p[((a == 0) & (x > 0)) | ((a > 0) & np.isfinite(a) & (x == np.inf))] = 1
    p[((a > 0) & (x == 0)) | ((a == np.inf) & (x >= 0) & np.isfinite(x))] = 0
    q = 1 - p
    usual = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    with np.errstate(all="ignore"):
        weight = np.exp(a * np.log(x) - x - log_gamma_1) * a
        small = usual & (a < 1) & (x < a + 1)
        p[small], q[small] = _small(a[small], x[small], log_gamma_1[small])
        large = usual & (a > 1e15)  # the normal limit
        z = (x[large] - a[large]) / np.sqrt(2 * a[large])
        p[large], q[large] = ([math.erfc(s * v) / 2 for v in z.tolist()] for s in (-1, 1))
        usual &= ~(small | large)
        near = usual & (x < a + 1)
        p[near] = weight[near] * _series(a[near], x[near])
        q[near] = 1 - p[near]
        far = usual & ~near
        q[far] = weight[far] * _fraction(a[far], x[far])
        p[far] = 1 - q[far]
    return p, q


def _value(op: str, a: Tensor, x: Tensor) -> Tensor:
    wide = a.detach().double().contiguous()
    arrays = [np.atleast_1d(as_array(v)) for v in (wide, x.detach().double().contiguous(), (wide + 1).lgamma())]
    found = _core.tensor(_both(*arrays)[op == "igammac"], dtype=a.dtype).reshape(a.shape)
    return (a.detach() + x.detach()).copy_(found)  # laid out as a sum would be


@cache
def _function() -> Any:
    from unspool.autograd import Function  # which needs this module first

    class Incomplete(Function):
        @staticmethod
        def forward(ctx: Any, op: str, a: Tensor, x: Tensor) -> Tensor:
            ctx.op = op
            ctx.save_for_backward(a, x)
            return _value(op, a, x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            if ctx.needs_input_grad[1]:
                raise NotImplementedError(f"{ctx.op}: the derivative by the first argument is not implemented")
            a, x = ctx.saved_tensors
            slope = ((a - 1) * x.log() - x - a.lgamma()).exp()
            return None, None, g * (slope if ctx.op == "igamma" else -slope)

    return Incomplete


def _incomplete(op: str, input: Tensor, other: Tensor) -> Tensor:
    need_tensor(op, "input", input)
    need_tensor(op, "other", other)
    dtype = _core.result_type(input, other)
    if not dtype.is_floating_point:
        raise DTypeError(f"{op}: a floating dtype is needed, got {input.dtype} and {other.dtype}")
    a, x = broadcast_tensors(input.to(dtype), other.to(dtype))
    if not (input.requires_grad or other.requires_grad):
        return _value(op, a, x)
    made: Tensor = _function().apply(op, a, x)
    return made


@with_inplace
@with_out
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """P(a, x) = ∫₀ˣ t^(a-1) e^-t dt / Γ(a), for a the input and x the other; only by x it has a derivative."""
    return _incomplete("igamma", input, other)


@with_inplace
@with_out
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """1 - `igamma`."""
    return _incomplete("igammac", input, other)
