"""Saving and loading a module's state. What `load` must refuse it takes back: the module is then as it was."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn.modules import _hooks
from unspool.nn.modules._walking import Walkable
from unspool.nn.parameter import Parameter

__all__ = ["Stateful"]

_EXTRA = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """The names that `load_state_dict` expected and didn't find, and those it found and didn't expect."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class _Changes:
    """What a load does. Deferred, all of it waits until nothing is left to refuse; else it can be taken back.

    A module whose own `_load_from_state_dict` or hook may look at the values that were loaded can't wait.
    """

    def __init__(self, deferred: bool = False) -> None:
        self._deferred = deferred
        self._undo: list[Callable[[], Any]] = []
        self._waiting: list[Callable[[], Any]] = []
        self._last: list[Callable[[], Any]] = []

    def put(self, table: dict[str, Any], name: str, value: Any) -> None:
        own = table[name]
        self._do(lambda: table.__setitem__(name, value), lambda: table.__setitem__(name, own))

    def write(self, own: Any, value: Any) -> None:
        before = None if self._deferred else own.detach().clone()
        self._do(lambda: own.copy_(value), lambda: own.copy_(before))

    def _do(self, do: Callable[[], Any], undo: Callable[[], Any]) -> None:
        if self._deferred:
            self._waiting.append(do)
        else:
            with no_grad():
                do()
            self._undo.append(undo)

    def later(self, do: Callable[[], Any]) -> None:
        self._last.append(do)

    def settle(self) -> None:
        with no_grad():
            for do in self._waiting:
                do()
        for do in self._last:
            do()

    def take_back(self) -> None:
        with no_grad():
            for undo in reversed(self._undo):
                undo()


class Stateful(Walkable):
    """The part of `Module` that saves and loads."""

    _version: int = 1  # of the names and meanings in the state_dict; travels in its `_metadata`

    def _saved(self) -> Iterator[tuple[dict[str, Any], str, Any]]:
        """(table, name, tensor) of everything that is saved for this module alone."""
        for name, p in self._parameters.items():
            if p is not None:
                yield self._parameters, name, p
        for name, b in self._buffers.items():
            if b is not None and name not in self._non_persistent_buffers_set:
                yield self._buffers, name, b

    def _has_extra(self) -> bool:
        return type(self).get_extra_state is not Stateful.get_extra_state

    def get_extra_state(self) -> Any:
        """What else to save; a subclass that defines this defines `set_extra_state` too."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define set_extra_state")

    # saving

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own tensors into `destination`; to be overridden where they are not all there is."""
        for _, name, t in self._saved():
            destination[prefix + name] = t if keep_vars else t.detach()
        if self._has_extra():
            destination[prefix + _EXTRA] = self.get_extra_state()

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """An OrderedDict of parameters and persistent buffers by dotted name, sharing memory with the module's.

        Its attribute `_metadata` holds the version of each module.
        """
        given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
        destination = given.get("destination", destination)
        prefix, keep_vars = given.get("prefix", prefix), given.get("keep_vars", keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._tables("_state_dict_pre_hooks"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._tables("_state_dict_hooks"):
            got = hook(self, destination, prefix, metadata)
            if got is not None and getattr(hook, "public", False):
                raise RuntimeError("state_dict: a hook of register_state_dict_post_hook must return None")
            destination = destination if got is None else got
        return destination

    def _tables(self, kind: str) -> list[Any]:
        return list(self.__dict__.get(kind, {}).values())

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> _hooks.RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before this module's state is read."""
        return _hooks.add(self, "_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> _hooks.RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` afterwards; it may change the dict in place."""
        return _hooks.add(self, "_state_dict_hooks", _PublicHook(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> _hooks.RemovableHandle:
        """As register_state_dict_post_hook, but what the hook returns, unless None, replaces the dict."""
        return _hooks.add(self, "_state_dict_hooks", hook)

    # loading

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Copy this module's own tensors from `state_dict`, and say in the lists what doesn't fit."""
        for hook in self._tables("_load_state_dict_pre_hooks"):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        changes = local_metadata.get("changes") or _Changes()
        assign = bool(local_metadata.get("assign_to_params_buffers", False))
        known = set()
        for table, name, own in list(self._saved()):
            key = prefix + name
            known.add(name)
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value = state_dict[key]
            if not isinstance(value, _core.Tensor):
                error_msgs.append(
                    f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"
                )
            elif value.shape != own.shape:
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                    f"the shape in current model is {own.shape}."
                )
            elif not assign:
                changes.write(own, value)
            elif isinstance(own, Parameter) and not isinstance(value, Parameter):
                changes.put(table, name, Parameter(value, requires_grad=own.requires_grad))
            else:
                changes.put(table, name, value)
        key = prefix + _EXTRA
        if self._has_extra():
            if key in state_dict:
                extra = state_dict[key]
                changes.later(lambda: self.set_extra_state(extra))
            elif strict:
                missing_keys.append(key)
            known.add(_EXTRA)
        if strict:
            for key in state_dict:
                if key.startswith(prefix):
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else known):
                        unexpected_keys.append(key)
        if "changes" not in local_metadata:
            changes.settle()

    def _register_load_state_dict_pre_hook(self, hook: Any, with_module: bool = False) -> _hooks.RemovableHandle:
        """As register_load_state_dict_pre_hook, but the hook gets no module unless `with_module`."""
        return _hooks.add(self, "_load_state_dict_pre_hooks", _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> _hooks.RemovableHandle:
        """Call the hook before this module loads, with the arguments of `_load_from_state_dict`, the module first."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> _hooks.RemovableHandle:
        """Call `hook(module, incompatible_keys)` after this module has loaded; it may change the lists in place."""
        return _hooks.add(self, "_load_state_dict_post_hooks", hook)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Copy the values of `state_dict` into this module; with `assign`, hold its tensors themselves.

        Returns:
            A named tuple of missing_keys and unexpected_keys.

        Raises:
            RuntimeError: shapes differ, a value is no Tensor or, with `strict`, keys are missing or unexpected;
                the module is unchanged.
            TypeError: `state_dict` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}")
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata
        changes = _Changes(deferred=_can_wait(self))
        keys = _IncompatibleKeys([], [])
        errors: list[str] = []
        try:
            _load(self, state_dict, "", metadata or {}, assign, changes, keys, errors)
            problems = []
            if strict and keys.missing_keys:
                problems.append(_listed("Missing", keys.missing_keys))
            if strict and keys.unexpected_keys:
                problems.append(_listed("Unexpected", keys.unexpected_keys))
            problems += errors
            if problems:
                raise RuntimeError(
                    f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(problems)
                )
        except BaseException:
            changes.take_back()
            raise
        changes.settle()
        return keys


def _listed(what: str, keys: list[str]) -> str:
    return f"{what} key(s) in state_dict: " + ", ".join(f'"{key}"' for key in keys) + ". "


# The `_load_from_state_dict`s that don't look at what they loaded.
WAITING: set[Any] = {Stateful._load_from_state_dict}


def _can_wait(module: Any) -> bool:
    below = list(module.modules())
    return all(type(m)._load_from_state_dict in WAITING and not m._load_state_dict_post_hooks for m in below)


class _PublicHook:
    """A hook that may return nothing."""

    public = True

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


class _WithModule:
    """A hook that gets its module first. The module is found again in a copy or a pickle."""

    def __init__(self, fn: Callable[..., Any], module: Any) -> None:
        self.fn, self.module = fn, module

    def __call__(self, *args: Any) -> Any:
        return self.fn(self.module, *args)


def _load(
    module: Any,
    state_dict: Any,
    prefix: str,
    metadata: Mapping[str, Any],
    assign: bool,
    changes: _Changes,
    keys: _IncompatibleKeys,
    errors: list[str],
) -> None:
    """Load a module, then those below it, each from the names under its prefix."""
    local = {**metadata.get(prefix[:-1], {}), "changes": changes}
    if assign:
        local["assign_to_params_buffers"] = True
    module._load_from_state_dict(state_dict, prefix, local, True, keys.missing_keys, keys.unexpected_keys, errors)
    for name, child in module._modules.items():
        if child is not None:
            below = f"{prefix}{name}."
            part = OrderedDict((k, v) for k, v in state_dict.items() if k.startswith(below))
            _load(child, part, below, metadata, assign, changes, keys, errors)
    for hook in module._tables("_load_state_dict_post_hooks"):
        if hook(module, keys) is not None:
            raise AssertionError("load_state_dict: a hook of register_load_state_dict_post_hook must return None")
