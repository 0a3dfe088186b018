"""A model that is looked at, and left as it was: its parts stand in for themselves as copies while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import enable_grad

__all__ = ["stand_ins"]


@contextmanager
def _ambient(dtype: Any) -> Iterator[None]:
    """What the block draws from the default generator is not missing afterwards; what it makes is of `dtype`."""
    from unspool.random import get_rng_state, set_rng_state

    state, default = get_rng_state(), _core.get_default_dtype()
    try:
        if dtype is not None:
            _core.set_default_dtype(dtype)
        yield
    finally:
        _core.set_default_dtype(default)
        set_rng_state(state)


def _contents(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list, set)) else None


def _put_back(value: Any, contents: Any) -> None:
    value.clear()
    if isinstance(value, list):
        value.extend(contents)
    else:
        value.update(contents)


@contextmanager
def stand_ins(model: Any, dtype: Any = None) -> Iterator[None]:
    """Within the block the model's parameters, buffers and plain tensor attributes are copies, which record gradients.

    Floating-point ones are of `dtype`, where one is given, and so are new tensors. Afterwards each module has the
    attributes, tables and hooks that it had, and the default generator its state; lists, dicts and sets that modules
    hold are put back one deep.
    """
    from unspool.nn import Parameter

    made: dict[int, Any] = {}

    def copy(t: Any) -> Any:
        if id(t) not in made:
            same = t.detach().clone()
            if dtype is not None and same.is_floating_point():
                same = same.to(dtype)
            made[id(t)] = Parameter(same) if isinstance(t, Parameter) and same.is_floating_point() else same
        return made[id(t)]

    modules = list(model.modules())
    kept = [(vars(m), dict(vars(m)), {k: _contents(v) for k, v in vars(m).items()}) for m in modules]
    with _ambient(dtype), enable_grad():
        try:
            for own, _, _ in kept:
                for table in (own, own["_parameters"], own["_buffers"]):
                    table.update({name: copy(t) for name, t in table.items() if _core.is_tensor(t)})
            yield
        finally:
            for own, before, contents in kept:
                own.clear()
                own.update(before)
                for name, value in contents.items():
                    if value is not None:
                        _put_back(own[name], value)
