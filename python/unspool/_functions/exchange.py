"""DLPack, the exchange of arrays between libraries without a copy."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import add, check_device

__all__ = ["from_dlpack", "to_dlpack"]

_CPU = 1


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule with the tensor's memory, for one consumer. ValueError where the tensor requires grad."""
    return _core._to_dlpack(tensor, False)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of an object with `__dlpack__`, or of a capsule; a copy of it with `copy=True`.

    Raises:
        TypeError: neither of these.
        RuntimeError: memory that is not the CPU's, a dtype that is not there, or a capsule that was taken before.
    """
    check_device(device)
    if hasattr(ext_tensor, "__dlpack__"):
        place = ext_tensor.__dlpack_device__()
        if int(place[0]) != _CPU:
            raise RuntimeError(f"from_dlpack: only memory of the CPU is supported, got device {tuple(place)}")
        try:
            capsule = ext_tensor.__dlpack__(max_version=(1, 0))
        except TypeError:  # a producer from before version 1
            capsule = ext_tensor.__dlpack__()
    elif type(ext_tensor).__name__ == "PyCapsule":
        capsule = ext_tensor
    else:
        raise TypeError(f"from_dlpack: needs an object with __dlpack__ or a capsule, got {type(ext_tensor).__name__}")
    t = _core._from_dlpack(capsule)
    return t.clone() if copy else t


def _dlpack(
    self: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """A DLPack capsule of the tensor's memory; with `copy=True`, of a copy."""
    if stream is not None:
        raise ValueError(f"__dlpack__: stream must be None on the CPU, got {stream!r}")
    if dl_device is not None and tuple(int(n) for n in dl_device) != (_CPU, 0):
        raise BufferError(f"__dlpack__: the memory is the CPU's, asked for device {tuple(dl_device)}")
    versioned = max_version is not None and max_version[0] >= 1
    if self.requires_grad:
        raise BufferError("__dlpack__: Can't export tensors that require gradient, use tensor.detach()")
    return _core._to_dlpack(self.clone() if copy else self, versioned)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    """(1, 0): the CPU."""
    return _CPU, 0


add("__dlpack__", _dlpack)
add("__dlpack_device__", _dlpack_device)
