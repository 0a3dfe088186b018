"""Pooling: the largest element or the mean of each window, made of slices, as convolutions are."""

from __future__ import annotations

from math import prod
from typing import Any

from unspool import _core
from unspool._functions.dtypes import iinfo
from unspool._naming import shown_as
from unspool.errors import ShapeError
from unspool.nn._convolution import sizes, windows
from unspool.nn._padding import pad

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip


class _Grid:
    """Where the windows of one call lie: sizes of the kernel and the result, and what is padded before and after."""

    def __init__(
        self, op: str, n: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> None:
        if not isinstance(input, _core.Tensor):
            raise TypeError(f"{op}: input must be a Tensor, got {type(input).__name__}")
        if input.dim() not in (n + 1, n + 2):
            raise ShapeError(f"{op}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
        self.kernel = sizes(op, "kernel_size", kernel, n)
        self.stride = self.kernel if stride is None or stride in ([], ()) else sizes(op, "stride", stride, n)
        self.padding, self.dilation = sizes(op, "padding", padding, n, 0), sizes(op, "dilation", dilation, n)
        self.out: list[int] = []
        self.around: list[int] = []
        shape = input.shape[-n:]
        for size, k, step, p, gap in zip(shape, self.kernel, self.stride, self.padding, self.dilation, strict=True):
            reach = gap * (k - 1) + 1
            if 2 * p > reach:
                raise RuntimeError(f"{op}: pad should be at most half of effective kernel size, but got pad={p}, {k=}")
            spare = size + 2 * p - reach
            n_out = (spare + (step - 1 if ceil_mode else 0)) // step + 1
            if ceil_mode and (n_out - 1) * step >= size + p:  # the last window must start inside
                n_out -= 1
            if n_out < 1 or size == 0:
                raise ShapeError(f"{op}: input has shape {tuple(input.shape)}; the output would be too small")
            self.out.append(n_out)
            self.around = [p, max(p, (n_out - 1) * step + reach - size - p), *self.around]
        self.shape = list(shape)

    def parts(self, input: Any, value: float) -> list[Any]:
        x = pad(input, self.around, value=value) if any(self.around) else input
        return windows(x, self.kernel, self.out, self.stride, self.dilation)

    def numbers(self) -> Any:
        """The number, in the input, of the element at each place of each window: int64 (places, *out)."""
        every = _core.arange(prod(self.shape)).reshape(self.shape)
        return _core.stack(self.parts(every, 0))


def _max_pool(n: int, input: Any, k: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: bool) -> Any:
    op = f"max_pool{n}d"
    grid = _Grid(op, n, input, k, stride, padding, dilation, ceil)
    if 0 in input.shape[-n - 1 :]:
        raise ShapeError(
            f"{op}: Expected input's non-batch dimensions to have positive length, got shape {tuple(input.shape)}"
        )
    least = float("-inf") if input.dtype.is_floating_point else iinfo(input.dtype).min
    y, which = _core.stack(grid.parts(input, least), -n - 1).max(-n - 1)
    if not indices:
        return y
    return y, grid.numbers().expand(*y.shape[:-n], *[-1] * (n + 1)).gather(-n - 1, which.unsqueeze(-n - 1)).squeeze(
        -n - 1
    )


def _avg_pool(n: int, input: Any, k: Any, stride: Any, padding: Any, ceil: bool, whole: bool, divisor: Any) -> Any:
    op = f"avg_pool{n}d"
    if divisor == 0:
        raise RuntimeError(f"{op}: divisor must be not zero")
    grid = _Grid(op, n, input, k, stride, padding, 1, ceil)
    parts = grid.parts(input, 0.0)
    total = (parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])).contiguous()
    if divisor:
        return _divided(total, divisor)
    before = grid.padding
    plain = all(a == b for a, b in zip(grid.around[::2], grid.around[1::2], strict=True))
    if plain and (whole or not any(before)):
        return _divided(total, prod(grid.kernel))
    counts: Any = 1
    for d, (size, length, step, p, n_out) in enumerate(
        zip(grid.shape, grid.kernel, grid.stride, before, grid.out, strict=True)
    ):
        low, high = (-p, size + p) if whole else (0, size)
        starts = [i * step - p for i in range(n_out)]
        count = [min(at + length, high) - max(at, low) for at in starts]
        counts = counts * _core.tensor(count, dtype=input.dtype).reshape(-1, *(1,) * (n - 1 - d))
    return _divided(total, counts)


def _divided(total: Any, by: Any) -> Any:
    return total / by if total.dtype.is_floating_point else total.div(by, rounding_mode="trunc")


@shown_as("SqueezeBackward1")
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of the last dim; the first of equal ones gets the gradient.

    `stride` is the kernel's size where it is None. With return_indices their places in the input, too.

    Raises:
        RuntimeError: more padding than half a kernel.
        ShapeError: no room for one window.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@shown_as("MaxPool2DWithIndicesBackward0")
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` over images (N, C, H, W)."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@shown_as("MaxPool3DWithIndicesBackward0")
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` over volumes (N, C, D, H, W)."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@shown_as("SqueezeBackward1")
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of the last dim; padded zeros count unless count_include_pad is False."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@shown_as("AvgPool2DBackward0")
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool1d` over images; the sums are divided by `divisor_override` where it is given."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@shown_as("AvgPool3DBackward0")
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool1d` over volumes; the sums are divided by `divisor_override` where it is given."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _wanted(op: str, n: int, input: Any, output_size: Any) -> list[int]:
    if input.dim() not in (n + 1, n + 2):
        raise ShapeError(f"{op}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if len(given) != n:
        raise RuntimeError(f"{op}: output_size must be one int or {n}, got {output_size!r}")
    return [size if want is None else want for want, size in zip(given, input.shape[-n:], strict=True)]


def _bounds(size: int, out: int) -> list[tuple[int, int]]:
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _adaptive_avg(n: int, input: Any, output_size: Any) -> Any:
    """The mean over a box is the mean of means: one small product a dim."""
    y = input
    for d, out in enumerate(_wanted(f"adaptive_avg_pool{n}d", n, input, output_size)):
        dim = d - n
        size = y.shape[dim]
        if out == 1:
            y = y.mean(dim, keepdim=True)
        elif out != size:
            rows = [[1 / (b - a) if a <= j < b else 0.0 for j in range(size)] for a, b in _bounds(size, out)]
            y = (y.movedim(dim, -1) @ _core.tensor(rows, dtype=y.dtype).t()).movedim(-1, dim)
    return y.contiguous()


def _adaptive_max(n: int, input: Any, output_size: Any, indices: bool) -> Any:
    out = _wanted(f"adaptive_max_pool{n}d", n, input, output_size)
    boxes: list[tuple[tuple[int, int], ...]] = [()]
    for size, want in zip(input.shape[-n:], out, strict=True):
        boxes = [(*box, bounds) for box in boxes for bounds in _bounds(size, want)]
    number = _core.arange(prod(input.shape[-n:])).reshape(input.shape[-n:])
    values, places = [], []
    for box in boxes:
        at = tuple(slice(a, b) for a, b in box)
        y, which = input[(..., *at)].flatten(-n).max(-1)
        values.append(y)
        places.append(number[at].flatten()[which])
    y = _core.stack(values, -1).reshape(*input.shape[:-n], *out)
    return (y, _core.stack(places, -1).reshape(y.shape)) if indices else y


@shown_as("AdaptiveAvgPool2DBackward0")
def _name_2d(y: Any) -> Any:
    return y


@shown_as("AdaptiveAvgPool3DBackward0")
def _name_3d(y: Any) -> Any:
    return y


@shown_as("SqueezeBackward1")
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Means over as many windows as output_size says; window i reaches from ⌊i·L/out⌋ to ⌈(i+1)·L/out⌉."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool1d` over images; an entry None keeps the size."""
    y = _adaptive_avg(2, input, output_size)
    return y if y.shape[-2:].numel() == 1 else _name_2d(y)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool1d` over volumes; an entry None keeps the size."""
    y = _adaptive_avg(3, input, output_size)
    return y if y.shape[-3:].numel() == 1 else _name_3d(y)


@shown_as("SqueezeBackward1")
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of the windows of `adaptive_avg_pool1d`."""
    return _adaptive_max(1, input, output_size, return_indices)


@shown_as("AdaptiveMaxPool2DBackward0")
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of the windows of `adaptive_avg_pool2d`."""
    return _adaptive_max(2, input, output_size, return_indices)


@shown_as("AdaptiveMaxPool3DBackward0")
def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of the windows of `adaptive_avg_pool3d`."""
    return _adaptive_max(3, input, output_size, return_indices)


def _lp_pool(n: int, input: Any, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool) -> Any:
    op = f"lp_pool{n}d"
    powers = _avg_pool(n, input.pow(norm_type), kernel, stride, 0, ceil_mode, True, None)
    total = powers.sign() * powers.abs().relu() * prod(sizes(op, "kernel_size", kernel, n))
    return total.pow(1.0 / norm_type)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(Σ x^p)^(1/p) of each window, p being norm_type."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """`lp_pool1d` over images."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """`lp_pool1d` over volumes."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(n: int, input: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any) -> Any:
    op = f"max_unpool{n}d"
    if indices.dtype != _core.int64:
        raise RuntimeError(f"{op}: elements in indices should be type int64 but got: {indices.dtype}")
    if input.dim() not in (n + 1, n + 2):
        raise ShapeError(f"{op}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    if indices.shape != input.shape:
        raise ShapeError(
            f"{op}: expected shape of indices to be same as that of the input tensor {tuple(input.shape)}, but got "
            f"{tuple(indices.shape)}"
        )
    kernel, padding = sizes(op, "kernel_size", kernel, n), sizes(op, "padding", padding, n, 0)
    stride = kernel if stride is None or stride in ([], ()) else sizes(op, "stride", stride, n)
    out = [(s - 1) * t - 2 * p + k for s, t, p, k in zip(input.shape[-n:], stride, padding, kernel, strict=True)]
    if output_size is not None:
        wanted = list(output_size)
        if len(wanted) not in (n, n + 2):
            raise ValueError(f"{op}: output_size should be a sequence containing {n} or {n + 2} elements, got {wanted}")
        wanted = wanted[-n:]
        if any(not d - t < w < d + t for w, d, t in zip(wanted, out, stride, strict=True)):
            raise ValueError(f"{op}: invalid output_size {wanted}; it must be within {tuple(stride)} of {out}")
        out = wanted
    flat = _core.zeros((*input.shape[:-n], prod(out)), dtype=input.dtype)
    return flat.scatter(-1, indices.flatten(-n), input.flatten(-n)).reshape(*input.shape[:-n], *out)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """What `max_pool1d` picked, put back where its indices say; zeros elsewhere.

    Raises:
        RuntimeError: an index outside of the result.
        ValueError: an output_size that no input of that pooling has.
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """`max_unpool1d` over images."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """`max_unpool1d` over volumes."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
