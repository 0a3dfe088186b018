"""What programs ask of PyTorch's compiler. `unspool.compile` compiles no Python, so there is nothing to steer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["disable", "is_compiling", "reset"]


def is_compiling() -> bool:
    """False: functions run as they are, also while `unspool.compile` records them."""
    return False


def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """`fn` itself, or a decorator that returns it."""
    return (lambda f: f) if fn is None else fn


def reset() -> None:
    """Nothing to forget: plans belong to the compiled function."""
