"""Special functions under PyTorch's names, most of them second names."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import (
    Tensor,
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    log1p,
    logsumexp,
    polygamma,
    round,
    sigmoid,
)
from unspool._core import lgamma as gammaln
from unspool._functions import polynomials
from unspool._functions._methods import need_tensor, with_out
from unspool._functions.elementwise import logit, mvlgamma, sinc, xlogy
from unspool._functions.incomplete import igamma as gammainc
from unspool._functions.incomplete import igammac as gammaincc
from unspool._functions.polynomials import *  # noqa: F403
from unspool.autograd.function import Function

psi = digamma
expit = sigmoid
multigammaln = mvlgamma

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln",
    "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "polygamma", "psi", "round",
    "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip
__all__ += polynomials.__all__


def _floating(op: str, x: Any) -> Any:
    need_tensor(op, "input", x)
    return x if x.dtype.is_floating_point else x.to(_core.get_default_dtype())


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(x) / Σ exp(x) along dim."""
    return _core.softmax(input, dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """x - ln Σ exp(x) along dim."""
    return _core.log_softmax(input, dim, dtype)


class _Entropy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _core.where(x == 0, 0.0, _core.where(x < 0, -math.inf, -x * _core.log(x)))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -g * (1 + _core.log(x))


@with_out
def entr(input: Tensor) -> Tensor:
    """-x ln x; 0 at 0, -inf below."""
    return _Entropy.apply(_floating("special.entr", input))  # type: ignore[no-any-return]


@with_out
def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution function, erfc(-x / √2) / 2."""
    return _core.erfc(_floating("special.ndtr", input) * -math.sqrt(0.5)) / 2


@with_out
def erfcx(input: Tensor) -> Tensor:
    """exp(x²) erfc(x), from x = 26 on by 1 / (x √π) · (1 - 1 / (2x²) + …); computed in float64."""
    given = _floating("special.erfcx", input)
    x = given.double()
    large = x > 26.0
    far, near = _core.where(large, x, _core.ones_like(x)), _core.where(large, _core.zeros_like(x), x)
    z = 0.5 / (far * far)
    series = (1 - z * (1 - 3 * z * (1 - 5 * z))) / far / math.sqrt(math.pi)
    return _core.where(large, series, _core.exp(near * near) * _core.erfc(near)).to(given.dtype)


@with_out
def log_ndtr(input: Tensor) -> Tensor:
    """ln ndtr(x), without underflow; computed in float64."""
    given = _floating("special.log_ndtr", input)
    x = given.double()
    low = x < -1
    tail, rest = _core.where(low, x, -_core.ones_like(x)), _core.where(low, _core.zeros_like(x), x)
    far = _core.log(erfcx(tail * -math.sqrt(0.5)) / 2) - tail * tail / 2
    return _core.where(low, far, _core.log1p(-_core.erfc(rest * math.sqrt(0.5)) / 2)).to(given.dtype)


@with_out
def xlog1py(input: Any, other: Any) -> Tensor:
    """input · ln(1 + other), 0 where input is 0; NaN where other is NaN."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError(f"special.xlog1py: one argument must be a Tensor, got {input!r} and {other!r}")
    dtype = _core.result_type(input, other)
    dtype = dtype if dtype.is_floating_point else _core.get_default_dtype()
    a, b = (v.to(dtype) if isinstance(v, Tensor) else _core.tensor(v, dtype=dtype) for v in (input, other))
    zero = (a == 0) & (b == b)
    return _core.where(zero, _core.zeros_like(a), a * _core.log1p(_core.where(zero, _core.zeros_like(b), b)))
