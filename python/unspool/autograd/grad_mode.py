"""Recording on and off: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`.

Each is a context manager and a decorator; a decorated generator runs every step in the mode and gives the
caller's mode back at each `yield`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from unspool._core import _set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]

_F = TypeVar("_F", bound=Callable[..., Any])
_IS_GENERATOR = 0x20  # inspect.CO_GENERATOR, without importing inspect


def _decorated(fn: _F, mode: bool) -> _F:
    code = fn.__code__ if isinstance(fn, FunctionType) else None
    if code is not None and code.co_flags & _IS_GENERATOR:
        wrapper = _stepping(fn, mode)
    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            previous = _set_grad_enabled(mode)
            try:
                return fn(*args, **kwargs)
            finally:
                _set_grad_enabled(previous)

    return wraps(fn)(wrapper)  # type: ignore[return-value]


def _stepping(fn: Callable[..., Any], mode: bool) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inner = fn(*args, **kwargs)
        resume: Callable[..., Any] = inner.send
        value: Any = None
        try:
            while True:
                previous = _set_grad_enabled(mode)
                try:
                    got = resume(value)
                except StopIteration as stop:
                    return stop.value
                finally:
                    _set_grad_enabled(previous)
                try:
                    value, resume = (yield got), inner.send
                except GeneratorExit:
                    raise
                except BaseException as error:
                    value, resume = error, inner.throw
        finally:
            previous = _set_grad_enabled(mode)
            try:
                inner.close()
            finally:
                _set_grad_enabled(previous)

    return wrapper


class _Mode:
    """Set one mode on entry, put the former one back on exit; also a decorator."""

    __slots__ = ("_previous",)
    _enabled = False

    def __enter__(self) -> None:
        self._previous = _set_grad_enabled(self._enabled)

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        _set_grad_enabled(self._previous)

    def __call__(self, fn: _F) -> _F:
        return _decorated(fn, self._enabled)


class no_grad(_Mode):
    """Nothing is recorded inside: `with no_grad(): ...`, `@no_grad()` or `@no_grad`."""

    __slots__ = ()

    def __new__(cls, fn: Any = None) -> Any:
        return object.__new__(cls) if fn is None else _decorated(fn, cls._enabled)


class enable_grad(_Mode):
    """Operations are recorded inside, whatever the mode outside."""

    __slots__ = ()
    _enabled = True

    def __new__(cls, fn: Any = None) -> Any:
        return object.__new__(cls) if fn is None else _decorated(fn, cls._enabled)


class set_grad_enabled(_Mode):
    """Switch recording on or off at once; as a context manager or decorator, for a while only."""

    __slots__ = {"_enabled": None, "mode": "Whether recording was switched on."}

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: mode must be a bool, got {mode!r} ({type(mode).__name__})")
        self.mode = self._enabled = mode
        self._previous = _set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        _set_grad_enabled(self._enabled)

    def __call__(self, fn: _F) -> _F:
        _set_grad_enabled(self._previous)
        return _decorated(fn, self._enabled)


class inference_mode(_Mode):
    """Here the same as `no_grad` (`inference_mode(False)` as `enable_grad`): its results may be recorded later."""

    __slots__ = ("_enabled",)

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return object.__new__(cls)
        return _decorated(mode, False)

    def __init__(self, mode: bool = True) -> None:
        self._enabled = not mode
