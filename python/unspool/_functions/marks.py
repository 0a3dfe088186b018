"""Small methods, and what PyTorch asks of a tensor that is the same for each one here: where it lies and how."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import add, method, need_tensor

__all__ = ["detach", "strided"]


def detach(input: Tensor) -> Tensor:
    """The same memory without history."""
    need_tensor("detach", "input", input)
    return input.detach()


def _reversed(self: Tensor) -> Tensor:
    """A copy with the first dim in reverse order."""
    return self.flip(0) if self.dim() else self


add("__reversed__", _reversed)


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
