"""Draws of counts and of gamma variables, by rejection: PyTorch's algorithms, which use up its stream number by number.

Each element takes some Python steps (about 10 µs), since how many numbers it draws depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from unspool._core import DTypeError, Tensor, empty, float16, float64, tensor
from unspool._functions._methods import as_array, need_tensor

__all__ = ["binomial", "poisson"]

_Draw = Callable[[], float]


def _streams(generator: Any) -> tuple[_Draw, _Draw]:
    """One uniform number from [0, 1), one normal number, each in double precision."""
    cell = empty((), dtype=float64)
    return (
        lambda: float(cell.uniform_(generator=generator).item()),
        lambda: float(cell.normal_(generator=generator).item()),
    )


def _filled(values: list[float], like: Tensor) -> Tensor:
    return tensor(values, dtype=float64).reshape(tuple(like.shape)).to(like.dtype)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Counts with the rates `input`, in its shape and dtype.

    Raises:
        RuntimeError: a rate is negative or NaN.
    """
    need_tensor("poisson", "input", input)
    uniform, _ = _streams(generator)
    rates = as_array(input).ravel().tolist()
    if not all(rate >= 0 for rate in rates):
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    return _filled([_poisson(rate, uniform) for rate in rates], input)


def _poisson(rate: float, uniform: _Draw) -> float:
    if rate == 0:
        return 0
    if rate < 10:  # products of uniform numbers
        count, product, end = 0, uniform(), math.exp(-rate)
        while product > end:
            count += 1
            product *= uniform()
        return count
    # transformed rejection, W. Hörmann, 1993
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    tight = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= tight:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        bound = -rate + k * math.log(rate) - math.lgamma(k + 1)
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= bound:
            return k


def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; shapes broadcast.

    Raises:
        ValueError: the dtypes are not floating.
        RuntimeError: they differ.
    """
    need_tensor("binomial", "count", count)
    need_tensor("binomial", "prob", prob)
    for name, x in (("count", count), ("prob", prob)):
        if not x.is_floating_point():
            raise ValueError(f"binomial: {name} must have a floating dtype, got {x.dtype}")
    if count.dtype != prob.dtype:
        raise DTypeError(f"binomial: count and prob must have the same dtype, got {count.dtype} and {prob.dtype}")
    uniform, _ = _streams(generator)
    counts, probs = np.broadcast_arrays(as_array(count), as_array(prob))
    drawn = [_binomial(n, p, uniform) for n, p in zip(counts.ravel().tolist(), probs.ravel().tolist(), strict=True)]
    return tensor(drawn, dtype=float64).reshape(counts.shape).to(count.dtype)


def _binomial(n: float, p: float, uniform: _Draw) -> float:
    if math.isnan(p):
        return math.nan
    if n <= 0 or p <= 0:
        return 0
    if p >= 1:
        return n
    if p > 0.5:
        return n - _binomial_half(n, 1 - p, uniform)
    return _binomial_half(n, p, uniform)


def _binomial_half(n: float, p: float, uniform: _Draw) -> float:
    if n * p < 10:  # the gaps between successes are geometric
        passed, successes, log_failure = 0.0, 0, math.log1p(-p)
        while True:
            u = uniform()
            passed += math.ceil(math.log(u) / log_failure) if u > 0 else math.inf
            if passed > n:
                return successes
            successes += 1
    # transformed rejection, W. Hörmann, 1993: BTRS
    deviation = math.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    tight = 0.92 - 4.2 / b
    ratio = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor((n + 1) * p)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= tight:
            return k
        if k < 0 or k > n:
            continue
        bound = (
            (m + 0.5) * math.log((m + 1) / (ratio * (n - m + 1)))
            + (n + 1) * math.log((n - m + 1) / (n - k + 1))
            + (k + 0.5) * math.log(ratio * (n - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(n - m)
            - _stirling_tail(k)
            - _stirling_tail(n - k)
        )
        if math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def _stirling_tail(k: float) -> float:
    """log k! less Stirling's formula for it at k + 1."""
    if k <= 9:
        return math.lgamma(k + 1) - (math.log(math.sqrt(2 * math.pi)) + (k + 0.5) * math.log(k + 1) - (k + 1))
    square = (k + 1) ** 2
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _gammas(shapes: Any, generator: Any = None) -> Any:
    """Gamma variables of rate 1, an array of float64 for an array of shapes, whose dtype says how these are rounded."""
    uniform, normal = _streams(generator)
    third = np.float32(1) / np.float32(3)
    one = shapes.dtype.type(1)
    return np.array([_gamma(x, one, shapes.dtype.type(third), uniform, normal) for x in shapes.ravel()]).reshape(
        shapes.shape
    )


def _gamma(shape: Any, one: Any, third: Any, uniform: _Draw, normal: _Draw) -> float:
    """G. Marsaglia, W. W. Tsang, 2000; a shape below 1 by one above it, times a power of a uniform number."""
    scale = 1.0
    if shape < 1:
        if shape == 0:
            return 0.0
        scale = (1 - uniform()) ** float(one / shape)
        shape += one
    d = float(shape - third)
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        y = 1 + c * x
        while y <= 0:
            x = normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - uniform()
        if u < 1 - _SQUEEZE * x**4 or math.log(u) < 0.5 * x * x + d * (1 - v + math.log(v)):
            return scale * d * v


_SQUEEZE = float(np.float32(0.0331))


def _standard_gamma(shape: Tensor, generator: Any = None) -> Tensor:
    """Gamma variables of rate 1 in the dtype of `shape`, none below its smallest normal number."""
    values = as_array(shape)
    tiny = np.finfo(values.dtype if shape.dtype != float16 else np.float16).tiny
    return tensor(np.maximum(_gammas(values, generator).astype(values.dtype), tiny)).to(shape.dtype)
