"""`Module`, the base class of layers and networks: how it is called, walked, converted and shown.

What it holds is in `_registry.py`, saving and loading in `_state.py`, hooks in `_hooks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn.modules import _hooks, _state
from unspool.nn.modules._registry import Registry

__all__ = ["Module"]

_M = TypeVar("_M", bound="Module")
_FLOATING = (_core.float32, _core.float64)


def _no_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """What the module computes; to be defined by subclasses."""
    raise NotImplementedError(f'{type(self).__name__} has no "forward" method')


def _indented(text: str) -> str:
    """All lines but the first, two spaces further in."""
    return text.replace("\n", "\n  ")


class Module(Registry):
    """A layer or network. Subclasses call `super().__init__()` first and define `forward`.

    Assigning a `Parameter`, a `Buffer` or a `Module` as an attribute registers it.
    """

    # a Callable, so that subclasses may choose their own signature
    forward: Callable[..., Any] = _no_forward

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__call__ is not Module.__call__:
            cls._hooked = True  # containers must not go round a __call__ of the subclass's own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return _hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # walking

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, module) of this module (named `prefix`) and all below, parents first, each object once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        """This module and all below it, each object once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """(name, module) of the direct children, each object once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Any]:
        """The direct children, each object once."""
        for _, child in self.named_children():
            yield child

    def _named(self, table: str, prefix: str, recurse: bool, unique: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        below = self.named_modules(prefix=prefix, remove_duplicate=unique) if recurse else [(prefix, self)]
        for where, module in below:
            for name, tensor in module.__dict__[table].items():
                if tensor is None or id(tensor) in seen:
                    continue
                if unique:
                    seen.add(id(tensor))
                yield (f"{where}.{name}" if where else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, parameter) of this module and, with `recurse`, of all below."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters of this module and, with `recurse`, of all below, each object once."""
        for _, p in self._named("_parameters", "", recurse, True):
            yield p

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, buffer) of this module and, with `recurse`, of all below."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """The buffers of this module and, with `recurse`, of all below, each object once."""
        for _, b in self._named("_buffers", "", recurse, True):
            yield b

    def get_submodule(self, target: str) -> Any:
        """The module under the dotted name `target` ('' is this one); AttributeError where there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None)
            if not isinstance(found, Module):
                where = f"{type(module).__name__} has no submodule {name!r}"
                raise AttributeError(f"get_submodule: {where}; the target was {target!r}")
            module = found
        return module

    def _get(self, op: str, table: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in module.__dict__[table]:
            raise AttributeError(f"{op}: {type(module).__name__} has no {op[4:]} {name!r}; the target was {target!r}")
        return module.__dict__[table][name]

    def get_parameter(self, target: str) -> Any:
        """The parameter under the dotted name `target`; AttributeError where there is none."""
        return self._get("get_parameter", "_parameters", target)

    def get_buffer(self, target: str) -> Any:
        """The buffer under the dotted name `target`; AttributeError where there is none."""
        return self._get("get_buffer", "_buffers", target)

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
        _core.zero_grad(list(self.parameters()), set_to_none)

    # conversion

    def to(self: _M, *args: Any, **kwargs: Any) -> _M:
        """Convert floating-point parameters and buffers, in place: `to(dtype)`, `to(device, dtype)` or `to(tensor)`.

        Raises:
            TypeError: a dtype that is not floating-point, or an argument that is none of the above.
            RuntimeError: another device than the CPU.
        """
        dtype = kwargs.pop("dtype", None)
        devices = [kwargs.pop("device", None)]
        for known in ("non_blocking", "copy"):
            kwargs.pop(known, None)
        if kwargs:
            raise TypeError(f"Module.to: unknown argument {next(iter(kwargs))!r}")
        for arg in args:
            if isinstance(arg, _core.Tensor):
                dtype = arg.dtype
            elif isinstance(arg, _core.dtype):
                dtype = arg
            elif not isinstance(arg, bool):  # non_blocking
                devices.append(arg)
        for device in devices:
            kind = getattr(device, "type", device)
            if device is not None and not isinstance(kind, str):
                raise TypeError(f"Module.to: expected a dtype, a device or a Tensor, got {type(device).__name__}")
            if isinstance(kind, str) and kind.partition(":")[0] != "cpu":
                raise RuntimeError(f"Module.to: there is only the device 'cpu', got {str(device)!r}")
        if dtype is None:
            return self
        if dtype not in _FLOATING:
            raise TypeError(f"Module.to: only floating-point dtypes are possible, got {dtype}")
        return self._apply(lambda t: t.to(dtype) if t.dtype in _FLOATING else t)

    def float(self: _M) -> _M:
        """Floating-point parameters and buffers to float32, in place."""
        return self.to(_core.float32)

    def double(self: _M) -> _M:
        """Floating-point parameters and buffers to float64, in place."""
        return self.to(_core.float64)

    def cpu(self: _M) -> _M:
        """The module itself: everything lives on the CPU."""
        return self

    def _apply(self: _M, fn: Callable[[Any], Any]) -> _M:
        """Replace every parameter's data and gradient, and every buffer, by `fn` of it; all or nothing."""
        with no_grad():
            changed: list[tuple[Any, Any, Any]] = []
            replaced: list[tuple[dict[str, Any], str, Any]] = []
            for p in self.parameters():
                changed.append((p, fn(p.data), None if p.grad is None else fn(p.grad.data)))
            for module in self.modules():
                replaced += [(module._buffers, k, fn(b)) for k, b in module._buffers.items() if b is not None]
            for p, data, gradient in changed:
                p.grad = None  # its dtype must always be the data's
                p.data = data
                p.grad = gradient
            for table, name, buffer in replaced:
                table[name] = buffer
        return self

    # state

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """An OrderedDict of parameters and persistent buffers by dotted name, sharing memory with the module's."""
        for name, value in zip(("destination", "prefix", "keep_vars"), args, strict=False):
            if name == "destination":
                destination = value
            elif name == "prefix":
                prefix = value
            else:
                keep_vars = value
        return _state.save(self, destination, prefix, keep_vars)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Copy the values of `state_dict` into this module; with `assign`, hold its tensors themselves.

        Returns:
            A named tuple of missing_keys and unexpected_keys.

        Raises:
            RuntimeError: shapes differ, a value is no Tensor or, with `strict`, keys are missing or unexpected;
                the module is unchanged.
            TypeError: `state_dict` is no mapping.
        """
        return _state.load(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What else to save; a subclass that defines this defines `set_extra_state` too."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define set_extra_state")

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
