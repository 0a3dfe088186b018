"""Hooks of an optimizer: around its steps, and around saving and loading its state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any

from unspool import _core

__all__ = ["Hooked"]

_Hook = Callable[..., Any]


class Hooked:
    """What registers and calls hooks. An optimizer without any has no table, and its own `step`."""

    def _register(self, kind: str, hook: _Hook, prepend: bool = False) -> Any:
        from unspool.nn.modules._hooks import insert

        tables: dict[str, OrderedDict[int, _Hook]] = self.__dict__.setdefault("_hooks", {})
        return insert(tables.setdefault(kind, OrderedDict()), hook, prepend)

    def _hooks_of(self, kind: str) -> list[_Hook]:
        return list(self.__dict__.get("_hooks", {}).get(kind, {}).values())

    def register_step_pre_hook(self, hook: _Hook) -> Any:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return others. `args[0]` is the optimizer."""
        self._watch_steps()
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: _Hook) -> Any:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        self._watch_steps()
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: _Hook, prepend: bool = False) -> Any:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: _Hook, prepend: bool = False) -> Any:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another one."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: _Hook, prepend: bool = False) -> Any:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; it may return another one."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: _Hook, prepend: bool = False) -> Any:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._register("load_state_dict_post", hook, prepend)

    def _watch_steps(self) -> None:
        """Put a `step` that calls the hooks before the class's, once; frozen, it stays in Python."""
        if "_watches_steps" in self.__dict__:
            return
        own: Any = self
        inner = own.step

        def hooked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            args = (self, *args)  # hooks see the call as the class does
            for hook in self._hooks_of("step_pre"):
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not isinstance(changed, tuple) or len(changed) != 2:
                        raise RuntimeError(
                            f"{hook} must return None or a tuple of (new_args, new_kwargs), got {changed!r}"
                        )
                    args, kwargs = changed
            own._opt_called = True
            result = inner(*args[1:], **kwargs)
            for hook in self._hooks_of("step_post"):
                hook(self, args, kwargs)
            return result

        @wraps(inner)
        def step(*args: Any, **kwargs: Any) -> Any:
            result = None

            def run() -> None:
                nonlocal result
                result = hooked(args, kwargs)

            _core._python_step(run, own)
            return result

        own.step = step
        own._watches_steps = True  # a plan that updates natively looks for it
