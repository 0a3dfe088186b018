"""Of sampled signals: derivatives by differences, histograms with their edges, windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import as_array, method, named, need_tensor, wrap_dim

__all__ = [
    "bartlett_window", "blackman_window", "gradient", "hamming_window", "hann_window", "histogram", "kaiser_window",
]  # fmt: skip


def _along(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    return x.narrow(dim, start, stop - start)


def _slope(x: Tensor, dim: int, spacing: Any, edge_order: int) -> Tensor:
    """Central differences inside, one-sided ones of edge_order at both ends. (Fornberg, 1988)"""
    n = x.shape[dim]
    shape = [-1 if d == dim else 1 for d in range(x.dim())]
    if isinstance(spacing, Tensor):
        steps = spacing.diff().to(x.dtype).reshape(shape)
    else:
        steps = _core.full((n - 1,), float(spacing), dtype=x.dtype).reshape(shape)
    slopes = x.diff(dim=dim) / steps
    before, after = _along(steps, dim, 0, n - 2), _along(steps, dim, 1, n - 1)
    left, right = _along(slopes, dim, 0, n - 2), _along(slopes, dim, 1, n - 1)
    if isinstance(spacing, Tensor):
        inner = (left * after + right * before) / (before + after)
    else:
        inner = (_along(x, dim, 2, n) - _along(x, dim, 0, n - 2)) / (2 * float(spacing))
    first, last = _along(slopes, dim, 0, 1), _along(slopes, dim, n - 2, n - 1)
    if edge_order == 2:
        ha, hb = _along(steps, dim, 0, 1), _along(steps, dim, 1, 2)
        first = first - (_along(slopes, dim, 1, 2) - first) / (ha + hb) * ha
        hc, hd = _along(steps, dim, n - 2, n - 1), _along(steps, dim, n - 3, n - 2)
        last = last + (last - _along(slopes, dim, n - 3, n - 2)) / (hc + hd) * hc
    return _core.cat([first, inner, last], dim)


def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The derivative along each dim, or those in `dim`, from samples.

    `spacing` is the distance of neighbours (1), one for each dim, or for each dim a 1-d tensor of coordinates.

    Raises:
        RuntimeError: another edge_order than 1 and 2, other counts than of dims, fewer than edge_order + 1 samples.
    """
    need_tensor("gradient", "input", input)
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient: only supports edge_order=1 and edge_order=2, got {edge_order}")
    chosen = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [wrap_dim("gradient", d, input.dim()) for d in chosen]
    if twice := [d for d in dims if dims.count(d) > 1]:
        raise RuntimeError(f"gradient: dim {twice[0]} appears multiple times in the list of dims")
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [1 if spacing is None else spacing] * len(dims)
    if len(spacings) != len(dims):
        raise RuntimeError(f"gradient: expected spacing to be one number or {len(dims)}, got {len(spacings)}")
    for d, step in zip(dims, spacings, strict=True):
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(f"gradient: dim {d} needs at least edge_order + 1 samples, got {input.shape[d]}")
        if isinstance(step, Tensor) and tuple(step.shape) != (input.shape[d],):
            raise RuntimeError(f"gradient: spacing of dim {d} must have shape ({input.shape[d]},)")
    x = input if input.dtype.is_floating_point else input.to(_core.get_default_dtype())
    return tuple(_slope(x, d, step, edge_order) for d, step in zip(dims, spacings, strict=True))


@method
def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """(hist, bin_edges): how many elements, or how much weight, lie between neighbouring edges, the last included.

    Args:
        bins: how many, of equal width between the ends of `range` (the extremes), or increasing edges.
        density: whether hist is divided so that its integral is 1.
    """
    import numpy as np

    need_tensor("histogram", "input", input)
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"histogram: not implemented for {input.dtype}")
    if weight is not None and weight.shape != input.shape:
        raise RuntimeError(f"histogram: if weight is given it must have the shape of input, got {tuple(weight.shape)}")
    x = as_array(input).reshape(-1)
    if isinstance(bins, Tensor):
        if range is not None:
            raise TypeError("histogram: range goes with a number of bins, not with edges")
        edges = bins
    else:
        if bins <= 0:
            raise RuntimeError(f"histogram: bins must be positive, got {bins}")
        low, high = range if range is not None else (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
        if low > high or not math.isfinite(high - low):
            raise RuntimeError(f"histogram: range [{low}, {high}] is not finite, or empty")
        if low == high and range is None:
            low, high = low - 0.5, high + 0.5
        edges = _core.linspace(low, high, bins + 1, dtype=input.dtype)
    ends = as_array(edges)
    at = np.searchsorted(ends, x, side="right") - 1
    at[x == ends[-1]] = ends.size - 2
    inside = (at >= 0) & (at < ends.size - 1)
    heights = None if weight is None else as_array(weight).reshape(-1)[inside].astype(np.float64)
    found = _core.tensor(np.bincount(at[inside], heights, minlength=ends.size - 1), dtype=input.dtype)
    if density:
        found = found / found.sum() / edges.diff()
    return named("histogram", found, edges)


def _window(n: int, periodic: bool, value: Callable[[Tensor, int], Tensor], dtype: Any, requires_grad: bool) -> Tensor:
    if n < 0:
        raise RuntimeError(f"window: window_length must be non-negative, got {n}")
    kind = dtype or _core.get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"window: expects floating point dtypes, got {dtype}")
    size = n + 1 if periodic else n
    y = _core.ones(n, dtype=kind) if n <= 1 else value(_core.arange(size, dtype=kind), size)[:n].contiguous()
    return y.requires_grad_() if requires_grad else y


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **layout: Any
) -> Tensor:
    """(1 - cos(2πk / (n - 1))) / 2; `periodic` leaves out the last of one more."""
    return hamming_window(window_length, periodic, 0.5, 0.5, dtype=dtype, requires_grad=requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    **layout: Any,
) -> Tensor:
    """alpha - beta · cos(2πk / (n - 1)); `periodic` leaves out the last of one more."""

    def value(k: Tensor, n: int) -> Tensor:
        return (k * (2 * math.pi / (n - 1))).cos() * -beta + alpha

    return _window(window_length, periodic, value, dtype, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **layout: Any
) -> Tensor:
    """0.42 - 0.5 cos(2πk / (n - 1)) + 0.08 cos(4πk / (n - 1)); `periodic` leaves out the last of one more."""

    def value(k: Tensor, n: int) -> Tensor:
        k = k * (math.pi / (n - 1))
        return (k * 4).cos() * 0.08 - (k * 2).cos() * 0.5 + 0.42

    return _window(window_length, periodic, value, dtype, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **layout: Any
) -> Tensor:
    """A triangle from 0 to 1 and back; `periodic` leaves out the last of one more."""

    def value(k: Tensor, n: int) -> Tensor:
        k = k * (2 / (n - 1))
        return _core.minimum(k, 2 - k)

    return _window(window_length, periodic, value, dtype, requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    **layout: Any,
) -> Tensor:
    """I₀(beta · √(1 - (2k / (n - 1) - 1)²)) / I₀(beta); `periodic` leaves out the last of one more."""
    import numpy as np

    def value(k: Tensor, n: int) -> Tensor:
        at = as_array(k).astype(np.float64) * 2 / (n - 1) - 1
        return _core.tensor(np.i0(beta * np.sqrt(np.maximum(1 - at**2, 0))) / np.i0(beta), dtype=k.dtype)

    return _window(window_length, periodic, value, dtype, requires_grad)
