"""Images read at given places: `affine_grid` makes the places, `grid_sample` reads there, both made of native ops."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool._precision import in_float32
from unspool.errors import ShapeError

__all__ = ["affine_grid", "grid_sample"]


def _centres(n: int, corners: bool, dtype: Any) -> Any:
    """Where n elements lie on [-1, 1]: the outer ones at the ends, or half an element inside."""
    if n <= 1:
        return _core.zeros(n, dtype=dtype)
    at = _core.linspace(-1, 1, n, dtype=dtype)
    return at if corners else at * (n - 1) / n


@shown_as("AffineGridGeneratorBackward0")
def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The places (N, H, W, 2) that theta (N, 2, 3) moves the elements of (N, C, H, W) to; or (N, 3, 4), volumes.

    Coordinates go from -1 to 1, x before y; with align_corners these are the outer elements' centres, else their edges.
    """
    if not theta.is_floating_point():
        raise ValueError(f"affine_grid: expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3) or theta.dim() != 3 or tuple(theta.shape[1:]) != (n, n + 1):
        raise ValueError(
            f"affine_grid: expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {tuple(size)}, got "
            f"{tuple(theta.shape)}"
        )
    if min(size) <= 0:
        raise ValueError(f"affine_grid: expected non-zero, positive output size, got {tuple(size)}")
    lanes = [_centres(s, bool(align_corners), theta.dtype) for s in size[2:]]
    grids = [lane.reshape([-1 if d == k else 1 for k in range(n)]).expand(*size[2:]) for d, lane in enumerate(lanes)]
    base = _core.stack([*reversed(grids), _core.ones(*size[2:], dtype=theta.dtype)], -1)
    return (base.reshape(1, -1, n + 1) @ theta.transpose(1, 2)).reshape(size[0], *size[2:], n)


def _reflected(at: Any, low: float, high: float) -> Any:
    """Places folded back into [low, high] at its ends."""
    span = high - low
    if span == 0:
        return at * 0
    distance = (at - low).abs()
    rest = distance.fmod(span)
    odd = (distance / span).floor().detach() % 2 == 1
    return _core.where(odd, span - rest, rest) + low


def _inside(at: Any, n: int, mode: str, corners: bool) -> Any:
    """Places on an axis of n elements, those outside brought in as the padding says."""
    if mode == "reflection":
        at = _reflected(at, 0.0, n - 1.0) if corners else _reflected(at, -0.5, n - 0.5)
    if mode == "zeros":
        return at
    return _core.where((at > 0) & (at < n - 1), at, at.detach().clamp(0, n - 1))  # no slope at the ends


def _read(input: Any, places: list[Any], mode: str, corners: bool) -> Any:
    """The elements at whole places, one tensor of (N, …) for each dim: (N, C, …), zeros outside of the input."""
    shape = input.shape[2:]
    there: Any = None
    flat: Any = 0
    for at, n in zip(places, shape, strict=True):
        if mode != "zeros":
            at = _inside(at, n, mode, corners)
        else:
            within = (at >= 0) & (at <= n - 1)
            there = within if there is None else there & within
            at = at.clamp(0, n - 1)
        flat = flat * n + at.nan_to_num(0.0).to(_core.int64)
    batch, channels = input.shape[:2]
    index = flat.reshape(batch, 1, -1).expand(-1, channels, -1)
    found = input.flatten(2).gather(2, index).reshape(batch, channels, *flat.shape[1:])
    return found if there is None else _core.where(there.unsqueeze(1), found, 0.0)


def _cubic(share: Any) -> list[Any]:
    """Keys' kernel (1981) with a = -0.75, for the four elements around a place."""
    a = -0.75

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


def _checked(input: Any, grid: Any, mode: str, padding_mode: str) -> int:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"grid_sample: expected padding_mode to be 'zeros', 'border', or 'reflection', but got: {padding_mode!r}"
        )
    n = int(input.dim()) - 2
    if n not in (2, 3) or grid.dim() != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            "grid_sample: expected input (N, C, H, W) with grid (N, H', W', 2), or volumes with (…, 3); got "
            f"{tuple(input.shape)} and {tuple(grid.shape)}"
        )
    if input.dtype != grid.dtype:
        raise RuntimeError(f"grid_sample: input and grid must have one dtype, got {input.dtype} and {grid.dtype}")
    if prod(input.shape[1:]) == 0:
        raise ShapeError(f"grid_sample: expected input to have non-empty dimensions, got {tuple(input.shape)}")
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sample: bicubic interpolation only supports 4D input")
    return n


@in_float32
@shown_as("GridSampler2DBackward0")
def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """The input (N, C, H, W) read at the places of grid (N, H', W', 2), x before y, in [-1, 1]: (N, C, H', W').

    Args:
        mode: 'bilinear' (of volumes trilinear), 'nearest' or 'bicubic'.
        padding_mode: what lies outside: 'zeros', the 'border', or the image's 'reflection'.
        align_corners: whether -1 and 1 are the outer elements' centres, not their edges.
    """
    n = _checked(input, grid, mode, padding_mode)
    corners = bool(align_corners)
    places = []
    for size, at in zip(input.shape[2:], reversed(grid.unbind(-1)), strict=True):
        at = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
        places.append(at if mode == "bicubic" else _inside(at, size, padding_mode, corners))
    if mode == "nearest":
        return _read(input, [at.detach().round() for at in places], "zeros", corners)
    lows = [at.detach().floor() for at in places]
    shares = [at - low for at, low in zip(places, lows, strict=True)]
    if mode == "bicubic":
        (first, rest), reach = [_cubic(s) for s in shares], range(-1, 3)
        y: Any = 0
        for i, factor in zip(reach, first, strict=True):
            row: Any = 0
            for j, weight in zip(reach, rest, strict=True):
                row = row + _read(input, [lows[0] + i, lows[1] + j], padding_mode, corners) * weight.unsqueeze(1)
            y = y + row * factor.unsqueeze(1)
        return y
    y = 0
    for side in product((0, 1), repeat=n):
        weight = prod([s if k else 1 - s for s, k in zip(shares, side, strict=True)])
        y = y + _read(input, [low + k for low, k in zip(lows, side, strict=True)], "zeros", corners) * weight.unsqueeze(
            1
        )
    return y
