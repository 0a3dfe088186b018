"""Jacobians and Hessians by transforms: `jacrev` pulls one row back at a time, `jacfwd` pushes one column forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool._tree import flatten, rebuild_with
from unspool.func import _transforms

__all__ = ["hessian", "jacfwd", "jacrev"]


def _units(x: Any) -> list[Any]:
    """The unit tensors in `x`'s shape."""
    n = x.numel()
    return [row.reshape(tuple(x.shape)) for row in _core.eye(n, dtype=x.dtype).unbind(0)] if n else []


def _only(op: str, func: Callable[..., Any], argnums: Any, args: Any, kwargs: Any) -> tuple[Any, tuple[Any, ...]]:
    """`func` as a function of the chosen arguments alone, and these."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for n in numbers:
        if not isinstance(n, int) or not -len(args) <= n < len(args):
            raise RuntimeError(f"{op}: argnums names argument {n}, and there are {len(args)} positional ones")

    def inner(*chosen: Any) -> Any:
        full = list(args)
        for n, x in zip(numbers, chosen, strict=True):
            full[n] = x
        return func(*full, **kwargs)

    return inner, tuple(args[n] for n in numbers)


def _arranged(rows: list[list[Any]], result: Any, chosen: tuple[Any, ...], single: bool) -> Any:
    """`rows[o][i]`, the Jacobian of output o by input i, in the outputs' structure, in each the inputs'."""
    by_output = [rebuild_with(chosen, iter(row)) for row in rows]
    return rebuild_with(result, iter([row[0] if single else row for row in by_output]))


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `func` by its arguments `argnums` (and aux), one rewind an element.

    Of each output and argument it has the output's shape followed by the argument's. `chunk_size` has no effect.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner, chosen = _only("jacrev", func, argnums, args, kwargs)
        result, pull, *aux = _transforms.vjp(inner, *chosen, has_aux=has_aux)
        outs, ins = flatten(result), flatten(chosen)
        rows = []
        for o, out in enumerate(outs):
            zeros = [_core.zeros_like(x.detach()) for x in outs]
            pulled = []
            for unit in _units(out):
                zeros[o] = unit
                pulled.append(flatten(pull(rebuild_with(result, iter(zeros)))))
            rows.append(
                [
                    _core.stack([p[i] for p in pulled]).reshape((*out.shape, *x.shape))
                    if pulled
                    else x.new_zeros((*out.shape, *x.shape))
                    for i, x in enumerate(ins)
                ]
            )
        jacobian = _arranged(rows, result, chosen, not isinstance(argnums, tuple))
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapper


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `func` by its arguments `argnums` (and aux), one sweep an input element.

    The shapes are those of `jacrev`. `randomness` has no effect: `func` is called once.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner, chosen = _only("jacfwd", func, argnums, args, kwargs)
        result, push, aux = _transforms.linearized("jacfwd", inner, chosen, has_aux)
        outs, ins = flatten(result), flatten(chosen)
        rows: list[list[Any]] = [[] for _ in outs]
        for i, x in enumerate(ins):
            tangents = [_core.zeros_like(t.detach()) for t in ins]
            pushed = []
            for unit in _units(x):
                tangents[i] = unit
                pushed.append(push(tangents))
            for o, out in enumerate(outs):
                shape = (*out.shape, *x.shape)
                rows[o].append(
                    _core.stack([p[o] for p in pushed], -1).reshape(shape) if pushed else out.new_zeros(shape)
                )
        jacobian = _arranged(rows, result, chosen, not isinstance(argnums, tuple))
        return (jacobian, aux) if has_aux else jacobian

    return wrapper


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of `func` by its arguments `argnums`."""
    return jacfwd(jacrev(func, argnums), argnums)
