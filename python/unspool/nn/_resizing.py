"""Images made larger or smaller: `interpolate`; and what moves elements between channels and places."""

from __future__ import annotations

import warnings
from math import floor, prod
from typing import Any

import numpy as np

from unspool import _core
from unspool._naming import shown_as
from unspool.errors import ShapeError
from unspool.nn._convolution import sizes, windows
from unspool.nn._padding import pad
from unspool.nn._pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = [
    "channel_shuffle", "fold", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold", "upsample",
    "upsample_bilinear", "upsample_nearest",
]  # fmt: skip

_SMOOTH = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
_NEAREST = ("nearest", "nearest-exact")


def _shown(mode: str, n: int, y: Any) -> Any:
    exact = "Exact" if mode == "nearest-exact" else ""
    kind = f"Nearest{exact}{n}D" if mode in _NEAREST else f"{mode.capitalize()}{n}D"
    _core._show_as(y, _core._number_of_name(f"Upsample{kind}Backward0"))
    return y


def _nearest(x: Any, dim: int, out: int, step: float, middle: bool) -> Any:
    at = np.floor((np.arange(out, dtype=np.float32) + np.float32(0.5 * middle)) * np.float32(step)).astype(np.int64)
    return x.index_select(dim, _core.tensor(np.minimum(at, x.shape[dim] - 1)))


def _linear(x: Any, dim: int, out: int, step: float, corners: bool) -> Any:
    size = x.shape[dim]
    if corners:
        at = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = np.maximum((np.arange(out) + 0.5) * step - 0.5, 0.0)
    low = np.minimum(at.astype(np.int64), size - 1)
    share = _core.tensor(at - low, dtype=x.dtype).reshape(-1, *(1,) * (x.dim() - 1 - dim))
    a, b = (x.index_select(dim, _core.tensor(i)) for i in (low, np.minimum(low + 1, size - 1)))
    return a * (1 - share) + b * share


def _cubic(x: Any, dim: int, out: int, step: float, corners: bool) -> Any:
    """Keys' kernel (1981) with a = -0.75 over the four nearest elements, the border's repeated."""
    size, a = x.shape[dim], -0.75
    at = (
        np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
        if corners
        else (np.arange(out) + 0.5) * step - 0.5
    )
    low = np.floor(at).astype(np.int64)
    y: Any = None
    for k in (-1, 0, 1, 2):
        d = np.abs(at - low - k)
        near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weight = _core.tensor(np.where(d <= 1, near, far), dtype=x.dtype).reshape(-1, *(1,) * (x.dim() - 1 - dim))
        part = x.index_select(dim, _core.tensor(np.clip(low + k, 0, size - 1))) * weight
        y = part if y is None else y + part
    return y


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Input (N, C, …) with other sizes in place of …: `size`, or scale_factor times those it has.

    Args:
        mode: 'nearest', 'nearest-exact', 'linear' (one dim), 'bilinear', 'bicubic', 'trilinear' or 'area'.
        align_corners: of the linear modes, whether the corners' centres stay where they are.

    Raises:
        ValueError: neither or both of size and scale_factor, or a number of them that doesn't fit the input.
        NotImplementedError: antialias, or a mode that does not go with the input's dims.
    """
    n = input.dim() - 2
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not supported")
    if n not in (1, 2, 3) or _SMOOTH.get(mode, n) != n or mode not in (*_SMOOTH, *_NEAREST, "area"):
        raise NotImplementedError(f"interpolate: mode={mode!r} does not go with an input of {input.dim()} dims")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: only one of size or scale_factor should be defined")
    if align_corners is not None and mode not in _SMOOTH:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    given = size if scale_factor is None else scale_factor
    each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * n
    if len(each) != n:
        raise ValueError(f"interpolate: size or scale_factor must have {n} entries, got {given!r}")
    shape = input.shape[2:]
    out = [int(s) for s in each] if scale_factor is None else [floor(s * f) for s, f in zip(shape, each, strict=True)]
    if min(out) <= 0 or 0 in input.shape[1:]:
        raise ShapeError(
            f"interpolate: input has shape {tuple(input.shape)}, the result would have {out}; sizes must be positive"
        )
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, out)
    y = input
    for d, (s, o) in enumerate(zip(shape, out, strict=True)):
        step = s / o if scale_factor is None or recompute_scale_factor else 1 / each[d]
        if mode in _NEAREST:
            y = _nearest(y, d + 2, o, step, mode == "nearest-exact")
        else:
            y = (_cubic if mode == "bicubic" else _linear)(y, d + 2, o, step, bool(align_corners))
    return _shown(mode, n, y)


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """`interpolate`, under its older name."""
    warnings.warn("`nn.functional.upsample` is deprecated; use `nn.functional.interpolate` instead", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate`, which repeats elements, under its older name."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated; use `interpolate` instead", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` between the corners' centres, under its older name."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated; use `interpolate` instead", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def channel_shuffle(input: Any, groups: int) -> Any:
    """(N, C, …) with its channels, seen as groups × C/groups, in the order C/groups × groups. (Zhang et al., 2018)"""
    if input.dim() < 3:
        raise ShapeError(f"channel_shuffle: expects input with > 2 dims, but got shape {tuple(input.shape)}")
    if groups < 1 or input.shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle: number of channels must be divisible by groups. Got {input.shape[1]} channels and "
            f"{groups} groups."
        )
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).contiguous().reshape(n, c, *rest)


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(…, C·r², H, W) as (…, C, H·r, W·r): channels become the pixels of r × r blocks. (Shi et al., 2016)"""
    r = upscale_factor
    if input.dim() < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle: expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor={r}, got shape {tuple(input.shape)}"
        )
    *rest, c, h, w = input.shape
    parts = input.reshape(*rest, c // (r * r), r, r, h, w)
    k = len(rest)
    return (
        parts.permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2).contiguous().reshape(*rest, c // (r * r), h * r, w * r)
    )


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """What undoes `pixel_shuffle`."""
    r = downscale_factor
    if input.dim() < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise ShapeError(
            f"pixel_unshuffle: expects height and width to be divisible by downscale_factor={r}, got shape "
            f"{tuple(input.shape)}"
        )
    *rest, c, h, w = input.shape
    parts = input.reshape(*rest, c, h // r, r, w // r, r)
    k = len(rest)
    return (
        parts.permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3).contiguous().reshape(*rest, c * r * r, h // r, w // r)
    )


@shown_as("Im2ColBackward0")
def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The patches of images (N, C, H, W) under a sliding kernel, as columns (N, C · places of the kernel, patches)."""
    if input.dim() not in (3, 4):
        raise ShapeError(f"unfold: expected a 3D or 4D input, got shape {tuple(input.shape)}")
    kernel, gap = sizes("unfold", "kernel_size", kernel_size, 2), sizes("unfold", "dilation", dilation, 2)
    step, around = sizes("unfold", "stride", stride, 2), sizes("unfold", "padding", padding, 2, 0)
    x = pad(input, [around[1], around[1], around[0], around[0]]) if any(around) else input
    out = [(s - g * (k - 1) - 1) // t + 1 for s, k, g, t in zip(x.shape[-2:], kernel, gap, step, strict=True)]
    if min(out) < 1 or 0 in input.shape[-3:]:
        raise ShapeError(f"unfold: input has shape {tuple(input.shape)}; the kernel {kernel} has no place in it")
    columns = _core.stack(windows(x, kernel, out, step, gap), -3)
    return columns.reshape(*input.shape[:-3], input.shape[-3] * prod(kernel), prod(out))


@shown_as("Col2ImBackward0")
def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """What sums the columns of `unfold` up into images: (N, C · places of the kernel, patches) as (N, C, H, W).

    Raises:
        RuntimeError: columns or patches that are not as many as the sizes give.
    """
    size = sizes("fold", "output_size", output_size, 2)
    kernel, gap = sizes("fold", "kernel_size", kernel_size, 2), sizes("fold", "dilation", dilation, 2)
    step, around = sizes("fold", "stride", stride, 2), sizes("fold", "padding", padding, 2, 0)
    if input.dim() not in (2, 3):
        raise ShapeError(f"fold: expected a 2D or 3D input, got shape {tuple(input.shape)}")
    places = prod(kernel)
    if input.shape[-2] % places:
        raise ShapeError(
            f"fold: expected size of input's dimension 1 to be divisible by the product of kernel_size {kernel}, "
            f"but got shape {tuple(input.shape)}"
        )
    padded = [s + 2 * p for s, p in zip(size, around, strict=True)]
    out = [(s - g * (k - 1) - 1) // t + 1 for s, k, g, t in zip(padded, kernel, gap, step, strict=True)]
    if min(out) < 1 or input.shape[-1] != prod(out):
        raise ShapeError(
            f"fold: given output_size={size}, kernel_size={kernel}, dilation={gap}, padding={around}, stride={step}, "
            f"expected {out[0]} * {out[1]} patches, but input has shape {tuple(input.shape)}"
        )
    number = _core.arange(prod(padded)).reshape(padded)
    at = _core.stack(windows(number, kernel, out, step, gap)).reshape(-1)  # in the order of the columns
    columns = input.reshape(*input.shape[:-2], input.shape[-2] // places, places * prod(out))
    total = _core.zeros((*columns.shape[:-1], prod(padded)), dtype=input.dtype).index_add(-1, at, columns)
    image = total.reshape(*columns.shape[:-1], *padded)
    return image[..., around[0] : padded[0] - around[0], around[1] : padded[1] - around[1]].contiguous()
