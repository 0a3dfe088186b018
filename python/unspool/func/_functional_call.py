"""Calling a module with other parameters than its own, which are back in place when the call ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["functional_call"]


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
