"""Which name `grad_fn` shows for functions that are written in several operations: PyTorch's, where that is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from unspool import _core

__all__ = ["shown_as"]

_F = TypeVar("_F", bound=Callable[..., Any])


def shown_as(name: str) -> Callable[[_F], _F]:
    """A decorator: the result of each call, a tensor, shows `grad_fn=<name>`."""
    number = _core._number_of_name(name)
    show = _core._show_as

    def decorate(f: _F) -> _F:
        @wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            y = f(*args, **kwargs)
            show(y[0] if isinstance(y, tuple) else y, number)
            return y

        return cast(_F, call)

    return decorate
