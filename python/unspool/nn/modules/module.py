"""`Module`, the base class of layers and networks: how it is called, walked, converted and shown.

Its parts, each the base of the next: `_registry.py` (what it holds), `_walking.py` (the tree), `_state.py` (saving and
loading), `_conversion.py` (dtypes). Hooks are in `_hooks.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from unspool import _core
from unspool.nn.modules import _hooks
from unspool.nn.modules._conversion import Convertible

__all__ = [
    "Module", "register_module_buffer_registration_hook", "register_module_forward_hook",
    "register_module_forward_pre_hook", "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]  # fmt: skip

_M = TypeVar("_M", bound="Module")


def _no_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """What the module computes; to be defined by subclasses."""
    raise NotImplementedError(f'{type(self).__name__} has no "forward" method')


def _indented(text: str) -> str:
    """All lines but the first, two spaces further in."""
    return text.replace("\n", "\n  ")


class Module(Convertible):
    """A layer or network. Subclasses call `super().__init__()` first and define `forward`.

    Assigning a `Parameter`, a `Buffer` or a `Module` as an attribute registers it.
    """

    # a Callable, so that subclasses may choose their own signature
    forward: Callable[..., Any] = _no_forward

    # modes and gradients

    def apply(self: _M, fn: Callable[[Any], None]) -> _M:
        """Call `fn` with every module below, children first, then with this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: _M, mode: bool = True) -> _M:
        """Set `training` here and below; ValueError unless `mode` is a bool."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: _M) -> _M:
        """The same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Set `requires_grad` of all parameters."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        _core.zero_grad([{"params": list(self.parameters())}], set_to_none)

    # text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The settings that `repr` shows, on one line or several."""
        return ""

    def _child_lines(self) -> list[str]:
        return [f"({name}): {_indented(repr(child))}" for name, child in self._modules.items()]

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = self._child_lines()
        if not children and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        lines = [*(extra.split("\n") if extra else []), *children]
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the layers, their parameters' shapes and numbers, and the totals."""
        from unspool.nn.modules._html import summary

        return summary(self)


# hooks of all modules


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> _hooks.RemovableHandle:
    """Call `hook(module, args)` before the forward of every module, ahead of its own hooks."""
    return _hooks.add_global("_forward_pre_hooks", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> _hooks.RemovableHandle:
    """Call `hook(module, args, output)` after the forward of every module, ahead of its own hooks."""
    return _hooks.add_global("_forward_hooks", _hooks.Hook(hook, with_kwargs, always_call))


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> _hooks.RemovableHandle:
    """Call `hook(module, name, parameter)` at each registration; what it returns, unless None, is registered."""
    return _hooks.add_global("register_parameter", hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> _hooks.RemovableHandle:
    """Call `hook(module, name, buffer)` at each registration; what it returns, unless None, is registered."""
    return _hooks.add_global("register_buffer", hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> _hooks.RemovableHandle:
    """Call `hook(module, name, child)` at each registration; what it returns, unless None, is registered."""
    return _hooks.add_global("register_module", hook)
