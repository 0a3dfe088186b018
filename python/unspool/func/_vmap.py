"""`vmap`: a function of single entries, mapped over a dimension: called once an entry, and the results stacked."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from unspool import _core
from unspool._tree import flatten, rebuild_with

__all__ = ["vmap"]

_RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that calls `func` with each entry of its arguments along `in_dims` and stacks the results.

    Args:
        in_dims: the dimension of each argument, or of each tensor in it, that is mapped; None for one that is passed as
            it is, as keyword arguments are.
        out_dims: where each result has the new dimension; None for one that is the same for every entry.
        randomness: "error" refuses a function that draws random numbers, "same" gives every entry the same ones.
        chunk_size: taken, without effect: one entry is computed at a time.

    Raises (when called):
        ValueError: nothing is mapped, the mapped sizes differ or are 0, or `in_dims` doesn't fit the arguments.
        RuntimeError: random numbers are drawn under "error".
    """
    if randomness not in _RANDOMNESS:
        raise RuntimeError(f"vmap: randomness is {randomness!r}; it must be one of {_RANDOMNESS}")

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        dims = _spread("in_dims", tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
        leaves = flatten(args)
        sizes = set()
        for x, d in zip(leaves, dims, strict=True):
            if d is None:
                continue
            if not isinstance(x, _core.Tensor):
                raise ValueError(f"vmap: in_dims is {d} for a {type(x).__name__}; only Tensors are mapped, give None")
            if not -x.dim() <= d < x.dim():
                raise ValueError(f"vmap: in_dims is {d} for a Tensor of {x.dim()} dimensions")
            sizes.add(x.shape[d])
        if not sizes:
            raise ValueError("vmap: nothing is mapped; some in_dims must be other than None")
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(f"vmap: the mapped dimensions must have one size other than 0, got {sorted(sizes)}")
        before = _core._rng_state_bytes()
        state = _core.get_rng_state() if randomness == "same" else None
        results: list[Any] = []
        for i in range(sizes.pop()):
            entry = [x if d is None else x.select(d, i) for x, d in zip(leaves, dims, strict=True)]
            if state is not None and i:
                _core.set_rng_state(state)
            results.append(func(*rebuild_with(args, iter(entry)), **kwargs))
            if randomness == "error" and i == 0 and before != _core._rng_state_bytes():
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
        outs = [flatten(r) for r in results]
        places = _spread("out_dims", out_dims, results[0])
        stacked = [
            column[0] if d is None else _stack(column, d)
            for column, d in zip(zip(*outs, strict=True), places, strict=True)
        ]
        return rebuild_with(results[0], iter(stacked))

    return wrapper


def _stack(entries: Any, dim: int) -> Any:
    for x in entries:
        if not isinstance(x, _core.Tensor):
            raise ValueError(f"vmap: the function must return Tensors, got type {type(x).__name__}")
    return _core.stack(list(entries), dim)


def _spread(name: str, dims: Any, tree: Any) -> list[Any]:
    """`dims` for each leaf of `tree`: one for all, or one for each part, and so on inward."""
    if dims is None or (isinstance(dims, int) and not isinstance(dims, bool)):
        return [dims] * len(flatten(tree))
    if isinstance(dims, dict) and isinstance(tree, dict) and dims.keys() == tree.keys():
        return [d for key, part in tree.items() for d in _spread(name, dims[key], part)]
    if isinstance(dims, (tuple, list)) and isinstance(tree, (tuple, list)) and len(dims) == len(tree):
        return [d for inner, part in zip(dims, tree, strict=True) for d in _spread(name, inner, part)]
    raise ValueError(f"vmap: {name} is {dims!r}, which doesn't have the structure of what it is for")
