"""Which results of earlier operations a function can reach without being given them.

A checkpoint cuts the recorded graph where its function began. The graph doesn't tell that place (a node is as good as
another), so it is found from the other side: by the tensors that were there before the call.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from unspool import _core

__all__ = ["tensors_before"]

_LARGEST = 1000  # longer containers are data sets and logs, and looking at them would cost more than the call


def tensors_before(*roots: Any) -> Iterator[Any]:
    """Every tensor that `roots` reach through containers, closures, defaults, globals that a function names, bound
    objects and attributes; each once."""
    stack = list(roots)
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, _core.Tensor):
            yield item
        elif isinstance(item, (tuple, list, set, frozenset)):
            stack.extend(item if len(item) <= _LARGEST else ())
        elif isinstance(item, dict):
            stack.extend(item.values() if len(item) <= _LARGEST else ())
        elif isinstance(item, FunctionType):
            stack.extend(_of_function(item))
        elif isinstance(item, MethodType):
            stack += [item.__self__, item.__func__]
        elif isinstance(item, functools.partial):
            stack += [item.func, item.args, item.keywords]
        elif not isinstance(item, (type, ModuleType, BuiltinFunctionType)):
            stack.extend(_of_object(item))


def _of_function(f: FunctionType) -> Iterator[Any]:
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that has no value yet
            continue
    yield f.__defaults__
    yield f.__kwdefaults__
    yield getattr(f, "__wrapped__", None)
    if (f.__module__ or "").startswith("unspool."):  # the package's globals hold no results
        return
    codes = [f.__code__]
    for code in codes:
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
        for value in (f.__globals__[name] for name in code.co_names if name in f.__globals__):
            # Another module's functions lead through whole libraries, which took 10 ms a call.
            if not isinstance(value, FunctionType) or value.__globals__ is f.__globals__:
                yield value


def _of_object(item: Any) -> Iterator[Any]:
    state = getattr(item, "__dict__", None)
    if not isinstance(state, dict):
        return
    if "_modules" in state and "_parameters" in state:  # a Module: its parameters are leaves, found in the graph
        yield from (state["_modules"], state.get("_buffers"), type(item).forward)
        yield from (value for name, value in state.items() if not name.startswith("_"))
    else:
        yield state
        yield type(item).__call__ if callable(item) else None
