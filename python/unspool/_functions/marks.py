"""Small methods, and what PyTorch asks of a tensor that is the same for each one here: where it lies and how."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import add, method, need_tensor

__all__ = ["conj", "conj_physical", "detach", "get_device", "is_conj", "is_inference", "is_neg", "narrow_copy", "real",
           "resolve_conj", "resolve_neg", "split_with_sizes", "strided", "unsafe_chunk"]  # fmt: skip


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
def is_neg(input: Tensor) -> bool:
    """False."""
    return False


def _itself(name: str) -> Any:
    def same(input: Tensor) -> Tensor:
        need_tensor(name, "input", input)
        return input

    same.__name__ = same.__qualname__ = name
    same.__doc__ = f"{name}: the tensor itself, there are no complex numbers here."
    add(name, same)
    return same


conj, conj_physical, resolve_conj, resolve_neg = map(_itself, ("conj", "conj_physical", "resolve_conj", "resolve_neg"))
_itself("to_dense")


def real(input: Tensor) -> Tensor:
    """The tensor itself: there are no complex numbers here."""
    need_tensor("real", "input", input)
    return input


add("real", property(lambda self: self, doc="real: Tensor\n\nThe tensor itself."))
add("H", property(lambda self: _adjoint("H", self), doc="H: Tensor\n\nA view of a matrix with its dims exchanged."))
add("mH", property(lambda self: self.mT, doc="mH: Tensor\n\nmT."))


def _adjoint(name: str, x: Tensor) -> Tensor:
    if x.dim() not in (0, 2):
        raise RuntimeError(f"{name}: only supported on matrices (2-D tensors), got shape {tuple(x.shape)}")
    return x.T if x.dim() else x


unsafe_chunk = Tensor.chunk
add("unsafe_chunk", unsafe_chunk)


@method
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """`split` into parts of those sizes."""
    return input.split(split_sizes, dim)


@method
def is_inference(input: Tensor) -> bool:
    """False."""
    return False


@method
def is_distributed(input: Tensor) -> bool:
    """False."""
    return False


@method
def dim_order(input: Tensor) -> tuple[int, ...]:
    """The dims by their strides, the longest first."""
    strides = input.stride()
    return tuple(sorted(range(input.dim()), key=lambda d: -strides[d]))


@method
def const_data_ptr(input: Tensor) -> int:
    """`data_ptr`."""
    return input.data_ptr()


@method
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Tensor:
    """RuntimeError: there is no GPU."""
    raise RuntimeError(f"cuda: unspool computes on the CPU only, got device={device!r}")


@method
def new(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """A tensor of the same dtype: of sizes (not set), or of data."""
    from unspool._functions.legacy import of_dtype

    return of_dtype("new", input.dtype, args)


@method
def apply_(input: Tensor, callable: Any) -> Tensor:
    """Each element replaced by callable(element), in Python: slow."""
    if input.requires_grad:
        raise RuntimeError("apply_: can't call apply_() on Variable that requires grad. Use detach() first")
    made = [callable(x) for x in input.reshape([-1]).tolist()]
    return input.copy_(_core.tensor(made, dtype=input.dtype).reshape(input.shape))


@method
def map_(input: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Each element a replaced by callable(a, b), b the tensor's, in Python: slow."""
    if input.requires_grad:
        raise RuntimeError("map_: can't call map_() on Variable that requires grad. Use detach() first")
    other = tensor.expand(input.shape).reshape([-1]).tolist()
    made = [callable(a, b) for a, b in zip(input.reshape([-1]).tolist(), other, strict=True)]
    return input.copy_(_core.tensor(made, dtype=input.dtype).reshape(input.shape))


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
    return input.narrow(dim, start, length).clone(memory_format=_core.contiguous_format)


@method
def as_subclass(input: Tensor, cls: type) -> Any:
    """The same memory as a tensor of a subclass, without history."""
    return Tensor._make_subclass(cls, input, input.requires_grad)
