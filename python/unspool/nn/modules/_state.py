"""Saving and loading a module's state. `load` looks at everything first and changes nothing if it must refuse."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Iterator, Mapping
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn.parameter import Parameter

__all__ = ["load", "save"]

_EXTRA = "_extra_state"


class IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """The names that `load_state_dict` expected and didn't find, and those it found and didn't expect."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _entries(module: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """(table, name, tensor) of everything that is saved for this module alone."""
    for name, p in module._parameters.items():
        if p is not None:
            yield module._parameters, name, p
    for name, b in module._buffers.items():
        if b is not None and name not in module._non_persistent_buffers_set:
            yield module._buffers, name, b


def _has_extra(module: Any) -> bool:
    from unspool.nn.modules.module import Module

    return type(module).get_extra_state is not Module.get_extra_state


def _walk(module: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every (prefix, module), parents first; a module held under two names comes twice."""
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")


def save(module: Any, destination: Any, prefix: str, keep_vars: bool) -> Any:
    """Name → tensor (sharing memory with the module's own), depth first."""
    destination = OrderedDict() if destination is None else destination
    for where, sub in _walk(module, prefix):
        for _, name, t in _entries(sub):
            destination[where + name] = t if keep_vars else t.detach()
        if _has_extra(sub):
            destination[where + _EXTRA] = sub.get_extra_state()
    return destination


def load(module: Any, state_dict: Any, strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy (or, with `assign`, take over) the tensors of `state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}")
    missing: list[str] = []
    wrong: list[str] = []
    known: set[str] = set()
    moves: list[tuple[dict[str, Any], str, Any, Any]] = []
    extras: list[tuple[Any, Any]] = []
    for where, sub in _walk(module, ""):
        for table, name, own in _entries(sub):
            key = where + name
            known.add(key)
            if key not in state_dict:
                missing.append(key)
                continue
            value = state_dict[key]
            if not isinstance(value, _core.Tensor):
                wrong.append(f"{key}: the state_dict must hold a Tensor, it holds {type(value).__name__}")
            elif value.shape != own.shape:
                wrong.append(f"size mismatch for {key}: the state_dict has {value.shape}, the module {own.shape}")
            else:
                moves.append((table, name, own, value))
        if _has_extra(sub):
            key = where + _EXTRA
            known.add(key)
            if key in state_dict:
                extras.append((sub, state_dict[key]))
            else:
                missing.append(key)
    unexpected = [key for key in state_dict if key not in known]
    problems = []
    if strict and missing:
        problems.append("Missing key(s): " + ", ".join(f'"{key}"' for key in missing))
    if strict and unexpected:
        problems.append("Unexpected key(s): " + ", ".join(f'"{key}"' for key in unexpected))
    problems += wrong
    if problems:
        raise RuntimeError(
            f"load_state_dict: the state_dict doesn't fit {type(module).__name__}, which is unchanged:\n\t"
            + "\n\t".join(problems)
        )
    with no_grad():
        for table, name, own, value in moves:
            if not assign:
                own.copy_(value)
            elif isinstance(own, Parameter) and not isinstance(value, Parameter):
                table[name] = Parameter(value, requires_grad=own.requires_grad)
            else:
                table[name] = value
    for sub, extra in extras:
        sub.set_extra_state(extra)
    return IncompatibleKeys(missing, unexpected)
