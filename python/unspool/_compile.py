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

_MOST_PLANS = 32
_SIMPLE = (int, float, bool, str, bytes, complex, type(None))
_FUNCTIONS = (types.FunctionType, types.MethodType)
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
            elif name.endswith("_hooks") and isinstance(value, dict):
                yield _SIZE, value, None, len(value)
            elif _is_simple(value) or _core.is_tensor(value):
                yield _ITEM, own, name, value


def _guards_of_value(value: Any) -> Iterator[_Guard]:
    """A module's, what simple attributes another callable has, such as a loss that is an object, and whether an
    optimizer has got something, such as a `step` with hooks."""
    from unspool.nn import Module
    from unspool.optim import Optimizer

    if isinstance(value, Module):
        yield from _guards_of_module(value)
    elif isinstance(value, Optimizer):
        yield _SIZE, vars(value), None, len(vars(value))
    elif callable(value) and not isinstance(value, (type, *_FUNCTIONS)):
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            yield from ((_ITEM, own, name, entry) for name, entry in own.items() if _is_simple(entry))


def _guards_of_function(function: Any, seen: set[int] | None = None) -> Iterator[_Guard]:
    """What the function names: globals, closure cells, defaults, and the object it is a method of; and what functions
    name that are in closure cells, or global in the same module."""
    seen = set() if seen is None else seen
    seen.add(id(function))
    if isinstance(function, types.MethodType):
        owner, function = function.__self__, function.__func__
        yield from _guards_of_value(owner)
        own = getattr(owner, "__dict__", {})
        if type(own) is dict and isinstance(function, types.FunctionType):
            for name in function.__code__.co_names:
                if name in own:
                    yield _ITEM, own, name, own[name]
                    yield from _guards_of_value(own[name])
    if not isinstance(function, types.FunctionType):
        yield from _guards_of_value(function)
        return
    inner: list[Any] = []
    for name in function.__code__.co_names:
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                continue
            yield _ITEM, function.__globals__, name, value
            yield from _guards_of_value(value)
            if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
                inner.append(value)
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # still empty
            continue
        yield _CELL, cell, None, value
        yield from _guards_of_value(value)
        if isinstance(value, _FUNCTIONS):
            inner.append(value)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _guards_of_value(value)
    for value in inner:
        if id(value) not in seen:
            yield from _guards_of_function(value, seen)


def _structure(tree: Any) -> Any:
    """What containers are in `tree`, and where: equal for calls whose leaves mean the same."""
    if isinstance(tree, dict):
        return type(tree), tuple(tree), tuple(map(_structure, tree.values()))
    if isinstance(tree, (tuple, list)):
        return (type(tree), *map(_structure, tree))
    return None


def _taken_apart(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Structure and leaves of a call; the structure is None where all arguments are leaves, given by position."""
    if not kwargs and not any(isinstance(arg, (tuple, list, dict)) for arg in args):
        return None, args
    return _structure((args, kwargs)), flatten((args, kwargs))


def _rebuilder(result: Any) -> Callable[[list[Any]], Any] | None:
    """Makes a result like `result` of its tensors; None where it is one tensor."""
    if _core.is_tensor(result):
        return None
    constants = [None if _core.is_tensor(leaf) else leaf for leaf in flatten(result)]
    is_tensor = [_core.is_tensor(leaf) for leaf in flatten(result)]
    empty = rebuild_with(result, iter(constants))

    def rebuild(tensors: list[Any]) -> Any:
        made = iter(tensors)
        return rebuild_with(empty, iter([next(made) if t else c for t, c in zip(is_tensor, constants, strict=True)]))

    return rebuild


@functools.cache
def _function() -> Any:
    from unspool.autograd.function import Function

    class CompiledFunction(Function):
        """The one record of a call whose results have a history."""

        @staticmethod
        def forward(ctx: Any, frozen: Any, arguments: Any, *wanted: Any) -> Any:
            results, saved = frozen.forward(arguments)
            roots = frozen.roots()
            ctx.frozen, ctx.roots, ctx.counts = frozen, roots, (len(saved), len(arguments))
            ctx.save_for_backward(*saved, *arguments, *frozen.read_in_backward())
            ctx.mark_non_differentiable(*(t for i, t in enumerate(results) if i not in roots))
            return tuple(results)

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            if _core.is_grad_enabled():
                raise RuntimeError(
                    "compile: a frozen function's backward has no derivative of its own (create_graph=True); "
                    "call the plain function instead"
                )
            saved, arguments = ctx.counts
            tensors = ctx.saved_tensors
            given = [cotangents[i] for i in ctx.roots]
            return None, None, *ctx.frozen.backward(tensors[:saved], tensors[saved : saved + arguments], given)

    return CompiledFunction


def _apply(frozen: Any, arguments: Any) -> Any:
    return _function().apply(frozen, arguments, *frozen.wanted(arguments))


class Compiled:
    """What `compile` returns: call it like the function.

    The first two calls of each kind (the shapes and dtypes of tensors, all other arguments, gradient mode) run eagerly
    and are recorded; where they agree, later ones replay the plan. `plans` tells how many plans there are.
    """

    def __init__(self, function: Callable[..., Any], fallback: str | None, memory_budget: int | None = None) -> None:
        self._function = function
        self._fallback = fallback
        self._budget = -1 if memory_budget is None else memory_budget
        self._plans = _core.Plans()
        self._replay = self._plans.replayer()
        self._recorded: dict[Any, tuple[_core.Captured, list[_Guard]]] = {}
        self._eager = False
        self._lock = threading.RLock()
        functools.update_wrapper(self, function, updated=())

    @property
    def plans(self) -> int:
        """How many plans there are."""
        return len(self._plans.all())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            result = self._replay(None, *args)
            if result is not NotImplemented:
                return result
        if self._eager:
            return self._function(*args, **kwargs)
        structure, leaves = _taken_apart(args, kwargs)
        if structure is not None:
            result = self._replay(structure, *leaves)
            if result is not NotImplemented:
                return result
        return self._record(structure, leaves, args, kwargs)

    def repeat(self, times: int, *args: Any, **kwargs: Any) -> Any:
        """The result of the last of `times` calls with the same arguments, which run natively, one after the other.

        Learning rates and other settings are read once, before the first. Raises ValueError unless `times` is an int
        of at least 1.
        """
        if type(times) is not int or times < 1:
            raise ValueError(f"repeat: times must be an int of at least 1, got {times!r}")
        structure, leaves = _taken_apart(args, kwargs)
        while True:
            result = self._plans.repeat(times, structure, leaves)
            if result is not NotImplemented:
                return result
            result = self(*args, **kwargs)
            times -= 1
            if times == 0:
                return result

    def _record(self, structure: Any, leaves: Any, args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in leaves if _core.is_tensor(leaf)]
        values = tuple(None if _core.is_tensor(leaf) else (type(leaf), leaf) for leaf in leaves)
        key = _core.is_grad_enabled(), _core._layout(tensors), structure, values
        try:
            hash(key)
        except TypeError:
            unhashable = next(x for x in leaves if not _core.is_tensor(x) and not _hashable(x))
            raise _core.PlanError(
                f"compile: arguments must be tensors or hashable values, got {unhashable!r:.60} "
                f"of type {type(unhashable).__name__}"
            ) from None

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
                try:
                    plan = _core.FrozenFunction(
                        captured, guards, structure, leaves, _rebuilder(result), _apply, self._budget
                    )
                except _core.PlanError as error:  # of the memory budget
                    if self._fallback is None:
                        raise
                    self._go_eager(str(error))
                else:
                    self._plans.add(plan, _MOST_PLANS)
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

    def _only_plan(self) -> _core.FrozenFunction:
        for plan in self._plans.all():
            return plan
        raise _core.PlanError(
            f"compile: {self._name()} has no plan yet; it is made in the second call with arguments of the same kind"
        )

    def explain(self) -> str:
        """What the first plan runs: an instruction a line, with shapes, flops, bytes and the program's line."""
        return self._only_plan().explain()

    def draw(self, path: Any) -> None:
        """Write a picture of the first plan, as recorded and after fusion: SVG or PNG, by the path's suffix.

        Needs matplotlib. Raises ValueError for another suffix, and for more than 400 steps.
        """
        from unspool._draw import draw

        draw(self._only_plan().drawing(), path)

    def memory(self) -> dict[str, int]:
        """Bytes of the first plan: `arena`, in which `temporaries` share places, and `outputs`, `gradients`,
        `constants` beside it. With a memory budget, bytes `saved` of the arena, for `extra_flops` of products in
        `recomputed` operations."""
        return self._only_plan().memory()


@functools.cache
def _optimized_module() -> Any:
    from unspool.nn import Module

    class OptimizedModule(Module):
        """A module whose calls are frozen: the module itself is `_orig_mod`, and gives all other attributes."""

        def __init__(self, module: Any, compiled: Compiled) -> None:
            super().__init__()
            self._orig_mod = module
            self.__dict__["_compiled"] = compiled
            self.train(module.training)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self._compiled(*args, **kwargs)

        forward = __call__

        def __getattr__(self, name: str) -> Any:
            if name in ("plans", "explain", "memory", "repeat", "draw"):
                return getattr(self.__dict__["_compiled"], name)
            if name == "_orig_mod":
                return super().__getattr__(name)
            return getattr(self._orig_mod, name)

    return OptimizedModule


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
    fallback: str | None = None,
    memory_budget: int | None = None,
) -> Any:
    """A function, or a module's forward, frozen: recorded in two calls, then replayed without Python.

    `model` may be a whole training step: zero_grad, forward, backward, the optimizer's step. A replay gives the bits of
    the eager call. Learning rates and other settings of optimizers are read at every call; new shapes, dtypes, modes,
    attributes of modules, globals or closure values make a new plan; everything else the function reads in Python is
    read once. With `memory_budget` the arena, where temporary tensors of a whole step lie, has at most so many bytes:
    results that backward needs are let go of and computed a second time, by the same operations, with as few more flops
    as can be found. With `fallback="eager"` a function that cannot be frozen runs eagerly, and a warning says so once;
    without, PlanError names the line.

    Results that have a history, as a module's, carry one record whose backward is frozen, too. A module becomes a
    module whose `_orig_mod` is the one given.

    The other arguments are those of PyTorch's compiler. They have no effect here, but `disable=True`, which returns
    `model` itself.

    Raises PlanError, also where a call reads a tensor's value in Python (`.item()`, `bool(t)`, NumPy), sets gradients
    and returns a tensor with a history, or keeps a tensor outside, and where a budget cannot be met, with the smallest
    that can. ValueError: a budget that is no int of at least 0.
    """
    if fallback not in (None, "eager"):
        raise ValueError(f'compile: fallback must be None or "eager", got {fallback!r}')
    if memory_budget is not None and (type(memory_budget) is not int or memory_budget < 0):
        raise ValueError(f"compile: memory_budget must be an int of at least 0, in bytes, got {memory_budget!r}")
    if model is None:
        return functools.partial(compile, disable=disable, fallback=fallback, memory_budget=memory_budget)
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    if disable:
        return model
    compiled = Compiled(model, fallback, memory_budget)
    from unspool.nn import Module

    return _optimized_module()(model, compiled) if isinstance(model, Module) else compiled
