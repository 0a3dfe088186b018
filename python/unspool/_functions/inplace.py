"""Writes at index tensors and on the diagonal, and marks of PyTorch's that are the same for every tensor here."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import add, method, need_tensor

__all__ = ["detach", "fill", "index_put", "index_put_", "put"]


def detach(input: Tensor) -> Tensor:
    """The same memory without history."""
    need_tensor("detach", "input", input)
    return input.detach()


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


def _reversed(self: Tensor) -> Tensor:
    """A copy with the first dim in reverse order."""
    return self.flip(0) if self.dim() else self


add("__reversed__", _reversed)


@method
def logical_not_(input: Tensor) -> Tensor:
    """`logical_not`, written into the tensor."""
    return input.copy_(_core.logical_not(input).to(input.dtype))


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor where condition holds, else other."""
    return _core.where(condition, self, other)


add("where", _where)


def _mark(name: str, value: Any, doc: str) -> None:
    add(name, property(lambda self: value, doc=doc))


for _name in ("is_meta", "is_quantized", "is_mps", "is_xpu", "is_xla", "is_mkldnn", "is_sparse_csr", "is_nested"):
    _mark(_name, False, f"{_name}: bool\n\nFalse.")
_mark("is_cpu", True, "is_cpu: bool\n\nTrue: everything is on the CPU.")


class _Strided:
    def __repr__(self) -> str:
        return "torch.strided"


strided = _Strided()
_mark("layout", strided, "layout: object\n\nAlways strided.")
__all__ += ["strided"]


@method
def get_device(input: Tensor) -> int:
    """-1: the CPU has no number."""
    return -1


@method
def is_conj(input: Tensor) -> bool:
    """False."""
    return False


@method
def is_pinned(input: Tensor, device: Any = None) -> bool:
    """False."""
    return False


@method
def is_shared(input: Tensor) -> bool:
    """False: memory is this process's own."""
    return False


@method
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory with the same shape and strides."""
    need_tensor("is_set_to", "tensor", tensor)
    same = input.data_ptr() == tensor.data_ptr() and input.shape == tensor.shape
    return same and input.stride() == tensor.stride()


@method
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """narrow, as a copy."""
    return input.narrow(dim, start, length).clone()


@method
def as_subclass(input: Tensor, cls: type) -> Any:
    """The same memory as a tensor of a subclass, without history."""
    return Tensor._make_subclass(cls, input, input.requires_grad)
