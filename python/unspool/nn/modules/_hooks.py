"""Hooks of modules. A module without hooks never comes here: `Module.__call__` makes one check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.autograd.function import Function

__all__ = ["RemovableHandle", "add", "call"]

_KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again."""

    def __init__(self, module: Any, kind: str, entry: Any) -> None:
        self._module, self._kind, self._entry = module, kind, entry

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        entries = self._module.__dict__.get(self._kind, [])
        self._module.__dict__[self._kind] = [e for e in entries if e is not self._entry]
        if not any(self._module.__dict__.get(kind) for kind in _KINDS):
            self._module.__dict__.pop("_hooked", None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add(
    module: Any, kind: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool, always: bool = False
) -> RemovableHandle:
    """Register `hook` under `kind`, one of `_KINDS`."""
    entries = module.__dict__.setdefault(kind, [])
    entry = [hook, with_kwargs, always]
    entries.insert(0 if prepend else len(entries), entry)
    module.__dict__["_hooked"] = True
    return RemovableHandle(module, kind, entry)


class _Marked(Function):
    """Its inputs, unchanged, as results of one call: where a module's gradients pass."""

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
    full = [None] * n
    for i, g in zip(places, grads, strict=True):
        full[i] = g
    return tuple(full)


class _Backward:
    """One call of a module with backward hooks: catches the gradients of its outputs, then of its inputs."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._grad_output: Any = None
        self._has_inputs = False
        self._n_inputs = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        args, places, call = _mark(args)
        self._n_inputs = len(args)
        if call is not None:
            self._has_inputs = True

            def on_inputs(grads: Any, _: Any) -> Any:
                if self._grad_output is None:
                    return None
                got = self._run(_spread(grads, places, len(args)))
                return tuple(got[i] for i in places)

            call.register_hook(on_inputs)
        return args

    def outputs(self, result: Any) -> Any:
        several = isinstance(result, tuple)
        values, places, call = _mark(result if several else (result,))
        if call is None:
            return result

        def on_outputs(grads: Any) -> Any:
            full = _spread(grads, places, len(values))
            for hook, *_ in list(self._module.__dict__.get("_backward_pre_hooks", ())):
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
        for hook, *_ in list(self._module.__dict__.get("_backward_hooks", ())):
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


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward` between its hooks; a hook that returns something replaces the input or the output."""
    state = module.__dict__
    done = set()
    try:
        for hook, with_kwargs, _ in list(state.get("_forward_pre_hooks", ())):
            got = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            if got is None:
                continue
            if with_kwargs:
                if not isinstance(got, tuple) or len(got) != 2:
                    raise RuntimeError(
                        f"forward_pre_hook: with_kwargs hooks return None or (args, kwargs), got {got!r}"
                    )
                args, kwargs = got
            else:
                args = got if isinstance(got, tuple) else (got,)
        backward = _Backward(module) if state.get("_backward_hooks") or state.get("_backward_pre_hooks") else None
        if backward is not None:
            args = backward.inputs(args)
        result = module.forward(*args, **kwargs)
        for entry in list(state.get("_forward_hooks", ())):
            hook, with_kwargs, _ = entry
            done.add(id(entry))
            got = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
            if got is not None:
                result = got
        return result if backward is None else backward.outputs(result)
    except Exception:
        for entry in list(state.get("_forward_hooks", ())):
            hook, with_kwargs, always = entry
            if always and id(entry) not in done:
                if with_kwargs:
                    hook(module, args, kwargs, None)
                else:
                    hook(module, args, None)
        raise
