"""`grad`, `grad_and_value`, `vjp` and `jvp` of functions.

Arguments may be tensors or nested tuples, lists and dicts of them. Transforms nest: a gradient taken inside
another transform, or of arguments that require grad, is itself recorded. A gradient taken outside of both is
detached, also from tensors that the function closes over; pass those as arguments to differentiate by them.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local
from typing import Any

from unspool import _core, autograd
from unspool._tree import flatten, rebuild_with
from unspool.autograd.grad_mode import enable_grad

__all__ = ["grad", "grad_and_value", "jvp", "linearize", "vjp"]


class _Level(local):
    depth = 0


_level = _Level()


class _nested:
    """Counts the transforms that are running in this thread."""

    def __enter__(self) -> bool:
        _level.depth += 1
        return _level.depth > 1

    def __exit__(self, *_: object) -> None:
        _level.depth -= 1


def _track(op: str, leaves: list[Any]) -> list[Any]:
    for leaf in leaves:
        if not isinstance(leaf, _core.Tensor):
            raise TypeError(f"{op}: the arguments to differentiate by must be Tensors, got {type(leaf).__name__}")
    return [x.view(tuple(x.shape)) if x.requires_grad else x.detach().requires_grad_(True) for x in leaves]


def _settle(tree: Any, keep: bool) -> Any:
    """Results, tied to the outer graph or free of it."""
    if keep:
        return tree
    return rebuild_with(tree, iter([t.detach() if isinstance(t, _core.Tensor) else t for t in flatten(tree)]))


def _split_aux(op: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"{op}: with has_aux=True the function returns (output, aux), got {type(result).__name__}")
    return result


def _pull(outs: list[Any], xs: list[Any], gs: list[Any], create: bool) -> list[Any]:
    live = [(o, g) for o, g in zip(outs, gs, strict=True) if o.requires_grad]
    if not live:
        return [_core.zeros_like(x) for x in xs]
    return list(
        autograd.grad(
            [o for o, _ in live],
            xs,
            [g for _, g in live],
            retain_graph=True,
            create_graph=create,
            materialize_grads=True,
        )
    )


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(gradient, value)`, or `(gradient, (value, aux))`, for a scalar-valued `func`.

    Raises (when called):
        RuntimeError: the value is no 0-d tensor, or an argument number is out of range.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        numbers = argnums if isinstance(argnums, tuple) else (argnums,)
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise RuntimeError(f"grad: argnums names argument {n}, and there are {len(args)} positional ones")
        chosen = [args[n] for n in numbers]
        leaves = flatten(chosen)
        with _nested() as inside, enable_grad():
            xs = _track("grad", leaves)
            keep = inside or any(x.requires_grad for x in leaves)
            tracked = iter(xs)
            full = list(args)
            for n in numbers:
                full[n] = rebuild_with(args[n], tracked)
            value, aux = _split_aux("grad", func(*full, **kwargs), has_aux)
            if not isinstance(value, _core.Tensor) or value.dim() != 0:
                shape = tuple(value.shape) if isinstance(value, _core.Tensor) else type(value).__name__
                raise RuntimeError(f"grad: the function must return a tensor with no dimensions, got {shape}")
            found = _pull([value], xs, [_core.ones_like(value.detach())], keep)
        gradient = rebuild_with(chosen, iter(found))
        gradient = tuple(gradient) if isinstance(argnums, tuple) else gradient[0]
        value = _settle(value, keep)
        return _settle(gradient, keep), (value, _settle(aux, keep)) if has_aux else value

    return wrapper


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar-valued `func` by its arguments `argnums` (and aux)."""
    both = grad_and_value(func, argnums, has_aux)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """`(func(*primals), pull)`, where `pull(cotangents)` gives a tuple of one vᵀJ an argument; aux comes last."""
    leaves = flatten(primals)
    with _nested() as inside, enable_grad():
        xs = _track("vjp", leaves)
        keep = inside or any(x.requires_grad for x in leaves)
        out, aux = _split_aux("vjp", func(*rebuild_with(primals, iter(xs))), has_aux)
    outs = flatten(out)

    def pull(*cotangents: Any) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        gs = flatten(given)
        if len(gs) != len(outs):
            raise RuntimeError(f"vjp: {len(outs)} outputs need as many cotangents, got {len(gs)}")
        found = _pull(outs, xs, gs, keep or any(g.requires_grad for g in gs))
        return rebuild_with(primals, iter(found))

    result = _settle(out, keep)
    return (result, pull, _settle(aux, keep)) if has_aux else (result, pull)


def linearized(
    op: str, func: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool, strict: bool = False
) -> tuple[Any, Callable[[list[Any]], list[Any]], Any]:
    """`(func(*primals), push, aux)`; `push` gives J·v of each output for v, a tangent of each leaf of the primals."""
    from unspool.autograd.functional import push as sweep

    leaves = flatten(primals)
    with _nested() as inside, enable_grad():
        xs = _track(op, leaves)
        out, aux = _split_aux(op, func(*rebuild_with(primals, iter(xs))), has_aux)
        outs = flatten(out)
        if strict and not all(o.requires_grad for o in outs):
            raise RuntimeError(f"{op}: strict=True, and an output doesn't depend on the primals")
    keep = inside or any(t.requires_grad for t in leaves)

    def push(directions: list[Any]) -> list[Any]:
        recorded = keep or any(v.requires_grad for v in directions)
        with enable_grad():
            if recorded:
                ws = [_core.zeros_like(o.detach()).requires_grad_(True) for o in outs]
                return _pull(_pull(outs, xs, ws, True), ws, directions, True)
            return [t.detach() for t in sweep(outs, xs, directions)]

    return _settle(out, keep), push, _settle(aux, keep)


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """`(func(*primals), J·tangents)`, by one forward sweep; aux comes last."""
    leaves, directions = flatten(primals), flatten(tangents)
    if len(leaves) != len(directions):
        raise RuntimeError(f"jvp: {len(leaves)} primals need as many tangents, got {len(directions)}")
    for i, (x, v) in enumerate(zip(leaves, directions, strict=True)):
        if x.shape != v.shape:
            raise _core.ShapeError(f"jvp: tangent {i} has shape {tuple(v.shape)}, its primal {tuple(x.shape)}")
    out, push, aux = linearized("jvp", func, primals, has_aux, strict)
    result = (out, rebuild_with(out, iter(push(directions))))
    return (*result, aux) if has_aux else result


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """`(func(*primals), push)`, where `push(*tangents)` gives J·tangents, of one recording, at each call."""
    leaves = flatten(primals)
    out, push, _ = linearized("linearize", func, primals, False)

    def call(*tangents: Any) -> Any:
        directions = flatten(tangents)
        if len(directions) != len(leaves):
            raise ValueError(f"linearize: {len(leaves)} primals need as many tangents, got {len(directions)}")
        for i, (x, v) in enumerate(zip(leaves, directions, strict=True)):
            if x.shape != v.shape or x.dtype != v.dtype:
                raise ValueError(
                    f"linearize: tangent {i} has shape {tuple(v.shape)} and dtype {v.dtype}, its primal "
                    f"{tuple(x.shape)} and {x.dtype}"
                )
        return rebuild_with(out, iter(push(directions)))

    return out, call
