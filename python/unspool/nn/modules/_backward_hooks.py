"""Backward hooks of modules: where the gradients of a module's inputs and outputs pass."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.autograd.function import Function

__all__ = ["of"]


class _Marked(Function):
    """Its inputs, unchanged, as results of one call."""

    @staticmethod
    def forward(ctx: Any, *tensors: Any) -> Any:
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


def _mark(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int], Any]:
    """The values with those that require grad passed through `_Marked`, their places, and the call."""
    places = [i for i, v in enumerate(values) if isinstance(v, _core.Tensor) and v.requires_grad]
    if not places or not _core.is_grad_enabled():
        return values, [], None
    marked = _Marked.apply(*[values[i] for i in places])
    changed = list(values)
    for i, t in zip(places, marked, strict=True):
        changed[i] = t
    return tuple(changed), places, marked[0].grad_fn


def _spread(grads: tuple[Any, ...], places: list[int], n: int) -> tuple[Any, ...]:
    full: list[Any] = [None] * n
    for i, g in zip(places, grads, strict=True):
        full[i] = g
    return tuple(full)


def of(module: Any) -> _Backward | None:
    """What watches one call of the module, where it has backward hooks."""
    own = module.__dict__
    if not own.get("_backward_hooks") and not own.get("_backward_pre_hooks"):
        return None
    return _Backward(module)


class _Backward:
    """One call: catches the gradients of its outputs, then of its inputs."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._grad_output: Any = None
        self._has_inputs = False
        self._n_inputs = 0

    def _hooks(self, kind: str) -> list[Any]:
        return list(self._module.__dict__.get(kind, {}).values())

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        args, places, call = _mark(args)
        n = self._n_inputs = len(args)  # the hooks below keep no tensor: it would keep its own history
        blanks = [(a.shape, a.dtype) if isinstance(a, _core.Tensor) else None for a in args]
        if call is not None:
            self._has_inputs = True

            def on_inputs(grads: Any, _: Any) -> Any:
                if self._grad_output is None:
                    return None
                # as in PyTorch a tensor that no gradient goes to has one of zeros
                full = [
                    _core.zeros(*blank[:1], dtype=blank[1]) if g is None and blank else g
                    for g, blank in zip(_spread(grads, places, n), blanks, strict=True)
                ]
                got = self._run(tuple(full))
                return tuple(got[i] for i in places)

            call.register_hook(on_inputs)
        return args

    def outputs(self, result: Any) -> Any:
        several = isinstance(result, tuple)
        values, places, call = _mark(result if several else (result,))
        if call is None:
            return result
        n = len(values)

        def on_outputs(grads: Any) -> Any:
            full = _spread(grads, places, n)
            for hook in self._hooks("_backward_pre_hooks"):
                got = hook(self._module, full)
                if got is not None:
                    full = got if isinstance(got, tuple) else (got,)
            self._grad_output = full
            if not self._has_inputs:
                self._run((None,) * self._n_inputs)
            return tuple(full[i] for i in places)

        call.register_prehook(on_outputs)
        return values if several else values[0]

    def _run(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self._hooks("_backward_hooks"):
            got = hook(self._module, grad_input, self._grad_output)
            if got is None:
                continue
            got = got if isinstance(got, tuple) else (got,)
            if len(got) != len(grad_input):
                raise RuntimeError(
                    f"register_full_backward_hook: the hook returned {len(got)} gradients, the module has "
                    f"{len(grad_input)} inputs"
                )
            grad_input = got
        self._grad_output = None
        return grad_input
