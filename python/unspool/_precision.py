"""What autocast does to functions of the Python layer; the engine looks after its own operations."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from unspool import _core

__all__ = ["in_float32", "in_lower_precision", "without_autocast"]

_F = TypeVar("_F", bound=Callable[..., Any])
_R = TypeVar("_R")


def in_float32(f: _F) -> _F:
    """Make a function take 16-bit tensors as float32 while autocast is on, as PyTorch's losses do."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _core._autocast()[0]:
            return f(*args, **kwargs)
        return f(*map(_widened, args), **{k: _widened(v) for k, v in kwargs.items()})

    return call  # type: ignore[return-value]


def _widened(x: Any) -> Any:
    return x.float() if isinstance(x, _core.Tensor) and x.is_floating_point() and x.dtype.itemsize == 2 else x


def without_autocast(f: Callable[..., _R], *args: Any) -> _R:
    """f(*args) outside of autocast's scope."""
    on, dtype = _core._autocast()
    _core._set_autocast(False, dtype)
    try:
        return f(*args)
    finally:
        _core._set_autocast(on, dtype)


def in_lower_precision(f: _F) -> _F:
    """Make a function take float32 tensors in autocast's dtype while that is on, as PyTorch's products do."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        on, dtype = _core._autocast()
        if not on:
            return f(*args, **kwargs)

        def narrowed(x: Any) -> Any:
            return x.to(dtype) if isinstance(x, _core.Tensor) and x.dtype == _core.float32 else x

        given = {k: narrowed(v) for k, v in kwargs.items()}
        return without_autocast(lambda: f(*map(narrowed, args), **given))

    return call  # type: ignore[return-value]
