"""Tensors that a module registers when they are assigned to it: `Parameter` (trained) and `Buffer` (kept)."""

from __future__ import annotations

from typing import Any

from unspool import _core

__all__ = ["Buffer", "Parameter"]

_Tensor: Any = _core.Tensor


class Parameter(_Tensor):  # type: ignore[misc]
    """A tensor that a `Module` lists among its parameters. It shares the memory of `data` and has no history.

    Args:
        data: the values; an empty tensor if left out.
        requires_grad: whether gradients are computed for it (True).
    """

    _repr_lead = "Parameter containing:\n"

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        if data is None:
            data = _core.empty(0)
        elif not isinstance(data, _Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}")
        return _Tensor._make_subclass(cls, data, requires_grad)


class Buffer(_Tensor):  # type: ignore[misc]
    """A tensor that a `Module` lists among its buffers, saved in its state_dict if `persistent`."""

    _repr_lead = ""
    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = _core.empty(0)
        elif not isinstance(data, _Tensor):
            raise TypeError(f"Buffer: data must be a Tensor, got {type(data).__name__}")
        made = _Tensor._make_subclass(cls, data, data.requires_grad)
        made.persistent = persistent
        return made
