"""Making a module without drawing its initial values."""

from __future__ import annotations

import inspect
from typing import Any

from unspool import _core
from unspool.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """`module_cls(*args, **kwargs)` whose values mean nothing yet; no random number is drawn from the default stream.

    Raises:
        RuntimeError: the class is no Module, or doesn't take `device`.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"skip_init: expected a Module, got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError(f"skip_init: {module_cls.__name__} doesn't take a device argument")
    before = _core.get_rng_state()
    try:
        return module_cls(*args, **kwargs)
    finally:
        _core.set_rng_state(before)
