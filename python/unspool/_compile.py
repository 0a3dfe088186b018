"""`unspool.compile`: a function is recorded twice, and replayed from then on as one native plan.

The native part notes what a call does (`_core._capture`), compares two calls and replays (`_core.FrozenFunction`).
Here are the calls' arguments and results, the guards, and the plans that one function has.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool._guards import Guard, guards_of, settings_in, settings_of, tensors_held, tensors_in
from unspool._tree import flatten, rebuild_with

__all__ = ["Compiled", "compile"]

_MOST_PLANS, _MOST_KINDS = 32, 4


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


_ONCE = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


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
        self._recorded: dict[Any, list[tuple[_core.Captured, list[Guard]]]] = {}  # first calls of kinds, latest first
        self._eager = self._sealed = False
        self._kinds: list[str] = []  # of the plans' arguments, latest first
        self._lock = threading.RLock()
        functools.update_wrapper(self, function, updated=())

    def __reduce__(self) -> Any:
        """Copies and pickles have the function, and no plans yet. Like a function, what a decorator has put into a
        module is found there by its name."""
        found: Any = sys.modules.get(getattr(self, "__module__", ""))
        for name in self._name().split("."):
            found = getattr(found, name, None)
        if found is self:
            return self._name()
        return type(self), (self._function, self._fallback, None if self._budget < 0 else self._budget)

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

    def seal(self) -> Compiled:
        """Make no more plans: from now on a call that none is for raises PlanError. Returns the function itself."""
        self._only_plan()
        self._sealed = True
        return self

    def _no_plan_for(self, leaves: Any) -> str:
        here = _kind(leaves)
        if here in self._kinds:
            why = "its modules, parameters, gradients, optimizers, globals or closure values are not as they were"
        else:
            why = f"arguments are {here}, and were " + " or ".join(dict.fromkeys(self._kinds))
        return f"compile: {self._name()} is sealed, and none of its {self.plans} plans is for this call: {why}"

    def _record(self, structure: Any, leaves: Any, args: Any, kwargs: Any) -> Any:
        if self._sealed:
            raise _core.PlanError(self._no_plan_for(leaves))
        tensors = [leaf for leaf in leaves if _core.is_tensor(leaf)]
        values = tuple(None if _core.is_tensor(leaf) else (type(leaf), _exact(leaf)) for leaf in leaves)
        key = _core.is_grad_enabled(), _core._autocast(), _core._layout(tensors), structure, values
        if not _hashable(key):
            unhashable = next(x for x in leaves if not _core.is_tensor(x) and not _hashable(x))
            self._forget(
                f"its arguments must be tensors or hashable values, got {unhashable!r:.60} "
                f"of type {type(unhashable).__name__}"
            )
            return self._function(*args, **kwargs)

        def run() -> tuple[Any, list[Any]]:
            result = self._function(*args, **kwargs)
            return result, [leaf for leaf in flatten(result) if _core.is_tensor(leaf)]

        with self._lock:
            held, settings = tensors_held(self._function), settings_of(self._function)
            result, captured = _core._capture(run, tensors, self._fallback is not None)
            first = self._recorded.setdefault(key, [])
            kinds = (i for i, call in enumerate(first) if _core._guards_hold(call[1]) and call[0].alike(captured))
            found = next(kinds, None)
            before = None if found is None else first.pop(found)[0]
            guards = guards_of(self._function)
            once = [leaf for leaf in flatten(result) if isinstance(leaf, _ONCE)]
            if once:
                self._forget(f"it returns a {type(once[0]).__name__}, which runs once")
                return result
            why = (
                captured.refusal
                or _changed(held, settings)
                or (before.difference(captured) if before is not None else "")
            )
            if why:
                self._forget(why)
            elif before is None:
                first[:] = [(captured, guards), *first[: _MOST_KINDS - 1]]
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
                    self._kinds = [_kind(leaves), *self._kinds[: _MOST_PLANS - 1]]
            return result

    def _forget(self, why: str) -> None:
        text = f"compile: {self._name()} cannot be frozen: {why}"
        if self._fallback is None:
            raise _core.PlanError(text)
        self._go_eager(text)

    def _go_eager(self, text: str) -> None:
        if not self._eager:  # a call of itself may have said so
            self._eager = True
            warnings.warn(f"{text}. It runs eagerly from now on", UserWarning, stacklevel=_levels_above())

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

        def __reduce__(self) -> Any:
            made = self.__dict__["_compiled"].__reduce__()
            return _compiled_again, (self._orig_mod, *made[1][1:], self.training)

        def __getattr__(self, name: str) -> Any:
            if name in ("plans", "explain", "memory", "repeat", "draw", "seal"):
                return getattr(self.__dict__["_compiled"], name)
            if name == "_orig_mod":
                return super().__getattr__(name)
            return getattr(self._orig_mod, name)

    return OptimizedModule


def _levels_above() -> int:
    """How far up the first frame of the caller's own is, as `warnings.warn` counts."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("unspool."):
        frame, levels = frame.f_back, levels + 1
    return levels


def _compiled_again(module: Any, fallback: str | None, memory_budget: int | None, training: bool) -> Any:
    made = _optimized_module()(module, Compiled(module, fallback, memory_budget))
    made.training = training
    return made


def _kind(leaves: Any) -> str:
    """The arguments of a call, for messages."""
    shown = (f"{x.dtype} {tuple(x.shape)}" if _core.is_tensor(x) else f"{x!r:.40}" for x in leaves)
    return f"[{', '.join(shown)}]"


def _exact(value: Any) -> Any:
    """Equal for numbers that are the same: neither zeros of two signs, nor NaN and another."""
    return repr(value) if isinstance(value, (float, complex)) else value


def _changed(held: list[tuple[str, Any, list[Any]]], settings: list[tuple[Any, list[dict[str, Any]]]]) -> str:
    """What a replay would leave out."""
    for name, box, before in held:
        now = tensors_in(box)
        if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
            return (
                f"it changes which tensors the {type(box).__name__} {name} holds, which a replay would not; return them"
            )
    if any(settings_in(groups) != before for groups, before in settings):
        return "it changes settings of an optimizer, which a replay would not; change them outside"
    return ""


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
    model = model._function if isinstance(model, Compiled) else model
    compiled = Compiled(model, fallback, memory_budget)
    from unspool.nn import Module

    return _optimized_module()(model, compiled) if isinstance(model, Module) else compiled
