"""Calling a module with other parameters than its own, which are back in place when the call ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unspool import _core

__all__ = ["functional_call", "stack_module_state"]


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with the named parameters and buffers in place of its own.

    With `tie_weights`, a tensor that the module holds under several names is replaced under all of them.

    Raises:
        RuntimeError: `strict`, and names are missing or unknown.
        ValueError: a name appears in two of the dicts.
        AttributeError: a name that the module doesn't have.
    """
    given = _merge(parameter_and_buffer_dicts)
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, sub in module.named_modules(remove_duplicate=False):
        dot = prefix + "." if prefix else ""
        for table in (sub._parameters, sub._buffers):
            places.update({dot + key: (table, key) for key in table})
    unknown = [name for name in given if name not in places]
    if strict:
        missing = [name for name, (table, key) in places.items() if name not in given and table[key] is not None]
        if unknown or missing:
            raise RuntimeError(f"functional_call: unexpected names {unknown}, missing names {missing}")
    elif unknown:
        raise AttributeError(f"functional_call: {type(module).__name__} has no parameter or buffer {unknown[0]!r}")
    wanted = dict(given)
    if tie_weights:
        own_tensors = ((places[name][0][places[name][1]], value) for name, value in given.items())
        by_identity = {id(t): value for t, value in own_tensors if t is not None}
        for name, (table, key) in places.items():
            if name not in wanted and id(table[key]) in by_identity:
                wanted[name] = by_identity[id(table[key])]
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    own = [(places[name], places[name][0][places[name][1]]) for name in wanted]
    try:
        for name, value in wanted.items():
            table, key = places[name]
            table[key] = value
        return module(*positional, **(kwargs or {}))
    finally:
        for (table, key), value in own:
            table[key] = value


def _merge(dicts: Any) -> dict[str, Any]:
    if isinstance(dicts, Mapping):
        return dict(dicts)
    merged: dict[str, Any] = {}
    for one in dicts:
        twice = merged.keys() & one.keys()
        if twice:
            raise ValueError(f"functional_call: {sorted(twice)} appear in more than one dict")
        merged.update(one)
    return merged


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of several modules of one class, stacked, by name: for `vmap` of `functional_call`.

    Raises:
        RuntimeError: no modules, some of other classes, or some training and others evaluating.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return {name: _stacked([p[name] for p in params]) for name in params[0]}, {
        name: _stacked([b[name] for b in buffers]) for name in buffers[0]
    }


def _stacked(tensors: list[Any]) -> Any:
    """A leaf that requires grad where the tensors do."""
    needs = {t.requires_grad for t in tensors}
    if len(needs) > 1:
        raise RuntimeError("stack_module_state: Expected the same requires_grad for a parameter of each model.")
    return _core.stack([t.detach() for t in tensors]).requires_grad_(needs.pop())
