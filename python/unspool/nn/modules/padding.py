"""Padding layers; the formula is in `functional.pad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool.nn import functional
from unspool.nn.modules.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """Widens the last _dims dims: by one number, or by (before last, after last, before the one before, …)."""

    _dims: int
    _mode: str
    padding: tuple[int, ...]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sizes = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)
        if len(sizes) != 2 * self._dims:
            raise ValueError(f"{type(self).__name__}: padding needs {2 * self._dims} numbers or one, got {padding}")
        self.padding = sizes

    def forward(self, input: Any) -> Any:
        return functional.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return functional.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Widens the last dim with `value`."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Widens the last 2 dims with `value`."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Widens the last 3 dims with `value`."""

    _dims = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Widens the last dim with zeros."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Widens the last 2 dims with zeros."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Widens the last 3 dims with zeros."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Widens the last dim of (N, C, L) or (C, L) backwards from the edge, without it."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """ReflectionPad1d for the last 2 dims of (N, C, H, W) or (C, H, W)."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """ReflectionPad1d for the last 3 dims of (N, C, D, H, W) or (C, D, H, W)."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Widens the last dim of (N, C, L) or (C, L) with the edge."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """ReplicationPad1d for the last 2 dims of (N, C, H, W) or (C, H, W)."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """ReplicationPad1d for the last 3 dims of (N, C, D, H, W) or (C, D, H, W)."""

    _dims, _mode = 3, "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Any) -> Any:
        few, many = self._dims + 1, self._dims + 2
        if input.dim() not in (few, many):
            raise ValueError(f"{type(self).__name__}: expected {few}D or {many}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Widens the last dim of (N, C, L) or (C, L) with what lies at the other side."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """CircularPad1d for the last 2 dims of (N, C, H, W) or (C, H, W)."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """CircularPad1d for the last 3 dims of (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3
