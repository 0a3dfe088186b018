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
    "HalfTensor": _core.float16,
    "BFloat16Tensor": _core.bfloat16,
    "FloatTensor": _core.float32,
    "DoubleTensor": _core.float64,
}
__all__ = [*_NAMES, "set_default_tensor_type"]


class _OfDType(type):
    _dtype: Any

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x.dtype == cls._dtype

    def __call__(cls, *args: Any) -> Tensor:
        return of_dtype(cls.__name__, cls._dtype, args)


def of_dtype(op: str, dtype: Any, args: tuple[Any, ...]) -> Tensor:
    """A tensor of that dtype: of sizes (not set), or of the one argument's data; nothing gives an empty one."""
    if args and all(isinstance(n, int) and not isinstance(n, bool) for n in args):
        return _core.empty(*args, dtype=dtype)
    if len(args) > 1:
        raise TypeError(f"{op}: takes sizes, one sequence or a Tensor, got {args!r}")
    if not args:
        return _core.empty(0, dtype=dtype)
    data = args[0]
    if isinstance(data, _core.Size):
        return _core.empty(data, dtype=dtype)
    if isinstance(data, (str, bytes)) or not hasattr(data, "__len__"):
        raise TypeError(f"{op}: takes sizes, one sequence or a Tensor, got {data!r}")
    if not isinstance(data, Tensor):
        return _core.tensor(data, dtype=dtype)
    if data.dtype != dtype:
        raise TypeError(f"{op}: expected a tensor of {dtype}, got one of {data.dtype}")
    return data.detach()


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
