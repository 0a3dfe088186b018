"""The memory behind tensors: storages, and tensors that are given other memory or another size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from unspool import _core
from unspool._core import DTypeError, Tensor
from unspool._functions._methods import add, method, need_tensor
from unspool.autograd.grad_mode import no_grad

__all__ = ["TypedStorage", "UntypedStorage", "is_storage", "resize_as_"]


class UntypedStorage:
    """The bytes that a tensor and its views share. Two are equal where they are the same memory."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()  # keeps the memory

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._tensor._storage()[0]

    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._tensor._storage()[1]

    size = __len__ = nbytes

    @property
    def device(self) -> Any:
        """The CPU."""
        return self._tensor.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self.data_ptr() == other.data_ptr()

    def __hash__(self) -> int:
        return hash(self.data_ptr())

    def __repr__(self) -> str:
        return f"[torch.storage.UntypedStorage(device=cpu) of size {self.nbytes()}]"


class TypedStorage(UntypedStorage):
    """The same memory as elements of the tensor's dtype: a sequence of numbers that can be written.

    Raises:
        IndexError: an index that is not inside.
    """

    @property
    def dtype(self) -> Any:
        """Of the elements."""
        return self._tensor.dtype

    def size(self) -> int:
        """How many elements there are."""
        return int(self.nbytes() // self._tensor.element_size())

    __len__ = size

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return UntypedStorage(self._tensor)

    def _flat(self) -> Tensor:
        return self._tensor.as_strided((self.size(),), (1,), 0)

    def __getitem__(self, index: int) -> Any:
        return self._flat()[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._flat()[index] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list[Any]:
        """The elements."""
        return list(self._flat().tolist())

    def __repr__(self) -> str:
        lines = "".join(f" {value}\n" for value in self.tolist())
        return f"{lines}[torch.storage.TypedStorage(dtype={self.dtype}, device=cpu) of size {self.size()}]"


def is_storage(obj: Any) -> bool:
    """Whether obj is a storage."""
    return isinstance(obj, UntypedStorage)


@method
def untyped_storage(input: Tensor) -> Any:
    """The bytes that the tensor shows a part of."""
    return UntypedStorage(input)


@method
def storage(input: Tensor) -> Any:
    """The elements that the tensor shows some of."""
    return TypedStorage(input)


@method
def share_memory_(input: Tensor) -> Tensor:
    """The tensor itself, in this process's own memory: processes get copies.

    Raises:
        NotImplementedError: always; `multiprocessing` pickles tensors instead.
    """
    raise NotImplementedError("share_memory_: memory of several processes is not supported; tensors are pickled")


def _view_in_place(name: str) -> None:
    made = getattr(Tensor, name)

    def write(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if input.requires_grad and _core.is_grad_enabled():
            raise RuntimeError(
                f"{name}_: of a tensor that requires grad it is not supported while gradients are recorded; "
                f"assign x = x.{name}(…)"
            )
        with no_grad():
            return input._show(made(input, *args, **kwargs))

    write.__name__ = write.__qualname__ = f"{name}_"
    write.__doc__ = f"`{name}` of the tensor itself, which shows its memory so from now on."
    add(write.__name__, write)


for _name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t", "as_strided"):
    _view_in_place(_name)
del _name


@method
def resize_as_(input: Tensor, tensor: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to the other's shape."""
    need_tensor("resize_as_", "tensor", tensor)
    return input.resize_(tensor.shape, memory_format=memory_format)


@method
def set_(
    input: Tensor,
    source: Tensor | None = None,
    storage_offset: int = 0,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Show the memory of another tensor of the same dtype, or a part of it, or nothing.

    Raises:
        RuntimeError: a size that leaves the storage; a tensor that requires grad, while gradients are recorded.
        DTypeError: another dtype.
    """
    if source is None:
        input.data = _core.empty(0, dtype=input.dtype)
        return input
    need_tensor("set_", "source", source)
    if source.dtype != input.dtype:
        raise DTypeError(f"set_: source has dtype {source.dtype}, the tensor {input.dtype}; they must be the same")
    if input.requires_grad and _core.is_grad_enabled():
        raise RuntimeError("set_: a leaf Variable that requires grad is being used in an in-place operation")
    shown = source.detach()
    if size is not None:
        steps = [1] * len(size) if stride is None else list(stride)
        if stride is None:
            for d in range(len(size) - 2, -1, -1):
                steps[d] = steps[d + 1] * max(size[d + 1], 1)
        try:
            shown = shown.as_strided(size, steps, storage_offset)
        except RuntimeError as error:
            raise RuntimeError(f"set_: {error}") from None
    input.data = shown
    return input
