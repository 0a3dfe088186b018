"""Limits of dtypes, and small questions about tensors and the library's settings."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import check_device, method, need_tensor

__all__ = [
    "are_deterministic_algorithms_enabled",
    "finfo",
    "get_default_device",
    "get_float32_matmul_precision",
    "iinfo",
    "is_inference_mode_enabled",
    "is_nonzero",
    "is_warn_always_enabled",
    "numel",
    "set_default_device",
    "set_flush_denormal",
    "set_float32_matmul_precision",
    "set_num_interop_threads",
    "set_warn_always",
    "typename",
    "use_deterministic_algorithms",
]


class finfo:
    """The limits of a floating dtype, the default one where none is given: bits, eps, max, min, tiny, resolution.

    Raises:
        TypeError: the dtype is not floating.
    """

    def __init__(self, type: Any = None) -> None:
        import numpy as np

        kind = _core.get_default_dtype() if type is None else type
        if not isinstance(kind, _core.dtype) or not kind.is_floating_point:
            raise TypeError(f"finfo: requires a floating point input type, got {kind!r}")
        self.dtype = str(kind).removeprefix("torch.")
        self.bits = kind.itemsize * 8
        if kind == _core.bfloat16:  # which NumPy does not have: float32 with 7 bits of fraction
            self.eps, self.max, self.tiny, self.resolution = 2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 1e-2
        else:
            limits = np.finfo(self.dtype)
            self.eps, self.max, self.tiny = float(limits.eps), float(limits.max), float(limits.tiny)
            self.resolution = float(f"1e-{limits.precision}")
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)


class iinfo:
    """The limits of an integer dtype: bits, max, min.

    Raises:
        TypeError: the dtype is not an integer one.
    """

    def __init__(self, type: Any) -> None:
        import numpy as np

        if not isinstance(type, _core.dtype) or type.is_floating_point or type == _core.bool:
            raise TypeError(f"iinfo: requires an integer input type, got {type!r}")
        self.dtype = str(type).removeprefix("torch.")
        limits = np.iinfo(self.dtype)
        self.bits = type.itemsize * 8
        self.max, self.min = int(limits.max), int(limits.min)

    def __repr__(self) -> str:
        return f"iinfo(min={float(self.min):g}, max={float(self.max):g}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)


def numel(input: Tensor) -> int:
    """The number of elements."""
    need_tensor("numel", "input", input)
    return input.numel()


@method
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0; RuntimeError where there are more."""
    if input.numel() != 1:
        raise RuntimeError(f"is_nonzero: Boolean value of Tensor with {input.numel()} values is ambiguous")
    return bool(input.item() != 0)


@method
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return _core.is_signed(input)


@method
def is_complex(input: Tensor) -> bool:
    """False: there are no complex dtypes."""
    return False


def typename(obj: Any) -> str:
    """The tensor's type as PyTorch names it, or the object's module and class."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) else type(obj)
    return f"{kind.__module__}.{kind.__qualname__}"


def set_default_device(device: Any) -> None:
    """Accepts the CPU, where everything is; RuntimeError for another device."""
    check_device(device)


def get_default_device() -> Any:
    """The CPU."""
    return _core.device("cpu")


def set_flush_denormal(mode: bool) -> bool:
    """False: subnormal numbers are kept, whatever `mode` says."""
    return False


def set_num_interop_threads(n: int) -> None:
    """Nothing to do: operations run one after the other."""


def set_warn_always(b: bool) -> None:
    """Nothing to do: warnings are Python's."""


def is_warn_always_enabled() -> bool:
    """False."""
    return False


def is_inference_mode_enabled() -> bool:
    """False: inference mode is no_grad."""
    return False


# Results are the same on every run and for any number of threads, so these settings change nothing.


_settings = {"deterministic": False}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Notes the wish: every algorithm is deterministic."""
    _settings["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for what is always so."""
    return _settings["deterministic"]


def set_float32_matmul_precision(precision: str) -> None:
    """Nothing to do: products of float32 are computed in float32. ValueError for an unknown precision."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"set_float32_matmul_precision: must be 'highest', 'high' or 'medium', got {precision!r}")


def get_float32_matmul_precision() -> str:
    """'highest'."""
    return "highest"
