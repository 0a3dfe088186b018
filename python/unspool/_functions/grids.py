"""Several tensors together: broadcasting, grids, stacks along named sides, products of sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import ShapeError, Size, Tensor
from unspool._functions._methods import need_tensor, tensor_arguments, with_out

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "cartesian_prod",
    "column_stack",
    "combinations",
    "dstack",
    "hstack",
    "meshgrid",
    "row_stack",
    "vstack",
]

_INT64_MAX = 2**63 - 1


def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that tensors of these shapes broadcast to. RuntimeError where they do not broadcast."""
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    result = [1] * max((len(s) for s in given), default=0)
    for shape in given:
        for k in range(1, len(shape) + 1):
            n = shape[-k]
            if not 0 <= n <= _INT64_MAX:
                raise ShapeError(f"broadcast_shapes: sizes must be non-negative 64-bit integers, got {n} in {shape}")
            if n == 1 or n == result[-k]:
                continue
            if result[-k] != 1:
                raise ShapeError(f"broadcast_shapes: shape mismatch: the shapes {given} do not broadcast")
            result[-k] = n
    return Size(result)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors, each expanded to the shape that all of them broadcast to."""
    given = tensor_arguments("broadcast_tensors", tensors)
    shape = broadcast_shapes(*(x.shape for x in given))
    return tuple(x.expand(shape) for x in given)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates from 0-d or 1-d tensors, as views: grid i varies along dim i with "ij" (the default);
    with "xy" the first two dims change places."""
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be one of "xy" or "ij", got {indexing!r}')
    given = tensor_arguments("meshgrid", tensors)
    if not given:
        raise ValueError("meshgrid: expects a non-empty TensorList")
    for i, x in enumerate(given):
        if x.dim() > 1:
            raise ShapeError(f"meshgrid: Expected 0D or 1D tensor, but tensor {i} has shape {tuple(x.shape)}")
        if x.dtype != given[0].dtype:
            raise RuntimeError(f"meshgrid: tensors must have one dtype, got {given[0].dtype} and {x.dtype}")
    order = list(range(len(given)))  # the dim along which grid i varies
    if indexing == "xy" and len(given) > 1:
        order[:2] = [1, 0]
    lanes = [x.reshape([-1 if k == d else 1 for k in range(len(given))]) for d, x in zip(order, given, strict=True)]
    return broadcast_tensors(*lanes)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """The rows (a, b, …) for every a of the first 1-d tensor, b of the second, …; of one tensor, itself."""
    given = tensor_arguments("cartesian_prod", tensors)
    for i, x in enumerate(given):
        if x.dim() != 1:
            raise ShapeError(f"cartesian_prod: Expect a 1D vector, but tensor {i} has shape {tuple(x.shape)}")
    if len(given) == 1:
        return given[0]
    return _core.stack([g.flatten() for g in meshgrid(*given)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The rows of all ways to choose r elements of a 1-d tensor, in the order of itertools."""
    need_tensor("combinations", "input", input)
    if input.dim() != 1:
        raise ShapeError(f"combinations: Expect a 1D vector, but got shape {tuple(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: Expect a non-negative number, but got {r}")
    n = input.numel()
    if r > 2**20:
        raise MemoryError(f"combinations: rows of {r} elements do not fit into memory")
    count = math.comb(n + r - 1, r) if with_replacement and n else math.comb(n, r)
    if count * r > 2**31:
        raise MemoryError(f"combinations: {count} rows of {r} elements do not fit into memory")
    if count == 0:
        return _core.empty(0, r, dtype=input.dtype)
    if r == 0:
        return _core.empty(0, dtype=input.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    places = _core.tensor(rows, dtype=_core.int64).reshape([len(rows), r])
    return input[places]


def _stacked(op: str, tensors: Any, least: Any, dim: int) -> Tensor:
    given = tensor_arguments(op, (tensors,))
    if not given:
        raise RuntimeError(f"{op}: expects a non-empty TensorList")
    return _core.cat([least(x) for x in given], dim)


@with_out
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors below each other: 1-d ones are rows."""
    return _stacked("vstack", tensors, atleast_2d, 0)


row_stack = vstack


@with_out
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: along dim 1, 1-d ones along dim 0."""
    given = tensor_arguments("hstack", (tensors,))
    return _stacked("hstack", given, atleast_1d, 0 if given and given[0].dim() < 2 else 1)


@with_out
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors behind each other: along dim 2."""
    return _stacked("dstack", tensors, atleast_3d, 2)


@with_out
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: 0-d and 1-d ones are columns."""
    return _stacked("column_stack", tensors, lambda x: x if x.dim() > 1 else x.reshape([x.numel(), 1]), 1)


def _at_least(op: str, tensors: Any, one: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return one(tensors[0])
    return tuple(one(x) for x in tensor_arguments(op, tensors))


def atleast_1d(*tensors: Any) -> Any:
    """Views of at least one dim; several tensors, or a sequence, give a tuple."""
    return _at_least("atleast_1d", tensors, lambda x: x if x.dim() else x.reshape([1]))


def atleast_2d(*tensors: Any) -> Any:
    """Views of at least two dims, the new ones in front."""

    def one(x: Tensor) -> Tensor:
        return x if x.dim() > 1 else x.reshape([1, x.numel()])

    return _at_least("atleast_2d", tensors, one)


def atleast_3d(*tensors: Any) -> Any:
    """Views of at least three dims: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""

    def one(x: Tensor) -> Tensor:
        return x if x.dim() > 2 else x.unsqueeze(-1) if x.dim() == 2 else x.reshape([1, x.numel(), 1])

    return _at_least("atleast_3d", tensors, one)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the tensors (at most 2-d; 1-d ones are rows) on its diagonal and zeros elsewhere."""
    given = tensor_arguments("block_diag", tensors)
    for i, x in enumerate(given):
        if x.dim() > 2:
            raise ShapeError(f"block_diag: Input tensors must have 2 or fewer dimensions; input {i} has {x.dim()}")
    blocks = [atleast_2d(x) for x in given] or [_core.empty(1, 0)]
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        parts = [_core.zeros(b.shape[0], left, dtype=b.dtype), b]
        left += b.shape[1]
        parts.append(_core.zeros(b.shape[0], width - left, dtype=b.dtype))
        rows.append(_core.cat(parts, 1))
    return _core.cat(rows, 0)
