"""Forward hooks. A module without hooks never comes here: `Module.__call__` makes one check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle", "add", "call"]


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again."""

    def __init__(self, module: Any, kind: str, hook: Callable[..., Any]) -> None:
        self._module, self._kind, self._hook = module, kind, hook

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        entries = self._module.__dict__.get(self._kind, [])
        kept = [entry for entry in entries if entry[0] is not self._hook]
        self._module.__dict__[self._kind] = kept
        if not any(self._module.__dict__.get(kind) for kind in ("_forward_pre_hooks", "_forward_hooks")):
            self._module.__dict__.pop("_hooked", None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add(module: Any, kind: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool) -> RemovableHandle:
    """Register `hook` under `kind` ('_forward_pre_hooks' or '_forward_hooks')."""
    entries = module.__dict__.setdefault(kind, [])
    entries.insert(0 if prepend else len(entries), (hook, with_kwargs))
    module.__dict__["_hooked"] = True
    return RemovableHandle(module, kind, hook)


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward` between its hooks; a hook that returns something replaces the input or the output."""
    for hook, with_kwargs in list(module.__dict__.get("_forward_pre_hooks", ())):
        got = hook(module, args, kwargs) if with_kwargs else hook(module, args)
        if got is None:
            continue
        if with_kwargs:
            if not isinstance(got, tuple) or len(got) != 2:
                raise RuntimeError(f"forward_pre_hook: with_kwargs hooks return None or (args, kwargs), got {got!r}")
            args, kwargs = got
        else:
            args = got if isinstance(got, tuple) else (got,)
    result = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module.__dict__.get("_forward_hooks", ())):
        got = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if got is not None:
            result = got
    return result
