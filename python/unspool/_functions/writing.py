"""Writes: at index tensors, at flat positions, on the diagonal."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import method, need_tensor

__all__ = ["fill", "index_put", "index_put_", "put"]


@method
def fill(input: Tensor, value: Any) -> Tensor:
    """A copy of the tensor's shape and dtype that holds `value` everywhere."""
    return input.clone().fill_(value)


def _position(op: str, indices: Any) -> tuple[Any, ...]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"{op}: indices must be a tuple of tensors, got {type(indices).__name__}")
    for i, index in enumerate(indices):
        if index is not None:
            need_tensor(op, f"indices[{i}]", index)
    return tuple(slice(None) if index is None else index for index in indices)


@method
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """input[indices] = values, or += with `accumulate`, where equal indices add up."""
    need_tensor("index_put_", "values", values)
    where = _position("index_put_", indices)
    if values.dtype != input.dtype:
        raise RuntimeError(
            f"index_put_: requires the source and destination dtypes match, got {input.dtype} for the destination and "
            f"{values.dtype} for the source"
        )
    if not accumulate:
        input[where] = values
        return input
    places = _core.arange(input.numel()).reshape(input.shape)[where]
    flat = input.reshape([-1]).index_add(0, places.reshape([-1]), values.expand(places.shape).reshape([-1]))
    return input.copy_(flat.reshape(input.shape))


@method
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with index_put_ done to it."""
    return index_put_(input.clone(), indices, values, accumulate)


@method
def put_(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) the source's elements at flat positions."""
    need_tensor("put_", "index", index)
    need_tensor("put_", "source", source)
    if index.dtype != _core.int64:
        raise IndexError(f"put_: Expected a long tensor for index, but got {index.dtype}")
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"put_: input and source expected to have the same dtype, got {input.dtype} and {source.dtype}"
        )
    n = input.numel()
    if source.numel() != index.numel():
        raise RuntimeError(
            f"put_: Expected source and index to have the same number of elements, got "
            f"{source.numel()} and {index.numel()}"
        )
    if index.numel() and (n == 0 or not bool(((index >= -n) & (index < n)).all())):
        raise IndexError(f"put_: index out of range: the tensor has {n} elements, got {index.tolist()}")
    flat = index.reshape([-1]) % max(n, 1)
    values = source.reshape([-1])
    whole = input.reshape([-1])
    whole = whole.index_add(0, flat, values) if accumulate else whole.index_put((flat,), values)
    return input.copy_(whole.reshape(input.shape))


@method
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with put_ done to it."""
    return put_(input.clone(), index, source, accumulate)


@method
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal; with `wrap`, on and on down a tall matrix."""
    if input.dim() < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must larger than 1, got shape {tuple(input.shape)}")
    n = min(input.shape)
    if input.dim() > 2 and len(set(input.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: all dimensions of input must be of equal length, got {tuple(input.shape)}")
    rows = _core.arange(n)
    input[(rows,) * input.dim()] = fill_value
    if wrap and input.dim() == 2 and input.shape[0] > input.shape[1] + 1:
        height, width = input.shape
        places = _core.arange(0, height * width, width + 1)
        input[places.div(width, rounding_mode="floor"), places % width] = fill_value
    return input


@method
def logical_not_(input: Tensor) -> Tensor:
    """`logical_not`, written into the tensor."""
    return input.copy_(_core.logical_not(input).to(input.dtype))
