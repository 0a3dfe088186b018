"""PyTorch's old names of tensor types: FloatTensor, LongTensor and so on, as constructors and in isinstance."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor

_NAMES = {
    "BoolTensor": _core.bool,
    "ByteTensor": _core.uint8,
    "IntTensor": _core.int32,
    "LongTensor": _core.int64,
    "FloatTensor": _core.float32,
    "DoubleTensor": _core.float64,
}
__all__ = [*_NAMES, "set_default_tensor_type"]


class _OfDType(type):
    _dtype: Any

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x.dtype == cls._dtype

    def __call__(cls, *args: Any) -> Tensor:
        if all(isinstance(n, int) and not isinstance(n, bool) for n in args) and args:
            return _core.empty(*args, dtype=cls._dtype)
        if len(args) > 1:
            raise TypeError(f"{cls.__name__}: takes sizes, one sequence or a Tensor, got {args!r}")
        if not args:
            return _core.empty(0, dtype=cls._dtype)
        data = args[0]
        if isinstance(data, Tensor):
            if data.dtype != cls._dtype:
                raise TypeError(f"{cls.__name__}: expected a tensor of {cls._dtype}, got one of {data.dtype}")
            return data.detach()
        if isinstance(data, _core.Size):
            return _core.empty(data, dtype=cls._dtype)
        return _core.tensor(data, dtype=cls._dtype)


for _name, _dtype in _NAMES.items():
    _doc = f"{_dtype}: of sizes (not set), a sequence, an array, or a tensor of that dtype."
    globals()[_name] = _OfDType(_name, (), {"_dtype": _dtype, "__doc__": _doc, "__module__": "unspool"})
del _name, _dtype, _doc


def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype` by a type, FloatTensor or DoubleTensor, or its name 'torch.FloatTensor'.

    Raises:
        TypeError: what is no floating tensor type.
    """
    name = t.removeprefix("torch.") if isinstance(t, str) else getattr(t, "__name__", "")
    dtype = _NAMES.get(name)
    if dtype is None or not dtype.is_floating_point:
        raise TypeError(f"set_default_tensor_type: only floating-point types are supported as the default, got {t!r}")
    _core.set_default_dtype(dtype)
