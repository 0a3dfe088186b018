"""Pooling over windows that begin at random steps: Graham (2014), Fractional Max-Pooling."""

from __future__ import annotations

from math import prod
from typing import Any

from unspool import _core
from unspool.errors import ShapeError
from unspool.nn._convolution import sizes

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]  # fmt: skip


def _starts(sample: Any, size: int, out: int, k: int) -> Any:
    """Where `out` windows of k begin in `size`, by numbers of any shape in [0, 1): Graham (2014), pseudorandom."""
    number, shift = _core.arange(out), sample.unsqueeze(-1)
    if out == 1:
        return (number + (size - k)).expand(*sample.shape, 1)
    step = _core.full((), size - k, dtype=sample.dtype) / (out - 1)
    starts = ((number + shift) * step).to(_core.int64) - (shift * step).to(_core.int64)
    return _core.where(number == out - 1, size - k, starts)


def _fractional_max_pool(
    n: int, input: Any, kernel: Any, output_size: Any, output_ratio: Any, samples: Any
) -> tuple[Any, Any]:
    op = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{op} requires specifying either an output_size or an output_ratio")
    if not isinstance(input, _core.Tensor):
        raise TypeError(f"{op}: input must be a Tensor, got {type(input).__name__}")
    if input.dim() not in (n + 1, n + 2):
        raise ShapeError(f"{op}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    if 0 in x.shape[1:]:
        raise ShapeError(f"{op}: expected input with non-zero sizes behind the batch, got shape {tuple(input.shape)}")
    shape, kernel = x.shape[2:], sizes(op, "kernel_size", kernel, n)
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        if len(ratios) != n:
            raise ValueError(f"{op}: output_ratio must be one number or {n}, got {output_ratio!r}")
        output_size = [int(size * ratio) for size, ratio in zip(shape, ratios, strict=True)]
    out = sizes(op, "output_size", output_size, n, 0)
    for size, k, o in zip(shape, kernel, out, strict=True):
        if o + k - (n == 2) > size:  # of volumes PyTorch does not take a window at each place
            raise RuntimeError(f"{op}: kernel_size {kernel} is too large for input of shape {tuple(input.shape)}")
    if samples is None:
        samples = _core.rand(*x.shape[:2], n, dtype=input.dtype)
    elif samples.dtype != input.dtype:
        raise RuntimeError(f"{op}: _random_samples must be of the input's dtype {input.dtype}, got {samples.dtype}")
    elif samples.dim() != 3 or samples.shape[0] < len(x) or tuple(samples.shape[1:]) != (x.shape[1], n):
        raise ShapeError(
            f"{op}: _random_samples must be of shape {(*x.shape[:2], n)}, or more rows, got {tuple(samples.shape)}"
        )
    samples = samples[: len(x)]
    places: Any = 0
    for d, (size, k, o) in enumerate(zip(shape, kernel, out, strict=True)):
        sample = samples[:, :, n - 1 - d if n == 2 else d]  # of images the first number is the width's
        along = _starts(sample, size, o, k).unsqueeze(-1) + _core.arange(k)
        ones = [1] * n
        ones[d] = o
        within = [1] * n
        within[d] = k
        places = places * size + along.reshape(*x.shape[:2], *ones, *within)
    places = places.reshape(*x.shape[:2], prod(out), prod(kernel))
    found = x.flatten(2).gather(2, places.flatten(2)).reshape(places.shape).max(-1)
    picked = places.gather(-1, found.indices.unsqueeze(-1)).squeeze(-1)
    result = (*input.shape[:-n], *out)
    return found.values.reshape(result), picked.reshape(result)


def fractional_max_pool2d_with_indices(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> tuple[Any, Any]:
    """`fractional_max_pool2d` with return_indices."""
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> tuple[Any, Any]:
    """`fractional_max_pool3d` with return_indices."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """The largest element of windows that begin at random steps, images (N, C, H, W) or (C, H, W) to output_size.

    Args:
        output_size: one int, or one for each dim; or output_ratio, the share of the input's size.
        return_indices: whether the elements' places in the input are a second result.
        _random_samples: (N, C, 2) numbers in [0, 1), drawn where they are None.

    Raises:
        ValueError: neither a size nor a ratio.
        RuntimeError: windows that do not fit into the input.
    """
    values, places = _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return (values, places) if return_indices else values


def fractional_max_pool3d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """`fractional_max_pool2d` over volumes; _random_samples is (N, C, 3)."""
    values, places = _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return (values, places) if return_indices else values
