"""What a module holds: parameters, buffers and submodules in three dicts, and attribute access that reaches into them.

`Registry` is the lower half of `Module` (module.py), which walks, calls, converts and shows what is held here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from unspool import _core
from unspool.nn.modules import _hooks
from unspool.nn.parameter import Buffer, Parameter

__all__ = ["Registry"]

_TABLES = ("_parameters", "_buffers", "_modules")


class Registry(_core.ModuleBase):
    """The tables of a module. Assigning a `Parameter`, a `Buffer` or a module as an attribute registers it."""

    training: bool
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _hooked = False  # True on an instance with hooks of its own

    call_super_init = False  # True passes what __init__ gets on to the next class, for multiple inheritance
    dump_patches = False  # a name of PyTorch's that programs set; nothing reads it

    # Seen where a module has none of its own; a registration gives it one.
    _forward_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _forward_pre_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _backward_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _backward_pre_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _state_dict_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _state_dict_pre_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _load_state_dict_pre_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()
    _load_state_dict_post_hooks: ClassVar[OrderedDict[int, Any]] = OrderedDict()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            first = repr(next(iter(kwargs))) if kwargs else f"{len(args)} positional"
            raise TypeError(f"{type(self).__name__}: Module.__init__() takes no arguments, got {first}")
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _non_persistent_buffers_set=set(), _modules={})
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a pickled or copied state; a table that an older one lacks is empty."""
        for table in _TABLES:
            self.__dict__.setdefault(table, {})
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.update(state)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "_modules" in own:  # absent while unpickling, or before Module.__init__
            if name in own["_modules"]:
                return own["_modules"][name]
            if name in own["_parameters"]:
                return own["_parameters"][name]
            if name in own["_buffers"]:
                return own["_buffers"][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if "_modules" not in own:
            if isinstance(value, (Parameter, Buffer, Registry)):
                raise AttributeError(
                    f"cannot assign {type(value).__name__} {name!r} before Module.__init__() was called; "
                    f"begin {type(self).__name__}.__init__ with super().__init__()"
                )
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif name in own["_parameters"]:
            self._refill("_parameters", name, value, "Parameter")
        elif isinstance(value, Registry):
            self._forget(name, "_modules")
            self.add_module(name, value)
        elif name in own["_modules"]:
            self._refill("_modules", name, value, "Module")
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in own["_buffers"]:
            if isinstance(value, _core.Tensor):
                own["_buffers"][name] = value
            else:
                self._refill("_buffers", name, value, "Tensor")
        else:
            object.__setattr__(self, name, value)

    def _refill(self, table: str, name: str, value: Any, kind: str) -> None:
        if value is not None:
            raise TypeError(
                f"{type(self).__name__}.{name} must be a {kind} or None, got {type(value).__name__}; "
                "delete the attribute first to give the name another use"
            )
        self.__dict__[table][name] = None

    def _forget(self, name: str, keep: str) -> None:
        """Make way for a registration in the table `keep`, where an old entry holds its place."""
        own = self.__dict__
        own.pop(name, None)
        for table in _TABLES:
            if table != keep:
                own[table].pop(name, None)
        if keep != "_buffers":
            self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        own = self.__dict__
        names = {*dir(type(self)), *own, *own["_parameters"], *own["_buffers"], *own["_modules"]}
        return sorted(name for name in names if not name[:1].isdigit())

    def _check_name(self, kind: str, name: Any, table: str) -> None:
        own = self.__dict__
        if "_modules" not in own:
            raise AttributeError(f"cannot register {kind} {name!r} before Module.__init__() was called")
        if not isinstance(name, str):
            raise TypeError(f"a {kind} name must be a string, got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".": {name!r}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be the empty string ""')
        if name not in own[table] and hasattr(self, name):
            raise KeyError(f"attribute {name!r} of {type(self).__name__} already exists")

    def register_parameter(self, name: str, param: Any) -> None:
        """Hold `param` (a Parameter or None) under `name`.

        Raises:
            TypeError: the name is no string, or the value is neither a Parameter nor None.
            KeyError: the name is taken, empty or contains a dot.
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"parameter {name!r} must be a Parameter or None, got {type(param).__name__}")
        if param is not None and _hooks.GLOBAL["register_parameter"]:
            param = _hooks.registering("register_parameter", self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Hold `tensor` (or None) under `name`, in the state_dict if `persistent`; errors as `register_parameter`."""
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, _core.Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        if _hooks.GLOBAL["register_buffer"]:
            tensor = _hooks.registering("register_buffer", self, name, tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Any) -> None:
        """Hold `module` (a Module or None) as a child under `name`; errors as `register_parameter`."""
        if module is not None and not isinstance(module, Registry):
            raise TypeError(f"child {name!r} must be a Module or None, got {type(module).__name__}")
        self._check_name("module", name, "_modules")
        if _hooks.GLOBAL["register_module"]:
            module = _hooks.registering("register_module", self, name, module)
        self._modules[name] = module

    def register_module(self, name: str, module: Any) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> _hooks.RemovableHandle:
        """Call `hook(module, args, output)` after each forward; what it returns, unless None, replaces the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; with `always_call` the hook runs even if the
        forward raises.
        """
        return _hooks.add(self, "_forward_hooks", _hooks.Hook(hook, with_kwargs, always_call), prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> _hooks.RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns, unless None, replaces the arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which returns both.
        """
        return _hooks.add(self, "_forward_pre_hooks", _hooks.Hook(hook, with_kwargs), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> _hooks.RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in backward, when the gradients of the inputs are there; what it
        returns, unless None, replaces grad_input. Both are tuples, None where no gradient flows."""
        return _hooks.add(self, "_backward_hooks", hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> _hooks.RemovableHandle:
        """Call `hook(module, grad_output)` in backward, before the module's; what it returns replaces grad_output."""
        return _hooks.add(self, "_backward_pre_hooks", hook, prepend)
