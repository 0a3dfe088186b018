"""Hooks of modules. A module without hooks never comes here: the native call of a module makes one check.

A table of hooks is an OrderedDict, number → hook. A `Hook` also says how its function wants to be called.
`GLOBAL` holds the tables of all modules together, which come before a module's own.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from unspool import _core
from unspool.nn.modules import _backward_hooks as backward_hooks

__all__ = ["GLOBAL", "RemovableHandle", "add", "add_global", "call", "insert"]

_number = itertools.count()
# those that run with each call, or need each call to be watched
_CALLED = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

GLOBAL: dict[str, OrderedDict[int, Any]] = {
    kind: OrderedDict() for kind in (*_CALLED, "register_parameter", "register_buffer", "register_module")
}


class Hook:
    """A hook, and how it wants to be called."""

    __slots__ = ("always_call", "fn", "with_kwargs")

    def __init__(self, fn: Callable[..., Any], with_kwargs: bool = False, always_call: bool = False) -> None:
        self.fn, self.with_kwargs, self.always_call = fn, with_kwargs, always_call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again."""

    def __init__(self, table: OrderedDict[int, Any], key: int, after: Callable[[], None] | None = None) -> None:
        self._table, self._after, self.id = table, after, key

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        if self._table.pop(self.id, None) is not None and self._after is not None:
            self._after()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def insert(table: OrderedDict[int, Any], hook: Any, prepend: bool, after: Any = None) -> RemovableHandle:
    """Put `hook` into a table, last or first; `after` is called when it is taken out."""
    if not callable(hook):
        raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
    key = next(_number)
    table[key] = hook
    if prepend:
        table.move_to_end(key, last=False)
    return RemovableHandle(table, key, after)


def add(module: Any, kind: str, hook: Any, prepend: bool = False) -> RemovableHandle:
    """Register `hook` in the table `kind` of one module."""
    own = module.__dict__

    def settle() -> None:
        if not any(own.get(k) for k in _CALLED):
            own.pop("_hooked", None)

    handle = insert(own.setdefault(kind, OrderedDict()), hook, prepend, settle if kind in _CALLED else None)
    if kind in _CALLED:
        own["_hooked"] = True
    return handle


def add_global(kind: str, hook: Any) -> RemovableHandle:
    """Register `hook` for all modules."""

    def settle() -> None:
        _core._hook_all_modules(any(GLOBAL[k] for k in _CALLED))

    handle = insert(GLOBAL[kind], hook, False, settle)
    settle()
    return handle


def registering(kind: str, module: Any, name: str, value: Any) -> Any:
    """`value`, or what the global hooks of registration put in its place."""
    for hook in list(GLOBAL[kind].values()):
        got = hook(module, name, value)
        if got is not None:
            value = got
    return value


def _of(module: Any, kind: str) -> Iterator[tuple[int, Hook]]:
    yield from list(GLOBAL[kind].items())
    yield from list(module.__dict__.get(kind, {}).items())


def _after(hook: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    if getattr(hook, "with_kwargs", False):
        return hook(module, args, kwargs, result)
    return hook(module, args, result)


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward` between its hooks; a hook that returns something replaces the input or the output."""
    done: set[int] = set()
    result = None
    try:
        for _, hook in _of(module, "_forward_pre_hooks"):
            args, kwargs = _before(hook, module, args, kwargs)
        backward = backward_hooks.of(module)
        if backward is not None:
            args = backward.inputs(args)
        result = module.forward(*args, **kwargs)
        for key, hook in _of(module, "_forward_hooks"):
            done.add(key)
            got = _after(hook, module, args, kwargs, result)
            if got is not None:
                result = got
        if backward is not None:
            result = backward.outputs(result)
    except Exception:
        for key, hook in _of(module, "_forward_hooks"):
            if key in done or not getattr(hook, "always_call", False):
                continue
            try:
                got = _after(hook, module, args, kwargs, result)
                result = result if got is None else got
            except Exception as error:
                warnings.warn(
                    f"{type(module).__name__}: a forward hook with always_call=True raised {error!r}, which is passed "
                    "over because an exception is already on its way",
                    stacklevel=3,
                )
        raise
    return result


def _before(hook: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    if not getattr(hook, "with_kwargs", False):
        got = hook(module, args)
        return (args if got is None else got if isinstance(got, tuple) else (got,)), kwargs
    got = hook(module, args, kwargs)
    if got is None:
        return args, kwargs
    if not isinstance(got, tuple) or len(got) != 2:
        raise RuntimeError(f"forward_pre_hook: with_kwargs hooks return None or (args, kwargs), got {got!r}")
    return got


_core._set_hooked_call(call)
