"""Counting and searching: unique elements, histograms, places in sorted order. Without derivatives; NumPy does the
work."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import as_array, method, named, need_tensor, with_out, wrap_dim
from unspool._naming import shown_as

__all__ = [
    "bincount",
    "bucketize",
    "histc",
    "isin",
    "mode",
    "searchsorted",
    "unique",
    "unique_consecutive",
]


def _int64(a: Any, shape: Any = None) -> Tensor:
    import numpy as np

    t = _core.tensor(np.ascontiguousarray(a), dtype=_core.int64)
    return t if shape is None else t.reshape(list(shape))


def _results(values: Tensor, inverse: Tensor | None, counts: Tensor | None) -> Any:
    extra = [x for x in (inverse, counts) if x is not None]
    return (values, *extra) if extra else values


@method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in order, or the different slices along dim; on request where each element went and
    how often each value stands. Each NaN is different."""
    import numpy as np

    x = as_array(input)
    axis = None if dim is None else wrap_dim("unique", dim, input.dim())
    if axis is not None and input.dim() and 0 in x.shape and x.shape[axis] != 0:
        raise RuntimeError(
            f"unique: There are 0 sized dimensions, and they aren't selected, got shape {tuple(x.shape)}"
        )
    values, inverse, counts = np.unique(
        x, return_inverse=True, return_counts=True, axis=axis if input.dim() else None, equal_nan=False
    )
    return _results(
        _core.tensor(np.ascontiguousarray(values), dtype=input.dtype),
        _int64(inverse, input.shape if dim is None else (-1,)) if return_inverse else None,
        _int64(counts) if return_counts else None,
    )


@method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along dim, without those that equal the one before."""
    import numpy as np

    x = as_array(input)
    axis = 0 if dim is None else wrap_dim("unique_consecutive", dim, input.dim())
    rows = x.reshape(-1) if dim is None or input.dim() == 0 else np.moveaxis(x, axis, 0)
    n = rows.shape[0]
    flat = rows.reshape(n, -1) if rows.size else np.zeros((n, 1))
    new = np.ones(n, dtype=bool)
    new[1:] = (flat[1:] != flat[:-1]).any(1)
    starts = np.flatnonzero(new)
    values = rows[starts]
    if dim is not None and input.dim():
        values = np.moveaxis(values, 0, axis)
    return _results(
        _core.tensor(np.ascontiguousarray(values), dtype=input.dtype),
        _int64(np.cumsum(new) - 1, input.shape if dim is None else (-1,)) if return_inverse else None,
        _int64(np.diff(np.append(starts, n))) if return_counts else None,
    )


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, … stands in a 1-d tensor of integers, or the sums of their weights (float64)."""
    import numpy as np

    if input.dim() != 1 or input.dtype.is_floating_point or bool((input < 0).any()):
        raise RuntimeError(
            f"bincount: only supports 1-d non-negative integral inputs, got {input.dtype} of shape {tuple(input.shape)}"
        )
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, got {minlength}")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(
            f"bincount: weights should be 1-d and have the same length as input, got "
            f"{tuple(weights.shape)} and {tuple(input.shape)}"
        )
    counts = np.bincount(as_array(input), None if weights is None else as_array(weights), minlength)
    if weights is None:
        return _int64(counts)
    return _core.tensor(counts, dtype=weights.dtype if weights.dtype == _core.float32 else _core.float64)


@with_out
@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of so many bins between min and max (the extremes where both are equal)."""
    import numpy as np

    if not input.dtype.is_floating_point:
        raise RuntimeError(f"histc: not implemented for {input.dtype}")
    if not isinstance(bins, int) or bins <= 0:
        raise RuntimeError(f"histc: bins must be > 0, got {bins!r}")
    x = as_array(input).reshape(-1)
    low, high = float(min), float(max)
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"histc: max must be larger than min, got min={low}, max={high}")
    inside = x[(x >= low) & (x <= high)]
    kind = x.dtype.type
    at = ((inside - kind(low)) / (kind(high) - kind(low)) * kind(bins)).astype(np.int64)
    counts = np.bincount(np.minimum(at, bins - 1), minlength=bins)
    return _core.tensor(counts.astype(x.dtype), dtype=input.dtype)


@with_out
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would stand in the sorted last dim: before equal elements, or behind them with `right`.

    A 1-d sequence serves values of any shape; else all dims but the last are the same.
    """
    import numpy as np

    need_tensor("searchsorted", "sorted_sequence", sorted_sequence)
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted: side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "searchsorted: side and right can't be set to opposites, got side of left while right was True"
        )
    behind = right or side == "right"
    values = input if isinstance(input, Tensor) else _core.tensor(input)
    seq, x = sorted_sequence, values
    if seq.dim() == 0:
        raise RuntimeError("searchsorted: input sorted_sequence must have at least one dimension")
    if seq.dim() > 1 and (x.dim() != seq.dim() or x.shape[:-1] != seq.shape[:-1]):
        raise RuntimeError(
            "searchsorted: boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and "
            f"input value tensor must match, but we got boundaries tensor {tuple(seq.shape)} "
            f"and input value tensor {tuple(x.shape)}"
        )
    if isinstance(input, Tensor) and x.dtype != seq.dtype and x.dim() > 0:
        raise RuntimeError(
            f"searchsorted: boundary tensor and input value tensor should have same dtype, but "
            f"got boundary tensor's dtype {seq.dtype} and "
            f"input value tensor's dtype {x.dtype}"
        )
    if sorter is not None:
        need_tensor("searchsorted", "sorter", sorter)
        if sorter.shape != seq.shape or sorter.dtype != _core.int64:
            raise RuntimeError(
                f"searchsorted: sorter must be int64 of the sequence's shape {tuple(seq.shape)}, "
                f"got {sorter.dtype} of {tuple(sorter.shape)}"
            )
        if seq.numel() and not bool(((sorter >= 0) & (sorter < seq.shape[-1])).all()):
            raise RuntimeError("searchsorted: sorter index out of range")
        seq = _core.gather(seq.detach(), -1, sorter)
    a, b = as_array(seq), as_array(x)
    name: Any = "right" if behind else "left"
    if a.ndim == 1:
        at = np.searchsorted(a, b, name)
    else:
        rows = [
            np.searchsorted(u, v, name)
            for u, v in zip(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]), strict=True)
        ]
        at = np.stack(rows).reshape(b.shape) if rows else np.zeros(b.shape, np.int64)
    result = _int64(at, x.shape)
    return result.int() if out_int32 else result


@with_out
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """searchsorted of the values in 1-d boundaries."""
    need_tensor("bucketize", "boundaries", boundaries)
    if boundaries.dim() != 1:
        raise RuntimeError(f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@with_out
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element stands among the test elements."""
    import numpy as np

    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError(f"isin: one argument must be a Tensor, got {elements!r} and {test_elements!r}")
    a, b = (as_array(x) if isinstance(x, Tensor) else np.asarray(x) for x in (elements, test_elements))
    hit = np.isin(a, b, invert=invert)
    return _core.tensor(np.ascontiguousarray(hit), dtype=_core.bool).reshape(list(hit.shape))


@with_out
@method
@shown_as("ModeBackward0")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent element along dim: of equally frequent ones the smallest, at its last
    place."""
    import numpy as np

    d = wrap_dim("mode", dim, input.dim())
    if input.dim() == 0:
        return named("mode", input.clone(), _core.zeros([], dtype=_core.int64))
    if input.shape[d] == 0:
        raise IndexError(
            f"mode: Expected reduction dim {d} to have non-zero size; input has shape {tuple(input.shape)}"
        )
    x = np.moveaxis(as_array(input), d, -1)
    rows = x.reshape(-1, x.shape[-1])
    at = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        found, counts = np.unique(row, return_counts=True)
        most = found[np.argmax(counts)]
        at[i] = np.flatnonzero((row == most) | ((row != row) & (most != most)))[-1]
    places = _int64(at, [*x.shape[:-1], 1]).movedim(-1, d).contiguous()
    values = _core.gather(input, d, places)
    if not keepdim:
        values, places = values.squeeze(d), places.squeeze(d)
    return named("mode", values, places)
