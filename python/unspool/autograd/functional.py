"""Products with Jacobians, whole Jacobians and Hessians of a function of tensors.

`jvp` sweeps tangents forward over the recorded graph, `vjp` rewinds it; `jacobian` takes one rewind an output
element, `hessian` is the Jacobian of a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core, autograd
from unspool.autograd.grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(op: str, what: str, value: Any) -> tuple[bool, tuple[Any, ...]]:
    """Whether `value` was a tuple already, and it as one."""
    single = isinstance(value, _core.Tensor)
    items = (value,) if single else tuple(value) if isinstance(value, (tuple, list)) else None
    if items is None or not all(isinstance(t, _core.Tensor) for t in items):
        raise TypeError(f"{op}: {what} must be a Tensor or a tuple of Tensors, got {type(value).__name__}")
    return not single, items


def _tracked(inputs: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    """Fresh views of the inputs to differentiate by; with `create_graph` they stay tied to the inputs' graph."""
    if create_graph:
        return tuple(x.view(tuple(x.shape)) if x.requires_grad else x.detach().requires_grad_(True) for x in inputs)
    return tuple(x.detach().requires_grad_(True) for x in inputs)


def _run(op: str, func: Callable[..., Any], xs: tuple[Any, ...]) -> tuple[bool, tuple[Any, ...]]:
    return _tuple(op, "the function's result", func(*xs))


def _pack(is_tuple: bool, items: Any, keep: bool) -> Any:
    items = tuple(items) if keep else tuple(t.detach() for t in items)
    return items if is_tuple else items[0]


def _vectors(op: str, v: Any, like: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    if v is None:
        if len(like) == 1 and like[0].numel() == 1:
            return (_core.ones_like(like[0].detach()),)
        raise RuntimeError(f"{op}: v may be left out only where the {what} is one tensor of one element")
    _, vs = _tuple(op, "v", v)
    if len(vs) != len(like):
        raise RuntimeError(f"{op}: v has {len(vs)} tensors, the {what} {len(like)}")
    for i, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a.shape != b.shape:
            raise _core.ShapeError(f"{op}: v[{i}] has shape {tuple(a.shape)}, the {what} {tuple(b.shape)}")
    return vs


def _pull(
    outs: tuple[Any, ...], xs: tuple[Any, ...], gs: tuple[Any, ...], create: bool, strict: bool, op: str
) -> list[Any]:
    """Gradients of the outputs that have a graph; zeros where an output doesn't depend on an input."""
    live = [(o, g) for o, g in zip(outs, gs, strict=True) if o.requires_grad]
    found: tuple[Any, ...] = (None,) * len(xs)
    if live:
        found = autograd.grad(
            [o for o, _ in live], xs, [g for _, g in live], retain_graph=True, create_graph=create, allow_unused=True
        )
    if strict and any(g is None for g in found):
        raise RuntimeError(f"{op}: strict=True, and the outputs don't depend on input {found.index(None)}")
    return [_core.zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(func(*inputs), vᵀ·J)`; v has the outputs' shapes, the product the inputs'."""
    many_in, ins = _tuple("vjp", "inputs", inputs)
    with enable_grad():
        xs = _tracked(ins, create_graph)
        many_out, outs = _run("vjp", func, xs)
        vs = _vectors("vjp", v, outs, "output")
        product = _pull(outs, xs, vs, create_graph, strict, "vjp")
    return _pack(many_out, outs, create_graph), _pack(many_in, product, create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(func(*inputs), J·v)`; v has the inputs' shapes, the product the outputs'."""
    _, ins = _tuple("jvp", "inputs", inputs)
    with enable_grad():
        xs = _tracked(ins, create_graph)
        many_out, outs = _run("jvp", func, xs)
        vs = _vectors("jvp", v, ins, "input")
        if strict and not all(o.requires_grad for o in outs):
            raise RuntimeError("jvp: strict=True, and an output doesn't depend on the inputs")
        if create_graph:
            # vᵀJᵀ is linear in its dummy cotangent w, so its own gradient by w is J·v, and that is recorded
            ws = tuple(_core.zeros_like(o.detach()).requires_grad_(True) for o in outs)
            product = _pull(tuple(_pull(outs, xs, ws, True, strict, "jvp")), ws, vs, True, False, "jvp")
        else:
            product = list(push(outs, xs, vs))
    return _pack(many_out, outs, create_graph), _pack(many_out, product, create_graph)


def push(outs: Any, xs: Any, vs: Any) -> tuple[Any, ...]:
    """Tangents of `outs` along `vs` at `xs` (the forward sweep); zeros where an output has no graph."""
    live = [o for o in outs if o.requires_grad]
    swept = iter(_core.jvp(live, list(xs), list(vs)) if live else ())
    tangents = (next(swept) if o.requires_grad else None for o in outs)
    return tuple(_core.zeros_like(o) if t is None else t for o, t in zip(outs, tangents, strict=True))


def _check_options(op: str, vectorize: bool, strategy: str) -> None:
    if vectorize:
        raise NotImplementedError(f"{op}: vectorize=True is not supported")
    if strategy != "reverse-mode":
        raise NotImplementedError(f"{op}: only the strategy 'reverse-mode' is supported, got {strategy!r}")


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of outputs by inputs: entry [o][x] has shape `out.shape + in.shape`.

    Returns:
        A tensor for one output and one input; a tuple over inputs, over outputs, or over outputs of tuples over
        inputs, where those are tuples.
    """
    _check_options("jacobian", vectorize, strategy)
    many_in, ins = _tuple("jacobian", "inputs", inputs)
    with enable_grad():
        xs = _tracked(ins, create_graph)
        many_out, outs = _run("jacobian", func, xs)
        blocks = []
        for out in outs:
            rows = [_pull((out,), xs, (unit,), create_graph, strict, "jacobian") for unit in _units(out)]
            columns = []
            for i, x in enumerate(xs):
                shape = (*out.shape, *x.shape)
                parts = [row[i] for row in rows]
                columns.append(_core.stack(parts).reshape(shape) if parts else _core.zeros(shape, dtype=x.dtype))
            blocks.append(_pack(many_in, columns, create_graph))
    return tuple(blocks) if many_out else blocks[0]


def _units(out: Any) -> Any:
    """Every unit vector of the output's space, in its shape."""
    n = out.numel()
    for i in range(n):
        unit = _core.zeros((n,), dtype=out.dtype)
        unit.numpy()[i] = 1  # shares memory
        yield unit.reshape(tuple(out.shape))


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of a function with one output of one element: entry [x][z] has shape `x.shape + z.shape`."""
    _check_options("hessian", vectorize, outer_jacobian_strategy)
    many_in, ins = _tuple("hessian", "inputs", inputs)

    def gradient(*xs: Any) -> tuple[Any, ...]:
        many_out, outs = _run("hessian", func, xs)
        if many_out or outs[0].numel() != 1:
            raise RuntimeError(f"hessian: the function must return one tensor of one element, got {outs!r}")
        return tuple(_pull(outs, xs, (_core.ones_like(outs[0].detach()),), True, strict, "hessian"))

    blocks = jacobian(gradient, ins, create_graph=create_graph, strict=strict)
    return blocks if many_in else blocks[0][0]


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(func(*inputs), vᵀ·H)` of a function with one output of one element; v and the product have the inputs' shapes.

    It rewinds the graph of the gradient, without the matrix H itself.
    """
    many_in, ins = _tuple("vhp", "inputs", inputs)
    with enable_grad():
        xs = _tracked(ins, create_graph)
        many_out, outs = _run("vhp", func, xs)
        if many_out or outs[0].numel() != 1:
            raise RuntimeError(f"vhp: the function must return one tensor of one element, got {outs!r}")
        vs = _vectors("vhp", v, ins, "input")
        gradient = _pull(outs, xs, (_core.ones_like(outs[0].detach()),), True, strict, "vhp")
        product = _pull(tuple(gradient), xs, vs, create_graph, strict, "vhp")
    return _pack(False, outs, create_graph), _pack(many_in, product, create_graph)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(func(*inputs), H·v)`: the same as `vhp`, since H is symmetric where second derivatives are continuous."""
    return vhp(func, inputs, v, create_graph, strict)
