"""Elementwise functions and comparisons that are made of others."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import DTypeError, Tensor
from unspool._functions._methods import add, method, need_tensor, with_inplace, with_out
from unspool._functions.dtypes import finfo
from unspool._naming import shown_as
from unspool.autograd.grad_mode import no_grad

__all__ = [
    "allclose",
    "deg2rad",
    "equal",
    "float_power",
    "fmax",
    "fmin",
    "heaviside",
    "is_same_size",
    "isclose",
    "isreal",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "logit",
    "mvlgamma",
    "nan_to_num",
    "positive",
    "rad2deg",
    "rsub",
    "sgn",
    "signbit",
    "sinc",
    "xlogy",
]


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_floating_point else x.to(_core.get_default_dtype())


def _promoted(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype; one of them may be a number."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        raise TypeError(f"{op}: one argument must be a Tensor, got {a!r} and {b!r}")
    dtype = _core.result_type(a, b)
    x, y = (v.to(dtype) if isinstance(v, Tensor) else _core.tensor(v, dtype=dtype) for v in (a, b))
    return x, y


@with_out
@with_inplace
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return _floating(input) * (math.pi / 180)


@with_out
@with_inplace
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return _floating(input) * (180 / math.pi)


@method
def positive(input: Tensor) -> Tensor:
    """The tensor itself; of bools, an error."""
    if input.dtype == _core.bool:
        raise DTypeError("positive: the + operator on a bool tensor is not supported")
    return input


@with_out
@with_inplace
@shown_as("SgnBackward0")
def sgn(input: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of each element."""
    return _core.sign(input)


@with_out
@method
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set: true for -0 as well."""
    if not input.dtype.is_floating_point:
        return input < 0 if input.dtype != _core.bool else _core.zeros_like(input)
    return _core.copysign(_core.ones_like(input), input.detach()) < 0


@method
def isreal(input: Tensor) -> Tensor:
    """True for each element: there are no complex numbers here."""
    return _core.ones_like(input, dtype=_core.bool)


@with_out
@with_inplace
@shown_as("SincBackward0")
def sinc(input: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0."""
    x = _floating(input) * math.pi
    zero = x == 0
    # near 0 the quotient's derivatives are those of its series
    safe = _core.where(zero, _core.ones_like(x), x)
    return _core.where(zero, 1 - x * x / 6, _core.sin(safe) / safe)


@with_out
@with_inplace
@shown_as("LogitBackward0")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """ln(x / (1 - x)), of x kept in [eps, 1 - eps] where eps is given; else NaN outside of [0, 1]."""
    x = _floating(input)
    if eps is not None:
        x = _core.where(x < eps, eps, _core.where(x > 1 - eps, 1 - eps, x))
    return _core.log(x / (1 - x))


@with_out
@with_inplace
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """ln of the multivariate gamma function of dimension p; needs elements above (p - 1) / 2."""
    if not isinstance(p, int) or p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p!r}")
    x = _floating(input)
    shifts = _core.arange(1 - p, 1, dtype=x.dtype) / 2
    return _core.lgamma(x.unsqueeze(-1) + shifts).sum(-1) + p * (p - 1) * math.log(math.pi) / 4


@method
def polygamma(input: Tensor, n: int) -> Tensor:
    """`unspool.polygamma(n, input)`."""
    return _core.polygamma(n, input)


@with_out
@with_inplace
@shown_as("NanToNumBackward0")
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN as 0 or `nan`, infinities as the largest finite numbers of the dtype or the given ones."""
    if not input.dtype.is_floating_point:
        return input.clone()
    limit = finfo(input.dtype).max

    def constant(value: float) -> Tensor:
        return _core.tensor(value, dtype=input.dtype)

    y = _core.where(input != input, constant(0.0 if nan is None else nan), input)
    y = _core.where(input == math.inf, constant(limit if posinf is None else posinf), y)
    return _core.where(input == -math.inf, constant(-limit if neginf is None else neginf), y)


@method
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha · input."""
    if input.dtype == _core.bool or (isinstance(other, Tensor) and other.dtype == _core.bool):
        raise DTypeError("rsub: subtraction with a bool tensor is not supported; use ~ or logical_not() instead")
    return other - (input if alpha == 1 else input * alpha)


def _extreme(op: str, input: Tensor, other: Tensor, larger: Any) -> Tensor:
    need_tensor(op, "input", input)
    need_tensor(op, "other", other)
    a, b = _promoted(op, input, other)
    if not a.dtype.is_floating_point:
        return larger(a, b)
    # The smaller-or-equal test of PyTorch: ties and NaN give the gradient to the first.
    first = (a >= b) if larger is _core.maximum else (a <= b)
    return _core.where(first | (b != b), a, b)


@with_out
@method
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of both; a NaN only where both are."""
    return _extreme("fmax", input, other, _core.maximum)


@with_out
@method
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of both; a NaN only where both are."""
    return _extreme("fmin", input, other, _core.minimum)


def _log_of_sum(op: str, input: Tensor, other: Tensor, log1p: Any) -> Tensor:
    need_tensor(op, "other", other)
    a, b = _promoted(op, input, other)
    if not a.dtype.is_floating_point:
        raise NotImplementedError(f"{op}: not implemented for {a.dtype}")
    # Equal infinities have no difference; their sum is themselves.
    same = (a == b) & _core.isinf(a)
    first = a >= b
    high, low = _core.where(first, a, b), _core.where(first, b, a)
    gap = _core.where(same, _core.zeros_like(high), low - high)
    return _core.where(same, high, log1p(gap) + high)


@with_out
@method
@shown_as("LogaddexpBackward0")
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """ln(e^input + e^other), without overflow."""
    return _log_of_sum("logaddexp", input, other, lambda gap: _core.log1p(_core.exp(gap)))


@with_out
@method
@shown_as("Logaddexp2Backward0")
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log₂(2^input + 2^other), without overflow."""
    return _log_of_sum("logaddexp2", input, other, lambda gap: _core.log1p(_core.exp2(gap)) / math.log(2))


@with_out
def xlogy(input: Any, other: Any) -> Tensor:
    """input · ln(other), 0 where input is 0; NaN where other is NaN."""
    a, b = _promoted("xlogy", input, other)
    a, b = _floating(a), _floating(b)
    zero = (a == 0) & (b == b)
    return _core.where(zero, _core.zeros_like(a), a * _core.log(_core.where(zero, _core.ones_like(b), b)))


with_inplace(xlogy)


@with_out
@with_inplace
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0 and of NaN, 1 above, `values` at 0."""
    need_tensor("heaviside", "values", values)
    if input.dtype != values.dtype:
        raise RuntimeError(
            f"heaviside: is not yet implemented for tensors with different dtypes, got {input.dtype} and {values.dtype}"
        )
    x = input.detach()
    step = (x > 0).to(x.dtype)
    return _core.where(x == 0, values.detach(), step)


@with_out
def float_power(input: Any, exponent: Any) -> Tensor:
    """pow in float64."""
    if not isinstance(input, Tensor) and not isinstance(exponent, Tensor):
        raise TypeError(f"float_power: one argument must be a Tensor, got {input!r} and {exponent!r}")
    base = input.double() if isinstance(input, Tensor) else float(input)
    power = exponent.double() if isinstance(exponent, Tensor) else float(exponent)
    return _core.pow(base, power)


def _float_power_inplace(input: Tensor, exponent: Any) -> Tensor:
    """`float_power`, written into the tensor, which must be float64."""
    if input.dtype != _core.float64:
        raise RuntimeError(
            f"float_power_: the base given to float_power_ has dtype {input.dtype} but the "
            f"operation's result requires dtype torch.float64"
        )
    return input.copy_(float_power(input, exponent))


method(float_power)
add("float_power_", _float_power_inplace)


@with_out
@with_inplace
def ldexp(input: Tensor, other: Any) -> Tensor:
    """input · 2^other."""
    need_tensor("ldexp", "input", input)
    need_tensor("ldexp", "other", other)
    return input * _core.pow(2.0, other)


# comparisons of whole tensors


@method
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol · |other|, or both are equal (infinities), or both NaN with
    `equal_nan`."""
    need_tensor("isclose", "other", other)
    if input.dtype != other.dtype:
        raise DTypeError(f"isclose: {input.dtype} did not match {other.dtype}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise RuntimeError(f"isclose: {name} must be greater than or equal to zero, but got {value}")
    with no_grad():
        close = input == other
        if equal_nan and input.dtype.is_floating_point:
            close = close | ((input != input) & (other != other))
        if rtol == 0 and atol == 0:
            return close
        other = _floating(other)
        gap = _core.abs(_floating(input) - other)
        return close | (_core.isfinite(gap) & (gap <= atol + _core.abs(rtol * other)))


@method
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether isclose holds for all elements."""
    need_tensor("allclose", "other", other)
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@method
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and equal elements; NaN equals nothing."""
    need_tensor("equal", "other", other)
    return input.shape == other.shape and bool((input.detach() == other.detach()).all())


@method
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    need_tensor("is_same_size", "other", other)
    return input.shape == other.shape


def _comparison(name: str) -> None:
    compare = getattr(_core, name)

    def write(input: Tensor, other: Any) -> Tensor:
        return input.copy_(compare(input, other).to(input.dtype))

    write.__name__ = write.__qualname__ = f"{name}_"
    write.__doc__ = f"`{name}`, written into the tensor as 0 and 1."
    add(f"{name}_", write)


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _comparison(_name)
for _alias, _name in _core._aliases().items():
    if hasattr(Tensor, f"{_name}_") and not hasattr(Tensor, f"{_alias}_"):
        add(f"{_alias}_", getattr(Tensor, f"{_name}_"))
del _alias, _name
