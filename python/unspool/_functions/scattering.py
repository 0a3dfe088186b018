"""Writes at indices that combine what meets in one place: scatter_reduce, index_reduce."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import need_tensor, with_inplace, with_out, wrap_dim
from unspool.autograd.function import Function

__all__ = ["index_reduce", "scatter_reduce"]

_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def _ones_at(base: Tensor, dim: int, index: Tensor, value: Tensor) -> Tensor:
    return _core.zeros_like(base, requires_grad=False).scatter_add(dim, index, value)


class _Extreme(Function):
    """amax, amin and prod: NumPy combines, the rule is written in operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
        import numpy as np

        f = {"amax": np.maximum, "amin": np.minimum, "prod": np.multiply}[reduce]
        y = x.detach().clone(memory_format=_core.contiguous_format)
        part = src.detach()[tuple(slice(0, n) for n in index.shape)]
        if not include_self:
            kind = y.dtype
            lowest = _core.tensor(1) if reduce == "prod" else _limit(kind, reduce == "amax")
            y.scatter_(dim, index, lowest.to(kind).expand(index.shape))
        at = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
        at[dim] = index.numpy()
        f.at(y.numpy(), tuple(at), part.numpy())
        ctx.save_for_backward(x, index, src, y)
        ctx.settings = dim, reduce, include_self
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, index, src, y = ctx.saved_tensors
        dim, reduce, include_self = ctx.settings
        part = src[tuple(slice(0, n) for n in index.shape)]
        rule = _pulled_prod if reduce == "prod" else _pulled_extreme
        gx, gpart = rule(g, x, dim, index, part, y, include_self)
        gsrc = gpart
        if part.shape != src.shape:
            gsrc = _core.zeros_like(src, requires_grad=False)
            gsrc[tuple(slice(0, n) for n in index.shape)] = gpart
        return gx, None, None, gsrc, None, None


def _limit(dtype: Any, lowest: bool) -> Tensor:
    from unspool._functions.dtypes import iinfo

    if dtype.is_floating_point:
        return _core.tensor(-float("inf") if lowest else float("inf"), dtype=dtype)
    if dtype == _core.bool:
        return _core.tensor(not lowest)
    return _core.tensor(iinfo(dtype).min if lowest else iinfo(dtype).max, dtype=dtype)


def _pulled_extreme(g: Tensor, x: Tensor, dim: int, index: Tensor, src: Tensor, y: Tensor, own: bool) -> Any:
    """Shared evenly by all that equal the extreme."""
    from_self = (x == y) if own else _untouched(x, dim, index)
    from_src = src == y.gather(dim, index)
    count = from_self.to(x.dtype) + _ones_at(x, dim, index, from_src.to(x.dtype))
    each = g / count.clamp(min=1)
    return each * from_self, each.gather(dim, index) * from_src


def _untouched(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return _ones_at(x, dim, index, _core.ones_like(index, dtype=x.dtype)) == 0


def _pulled_prod(g: Tensor, x: Tensor, dim: int, index: Tensor, src: Tensor, y: Tensor, own: bool) -> Any:
    """The product of the others: by division, of the product without its one zero where there is one."""
    ones = x.masked_fill(x == 0, 1)
    gx = g * scatter_reduce(ones, dim, index, src, "prod", include_self=True) / ones
    if not own:
        gx = gx * _untouched(x, dim, index)
    zero = src == 0
    count = _ones_at(x, dim, index, zero.to(x.dtype)).gather(dim, index)
    single = zero & (count == 1)
    rest = scatter_reduce(x, dim, index, src.masked_fill(single, 1), "prod", include_self=own)
    plain = (g * y).gather(dim, index) / src.masked_fill(zero, 1)
    at_zero = (g * rest).gather(dim, index)
    return gx, _core.where(single, at_zero, _core.where(count > 0, _core.zeros_like(plain), plain))


@with_out
@with_inplace
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with src's elements combined into the places that index names along dim.

    Args:
        reduce: 'sum', 'prod', 'mean', 'amax' or 'amin'.
        include_self: whether the elements that were there count, too.

    Raises:
        RuntimeError: shapes that don't fit, an index out of range, another reduction, dtypes that differ.
    """
    for name, x in (("input", input), ("index", index), ("src", src)):
        need_tensor("scatter_reduce", name, x)
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"scatter_reduce: reduce argument must be either {', '.join(_REDUCTIONS)}, got {reduce!r}")
    if input.dtype != src.dtype:
        raise RuntimeError(
            f"scatter_reduce: Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}"
        )
    d = wrap_dim("scatter_reduce", dim, input.dim())
    try:  # which checks shapes and indices
        touched = _core.zeros_like(input, requires_grad=False).scatter_add(d, index, _core.zeros_like(src))
    except (RuntimeError, IndexError) as error:
        raise type(error)(f"scatter_reduce: {error}") from None
    if input.dim() == 0:
        x, i, s = (t.reshape([1]) for t in (input, index, src))
        return scatter_reduce(x, 0, i, s, reduce, include_self=include_self).reshape([])
    if index.numel() == 0:
        return input.clone()
    if input.dtype.itemsize == 2:  # rounded once, as all operations on 16-bit floats
        return scatter_reduce(input.float(), d, index, src.float(), reduce, include_self=include_self).to(input.dtype)
    if reduce in ("sum", "mean"):
        base = input
        if not include_self:
            base = input.scatter(d, index, 0)
        total = base.scatter_add(d, index, src)
        if reduce == "sum":
            return total
        count = _core.ones_like(touched) if include_self else _core.zeros_like(touched)
        count = count.scatter_add(d, index, _core.ones_like(src, requires_grad=False)).clamp(min=1)
        if input.dtype.is_floating_point:
            return total / count
        return _core.div(total, count, rounding_mode="floor")
    return _Extreme.apply(input, d, index.long(), src, reduce, include_self)


@with_out
@with_inplace
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with source's slices combined into the slices that a 1-d index names along dim; reduce is 'prod', 'mean',
    'amax' or 'amin'."""
    for name, x in (("input", input), ("index", index), ("source", source)):
        need_tensor("index_reduce", name, x)
    if reduce not in _REDUCTIONS[1:]:
        raise RuntimeError(f"index_reduce: reduce argument must be either prod, mean, amax or amin, got {reduce!r}")
    d = wrap_dim("index_reduce", dim, input.dim())
    if index.dim() > 1 or index.numel() != (source.shape[d] if source.dim() else 1):
        raise IndexError(
            f"index_reduce: index must be a vector with an element for each slice of source, got shapes "
            f"{tuple(index.shape)} and {tuple(source.shape)}"
        )
    wide = index.reshape([-1 if i == d else 1 for i in range(source.dim())]).expand(source.shape)
    return scatter_reduce(input, dim, wide, source, reduce, include_self=include_self)
