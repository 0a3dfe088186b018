"""What a frozen function reads in Python, beside its arguments: looked at before each replay. Start at `guards_of`.

A guard is (kind, owner, key, value): an entry of a dict, what is in a closure cell, how many entries a dict has, a
function's defaults, the tensors in a list or dict. `cpp/bindings/guards.cpp` looks at them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from unspool import _core

__all__ = ["Guard", "guards_of", "settings_in", "settings_of", "tensors_held", "tensors_in"]

Guard = tuple[int, Any, Any, Any]

_ITEM, _CELL, _SIZE, _DEFAULTS, _HOLDS = range(5)
_SIMPLE = (int, float, bool, str, bytes, complex, type(None))
_FUNCTIONS = (types.FunctionType, types.MethodType)


def guards_of(function: Any) -> list[Guard]:
    """Of all that the function names."""
    found = list(_of_function(function, {}))
    plain = [guard for guard in found if guard[0] != _HOLDS]
    return plain + [(_HOLDS, box, None, held) for _, box, held in _held(found) if held or not box]


def tensors_held(function: Any) -> list[tuple[str, Any, list[Any]]]:
    """The lists and dicts that the function names, and which tensors are in them."""
    return _held(_of_function(function, {}))


def _held(guards: Iterable[Guard]) -> list[tuple[str, Any, list[Any]]]:
    return [(str(key), box, tensors_in(box)) for _, _, key, box in guards if type(box) in (list, dict)]


def settings_of(function: Any) -> list[tuple[Any, list[dict[str, Any]]]]:
    """The groups of the optimizers that the function names, and what is set there."""
    owners = [own for kind, own, _, _ in _of_function(function, {}) if kind == _SIZE and "param_groups" in own]
    return [(own["param_groups"], settings_in(own["param_groups"])) for own in owners]


def settings_in(groups: Any) -> list[dict[str, Any]]:
    """What is set in an optimizer's groups, by value where that is simple."""
    return [
        {key: repr(value) if _is_simple(value) else id(value) for key, value in group.items() if key != "params"}
        for group in groups
    ]


def tensors_in(box: Any) -> list[Any]:
    """The tensors in a list or a dict, in order."""
    return [t for t in (box.values() if type(box) is dict else box) if _core.is_tensor(t)]


def _is_simple(value: Any) -> bool:
    return isinstance(value, _SIMPLE) or (isinstance(value, tuple) and all(map(_is_simple, value)))


def _of_module(module: Any, seen: dict[int, Any]) -> Iterator[Guard]:
    """Mode, attributes, parameters, buffers, children and hooks of a module and all in it, and what the program's own
    forwards name."""
    for part in module.modules():
        own = vars(part)
        yield _SIZE, own, None, len(own)
        for name, value in own.items():
            if name in ("_parameters", "_buffers", "_modules") or (name.endswith("_hooks") and isinstance(value, dict)):
                yield _SIZE, value, None, len(value)
                for key, entry in value.items():
                    yield _ITEM, value, key, entry
            elif _is_simple(value) or _core.is_tensor(value):
                yield _ITEM, own, name, value
            elif type(value) in (list, dict):
                yield _HOLDS, own, name, value
        forward = type(part).forward
        if isinstance(forward, types.FunctionType) and not forward.__module__.startswith("unspool."):
            yield from _of_code(forward, part, seen)


def _of_value(value: Any, seen: dict[int, Any]) -> Iterator[Guard]:
    """A module's, what simple attributes another callable has, such as a loss that is an object, and whether an
    optimizer has got something, such as a `step` with hooks."""
    from unspool.nn import Module
    from unspool.optim import Optimizer

    if isinstance(value, Module):
        if id(value) not in seen:
            seen[id(value)] = value
            yield from _of_module(value, seen)
    elif isinstance(value, Optimizer):
        yield _SIZE, vars(value), None, len(vars(value))
    elif callable(value) and not isinstance(value, (type, *_FUNCTIONS)):
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            yield from ((_ITEM, own, name, entry) for name, entry in own.items() if _is_simple(entry))


def _of_function(function: Any, seen: dict[int, Any]) -> Iterator[Guard]:
    """What a function, a method, a partial or an object with `__call__` names."""
    if isinstance(function, types.MethodType):
        yield from _of_value(function.__self__, seen)
        if isinstance(function.__func__, types.FunctionType):
            yield from _of_code(function.__func__, function.__self__, seen)
    elif isinstance(function, types.FunctionType):
        yield from _of_code(function, None, seen)
    elif isinstance(function, functools.partial):
        yield from _of_function(function.func, seen)
        for value in (*function.args, *function.keywords.values()):
            yield from _of_value(value, seen)
    else:
        yield from _of_value(function, seen)
        call = type(function).__call__
        if isinstance(call, types.FunctionType) and not call.__module__.startswith("unspool."):
            yield from _of_code(call, function, seen)


def _of_code(function: types.FunctionType, owner: Any, seen: dict[int, Any]) -> Iterator[Guard]:
    """Globals, closure cells, defaults, the owner's attributes; and what functions name that are in closure cells,
    global in the same module, or methods of the owner's class."""
    if id(function) in seen:
        return
    seen[id(function)] = function
    from unspool.nn import Module

    own, is_module = getattr(owner, "__dict__", {}), isinstance(owner, Module)
    inner: list[tuple[Any, Any]] = []
    for name in _names(function.__code__):
        if type(own) is dict and name in own:
            yield from _of_object(own[name], function, seen)
            replaced_each_time = is_module and type(own[name]) in (list, dict)  # as a cache may be
            yield _HOLDS if replaced_each_time else _ITEM, own, name, own[name]
            yield from _of_value(own[name], seen)
        elif owner is not None:
            method = getattr(type(owner), name, None)
            if isinstance(method, types.FunctionType) and method.__module__ == function.__module__:
                inner.append((method, owner))
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                continue
            yield _ITEM, function.__globals__, name, value
            yield from _of_value(value, seen)
            yield from _of_object(value, function, seen)
            if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
                inner.append((value, None))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # still empty
            continue
        yield _CELL, cell, name, value
        yield from _of_value(value, seen)
        yield from _of_object(value, function, seen)
        if isinstance(value, types.MethodType):
            yield from _of_function(value, seen)
        elif isinstance(value, types.FunctionType):
            inner.append((value, None))
    if function.__defaults__ is not None:
        yield _DEFAULTS, function, None, function.__defaults__
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _of_value(value, seen)
    for name, value in (function.__kwdefaults__ or {}).items():
        yield _ITEM, function.__kwdefaults__, name, value
    for each, its_owner in inner:
        yield from _of_code(each, its_owner, seen)


def _of_object(value: Any, function: types.FunctionType, seen: dict[int, Any]) -> Iterator[Guard]:
    """The modules among an object's attributes that the function names."""
    from unspool.nn import Module

    own = getattr(value, "__dict__", None)
    if type(own) is not dict or isinstance(value, (type, Module, *_FUNCTIONS)):
        return
    for name in _names(function.__code__):
        if isinstance(module := own.get(name), Module):
            yield _ITEM, own, name, module
            yield from _of_value(module, seen)


def _names(code: types.CodeType) -> Iterator[str]:
    """Those of the functions and comprehensions in it, too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
