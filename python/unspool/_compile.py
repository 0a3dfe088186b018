"""`unspool.compile`: a function is recorded twice, and replayed from then on as one native plan.

The native part notes what a call does (`_core._capture`), compares two calls and replays (`_core.FrozenFunction`).
Here are the calls' arguments and results, the guards, and the plans that one function has.
"""

from __future__ import annotations

import functools
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from unspool import _core
from unspool._tree import flatten, rebuild_with

__all__ = ["Compiled", "compile"]

_MOST_PLANS = 16
_SIMPLE = (int, float, bool, str, bytes, complex, type(None))
_ITEM, _CELL, _SIZE = range(3)
_Guard = tuple[int, Any, Any, Any]


def _is_simple(value: Any) -> bool:
    return isinstance(value, _SIMPLE) or (isinstance(value, tuple) and all(map(_is_simple, value)))


def _guards_of_module(module: Any) -> Iterator[_Guard]:
    """Mode, attributes, parameters, buffers and children, of a module and all in it."""
    for part in module.modules():
        own = vars(part)
        yield _SIZE, own, None, len(own)
        for name, value in own.items():
            if name in ("_parameters", "_buffers", "_modules"):
                yield _SIZE, value, None, len(value)
                for key, entry in value.items():
                    yield _ITEM, value, key, entry
            elif _is_simple(value) or _core.is_tensor(value):
                yield _ITEM, own, name, value


def _guards_of_value(value: Any) -> Iterator[_Guard]:
    from unspool.nn import Module

    if isinstance(value, Module):
        yield from _guards_of_module(value)


def _guards_of_function(function: Any) -> Iterator[_Guard]:
    """What the function names: globals, closure cells, defaults, and the object it is a method of."""
    if isinstance(function, types.MethodType):
        yield from _guards_of_value(function.__self__)
        function = function.__func__
    if not isinstance(function, types.FunctionType):
        yield from _guards_of_value(function)
        return
    for name in function.__code__.co_names:
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                continue
            yield _ITEM, function.__globals__, name, value
            yield from _guards_of_value(value)
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # still empty
            continue
        yield _CELL, cell, None, value
        yield from _guards_of_value(value)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _guards_of_value(value)


class _Plan:
    """One frozen program: what its arguments and its result look like, and the native plan."""

    def __init__(self, captured: _core.Captured, guards: list[_Guard], result: Any) -> None:
        self.native = _core.FrozenFunction(captured, guards)
        self.result = result  # with None in the place of tensors
        self.is_tensor = [_core.is_tensor(leaf) for leaf in flatten(result)]
        self.constants = [None if _core.is_tensor(leaf) else leaf for leaf in flatten(result)]
        self.result = rebuild_with(result, iter(self.constants))
        self.single = self.is_tensor == [True] and self.result is None

    def rebuild(self, tensors: list[Any]) -> Any:
        if self.single:
            return tensors[0]
        made = iter(tensors)
        leaves = [next(made) if t else c for t, c in zip(self.is_tensor, self.constants, strict=True)]
        return rebuild_with(self.result, iter(leaves))


class Compiled:
    """What `compile` returns: call it like the function.

    The first two calls of each kind (the shapes and dtypes of tensors, all other arguments, gradient mode) run eagerly
    and are recorded; where they agree, later ones replay the plan. `plans` tells how many plans there are.
    """

    def __init__(self, function: Callable[..., Any], fallback: str | None) -> None:
        self._function = function
        self._fallback = fallback
        self._plans: dict[Any, list[_Plan]] = {}
        self._recorded: dict[Any, tuple[_core.Captured, list[_Guard]]] = {}
        self._eager = False
        self._lock = threading.RLock()
        functools.update_wrapper(self, function, updated=())

    @property
    def plans(self) -> int:
        """How many plans there are."""
        return sum(map(len, self._plans.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._eager:
            return self._function(*args, **kwargs)
        leaves = flatten((args, kwargs)) if kwargs else flatten(args)
        tensors = [leaf for leaf in leaves if _core.is_tensor(leaf)]
        key = (
            _core.is_grad_enabled(),
            _core._layout(tensors),
            tuple(kwargs),
            *(None if _core.is_tensor(leaf) else (type(leaf), leaf) for leaf in leaves),
        )
        try:
            plans = self._plans.get(key, ())
        except TypeError:
            unhashable = next(x for x in leaves if not _core.is_tensor(x) and not _hashable(x))
            raise _core.PlanError(
                f"compile: arguments must be tensors or hashable values, got {unhashable!r:.60} "
                f"of type {type(unhashable).__name__}"
            ) from None
        for plan in plans:
            results = plan.native(tensors)
            if results is not None:
                return plan.rebuild(results)
        return self._record(key, tensors, args, kwargs)

    def _record(self, key: Any, tensors: list[Any], args: Any, kwargs: Any) -> Any:
        def run() -> tuple[Any, list[Any]]:
            result = self._function(*args, **kwargs)
            return result, [leaf for leaf in flatten(result) if _core.is_tensor(leaf)]

        with self._lock:
            try:
                result, captured = _core._capture(run, tensors)
            except _core.PlanError as error:
                return self._give_up(str(error), args, kwargs, error)
            before, guards = self._recorded.pop(key, (None, []))
            if before is not None and not (
                _core._guards_hold(guards) and before.gradients == captured.gradients and before.alike(captured)
            ):
                before = None  # a call of another kind
            guards = list(_guards_of_function(self._function))
            why = captured.refusal or (before.difference(captured) if before is not None else "")
            if why:
                self._forget(why)
            elif before is None:
                self._recorded[key] = captured, guards
            else:
                plans = self._plans.setdefault(key, [])
                plans.insert(0, _Plan(captured, guards, result))
                del plans[_MOST_PLANS:]
            return result

    def _forget(self, why: str) -> None:
        text = f"compile: {self._name()} cannot be frozen: {why}"
        if self._fallback is None:
            raise _core.PlanError(text)
        self._go_eager(text)

    def _give_up(self, text: str, args: Any, kwargs: Any, error: Exception) -> Any:
        if self._fallback is None:
            raise error
        self._go_eager(text)
        return self._function(*args, **kwargs)

    def _go_eager(self, text: str) -> None:
        self._eager = True
        warnings.warn(f"{text}. It runs eagerly from now on", UserWarning, stacklevel=5)

    def _name(self) -> str:
        return getattr(self._function, "__qualname__", type(self._function).__name__)

    def _only_plan(self) -> _Plan:
        for plans in self._plans.values():
            return plans[0]
        raise _core.PlanError(
            f"compile: {self._name()} has no plan yet; it is made in the second call with arguments of the same kind"
        )

    def explain(self) -> str:
        """What the first plan runs: an instruction a line, with shapes, flops, bytes and the program's line."""
        return self._only_plan().native.explain()

    def memory(self) -> dict[str, int]:
        """Bytes of the first plan: `arena`, in which `temporaries` share places, and `outputs`, `gradients`,
        `constants` beside it."""
        return self._only_plan().native.memory()


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def compile(model: Any = None, *, fallback: str | None = None) -> Any:
    """A function, or a module's forward, frozen: recorded in two calls, then replayed without Python.

    `model` may be a whole training step: zero_grad, forward, backward, the optimizer's step. A replay gives the bits of
    the eager call. Learning rates and other settings of optimizers are read at every call; new shapes, dtypes, modes,
    attributes of modules, globals or closure values make a new plan; everything else the function reads in Python is
    read once. With `fallback="eager"` a function that cannot be frozen runs eagerly, and a warning says so once;
    without, PlanError names the line.

    Raises PlanError, also where a call reads a tensor's value in Python (`.item()`, `bool(t)`, NumPy), returns a tensor
    that backward may still be called on, or keeps a tensor outside.
    """
    if fallback not in (None, "eager"):
        raise ValueError(f'compile: fallback must be None or "eager", got {fallback!r}')
    if model is None:
        return functools.partial(compile, fallback=fallback)
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    return Compiled(model, fallback)
