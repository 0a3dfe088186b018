"""PyTorch's old names of tensor types: `FloatTensor([1, 2])` makes one, `isinstance(x, FloatTensor)` the dtype."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor

__all__ = ["BoolTensor", "ByteTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor"]


class _OfType(type):
    """What all of them have in common; each has its `dtype`."""

    dtype: Any

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype

    def __call__(cls, *data: Any) -> Any:
        """A tensor of this dtype: of the given sizes (uninitialised), or a copy of a sequence.

        Raises:
            TypeError: neither sizes nor a sequence, or a tensor of another dtype.
        """
        if not data or all(isinstance(n, int) for n in data):
            return _core.empty(data or (0,), dtype=cls.dtype)
        values = data[0]
        if len(data) > 1 or isinstance(values, (str, bytes, float)) or not hasattr(values, "__len__"):
            raise TypeError(f"{cls.__name__}: data must be sizes or a sequence, got {data!r}")
        if isinstance(values, _core.Size):
            return _core.empty(values, dtype=cls.dtype)
        if isinstance(values, Tensor):
            if values.dtype != cls.dtype:
                raise TypeError(f"{cls.__name__}: expected a tensor of dtype {cls.dtype}, got {values.dtype}")
            return values.detach()
        return _core.tensor(values, dtype=cls.dtype)


def _make(name: str, dtype: Any) -> Any:
    return _OfType(name, (), {"__doc__": f"Tensors of dtype {dtype}.", "__module__": "unspool", "dtype": dtype})


BoolTensor = _make("BoolTensor", _core.bool)
ByteTensor = _make("ByteTensor", _core.uint8)
DoubleTensor = _make("DoubleTensor", _core.float64)
FloatTensor = _make("FloatTensor", _core.float32)
IntTensor = _make("IntTensor", _core.int32)
LongTensor = _make("LongTensor", _core.int64)
