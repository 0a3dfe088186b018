"""Padding; `functional` gives it its public name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core

__all__ = ["pad"]


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Widen the last dims: pad is (before last, after last, before the one before …); negative numbers cut.

    Args:
        mode: 'constant' fills with `value` (0); 'reflect' goes back from the edge, without it; 'replicate' repeats
            the edge; 'circular' goes on at the other side. The last three take (N, C, …) or (C, …) whose … are padded.

    Raises:
        RuntimeError: an odd number of pads, too many of them, a size that comes out negative, a pad that reaches
            further than the input.
        NotImplementedError: an unknown mode, or a mode other than 'constant' for these dims.
    """
    pads = [int(p) for p in pad]
    if len(pads) % 2:
        raise RuntimeError(f"pad: padding length must be divisible by 2, got {pads}")
    if len(pads) > 2 * input.dim():
        raise RuntimeError(f"pad: {len(pads)} paddings are too many for an input of shape {tuple(input.shape)}")
    pairs = {input.dim() - 1 - i // 2: (pads[i], pads[i + 1]) for i in range(0, len(pads), 2)}
    for dim, (before, after) in pairs.items():
        if input.shape[dim] + before + after < 0:
            raise RuntimeError(
                f"pad: the padding {(before, after)} of dimension {dim} would leave a negative size, "
                f"for input shape {tuple(input.shape)}"
            )
    if mode == "constant":
        return _constant(input, pairs, 0.0 if value is None else value)
    if mode not in _SOURCES:
        raise NotImplementedError(f"pad: unrecognised padding mode {mode!r}; expected constant, {', '.join(_SOURCES)}")
    if value is not None and value != 0:
        raise RuntimeError(f"pad: padding mode {mode!r} doesn't take in a value argument, got {value}")
    if len(pairs) not in (1, 2, 3) or input.dim() - len(pairs) not in (1, 2):
        raise NotImplementedError(
            f"pad: {mode} padding of {len(pairs)} dims takes {len(pairs) + 1} or {len(pairs) + 2} dims, "
            f"got shape {tuple(input.shape)}"
        )
    for dim, (before, after) in pairs.items():
        input = _from_inside(input, dim, before, after, mode)
    return input


def _constant(input: Any, pairs: dict[int, tuple[int, int]], value: float) -> Any:
    inner, shape, place = input, list(input.shape), [slice(None)] * input.dim()
    for dim, (before, after) in pairs.items():
        size = input.shape[dim]
        start, stop = max(-before, 0), size - max(-after, 0)
        inner = inner.narrow(dim, start, max(stop - start, 0))
        shape[dim] = size + before + after
        place[dim] = slice(max(before, 0), max(before, 0) + inner.shape[dim])
    out = _core.full(tuple(shape), value, dtype=input.dtype)
    if inner.numel():
        out[tuple(place)] = inner
    return out if inner.numel() or not input.requires_grad else out + inner.sum()


def _reflected(at: Any, size: int) -> Any:
    last = size - 1
    return last - (last - at.abs()).abs()


def _nearest(at: Any, size: int) -> Any:
    return at.clamp(0, size - 1)


def _around(at: Any, size: int) -> Any:
    return at % size


_SOURCES = {"reflect": _reflected, "replicate": _nearest, "circular": _around}


def _from_inside(input: Any, dim: int, before: int, after: int, mode: str) -> Any:
    """Widen one dim by elements of the input: the index of each new place, then one index_select."""
    size = input.shape[dim]
    reach = {"reflect": size - 1, "circular": size}.get(mode)
    if reach is not None and max(before, after) > reach:
        raise RuntimeError(
            f"pad: {mode} padding {(before, after)} of dimension {dim} reaches further than the input allows, "
            f"at most {reach} for size {size}"
        )
    if size == 0 and before + after > 0:
        raise RuntimeError(f"pad: {mode} padding of dimension {dim}, which has size 0, has nothing to repeat")
    if mode == "circular" and min(before, after) < 0:  # what is cut off doesn't come back at the other side
        start, stop = max(-before, 0), size - max(-after, 0)
        input, size, before, after = input.narrow(dim, start, stop - start), stop - start, max(before, 0), max(after, 0)
    return input.index_select(dim, _SOURCES[mode](_core.arange(-before, size + after), size))
