"""What floating-point numbers are made of: mantissa and exponent, neighbours, the angle of a real number."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import as_array, method, named, need_tensor, with_inplace, with_out
from unspool._functions.elementwise import ldexp
from unspool._functions.grids import broadcast_tensors
from unspool.autograd.function import Function

__all__ = ["angle", "frexp", "nextafter"]


class _Mantissa(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: Tensor) -> Tensor:
        import numpy as np

        ctx.save_for_backward(exponent)
        return _core.tensor(np.frexp(as_array(x))[0], dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (exponent,) = ctx.saved_tensors
        return ldexp(g, -exponent), None


@method
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent), x = mantissa · 2^exponent with a mantissa in [1/2, 1) or 0; exponents are int32.

    Raises:
        RuntimeError: input is not of a floating dtype.
    """
    need_tensor("frexp", "input", input)
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"frexp: input must be of a floating dtype, got {input.dtype}")
    import numpy as np

    exponent = _core.tensor(np.frexp(as_array(input))[1].astype(np.int32), dtype=_core.int32)
    return named("frexp", _Mantissa.apply(input, exponent), exponent)


def _next_bfloat16(x: Any, towards: Any) -> Any:
    """Of float32 arrays that hold bfloat16: the bits of a neighbour are those of the number, one more or one less."""
    import numpy as np

    up = (towards > x) == (x > 0)
    bits = x.view(np.uint32) + np.where(up, 0x10000, -0x10000).astype(np.uint32)
    from_zero = np.copysign(np.uint32(0x10000).view(np.float32), towards)
    found = np.where(x == 0, from_zero, bits.view(np.float32))
    return np.where(x == towards, towards, np.where(np.isnan(x) | np.isnan(towards), np.float32(np.nan), found))


class _Next(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, towards: Tensor) -> Tensor:
        import numpy as np

        ctx.save_for_backward(x == towards)
        following = _next_bfloat16 if x.dtype == _core.bfloat16 else np.nextafter
        found = following(*(np.asarray(as_array(t), order="C") for t in (x, towards)))
        return (x + towards).copy_(_core.tensor(found))  # which lies in memory as results of two operands do

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        (same,) = ctx.saved_tensors
        return g * ~same, g * same


@with_inplace
@with_out
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The number that comes next to input towards other (IEEE 754); its gradient is input's, or other's where equal.

    Raises:
        NotImplementedError: operands of integers or bools.
    """
    need_tensor("nextafter", "input", input)
    need_tensor("nextafter", "other", other)
    dtype = _core.result_type(input, other)
    if not dtype.is_floating_point:
        raise NotImplementedError(f"nextafter: not implemented for {dtype}")
    return _Next.apply(*broadcast_tensors(input.to(dtype), other.to(dtype)))


@method
@with_out
def angle(input: Tensor) -> Tensor:
    """0 of a number that is not negative, π of a negative one, NaN of NaN; its gradient is 0."""
    need_tensor("angle", "input", input)
    x = input if input.dtype.is_floating_point else input.to(_core.get_default_dtype())
    return _core.where(x < 0, math.pi, _core.where(x != x, x, _core.zeros_like(x)))
