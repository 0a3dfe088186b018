"""Differentiation by hand: `backward`, `grad`, the grad modes, and `functional` (Jacobians, Hessians, products).

The tape itself is native; this file checks arguments and fills in what a caller may leave out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unspool import _core
from unspool.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from unspool.autograd.function import Function
from unspool.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

if TYPE_CHECKING:
    from unspool.autograd import forward_ad as forward_ad
    from unspool.autograd import functional as functional
    from unspool.autograd import graph as graph
    from unspool.autograd import profiler as profiler
    from unspool.autograd.gradcheck import gradcheck as gradcheck
    from unspool.autograd.gradcheck import gradgradcheck as gradgradcheck

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
]


class _VariableMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _core.Tensor)


class Variable(metaclass=_VariableMeta):
    """PyTorch's old name: a tensor with the memory of `data`, without its history; every tensor is an instance.

    Raises:
        TypeError: `data` is no Tensor.
    """

    def __new__(cls, data: Any, requires_grad: bool = False) -> Any:
        if not isinstance(data, _core.Tensor):
            raise TypeError(f"Variable: data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)


def _tensors(op: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, (_core.Tensor, Iterable)):
        raise TypeError(f"{op}: {name} must be a Tensor or a sequence of Tensors, got {type(value).__name__}")
    items = [value] if isinstance(value, _core.Tensor) else list(value)
    for i, item in enumerate(items):
        if not isinstance(item, _core.Tensor):
            raise TypeError(f"{op}: {name}[{i}] must be a Tensor, got {type(item).__name__}")
    return items


def _seeds(op: str, outputs: list[Any], given: Any) -> list[Any]:
    """One gradient an output: the given one, or 1 for an output of one element."""
    if given is None:
        given = [None] * len(outputs)
    elif isinstance(given, _core.Tensor):
        given = [given]
    else:
        given = list(given)
    if len(given) != len(outputs):
        raise RuntimeError(f"{op}: {len(outputs)} outputs need as many gradients, got {len(given)}")
    seeds = []
    for i, (out, g) in enumerate(zip(outputs, given, strict=True)):
        if not out.requires_grad:
            raise RuntimeError(
                f"{op}: tensor {i} does not require grad and has no grad_fn, so there is nothing to differentiate"
            )
        if g is None:
            if out.numel() != 1:
                raise RuntimeError(
                    f"{op}: grad can be implicitly created only for scalar outputs; tensor {i} has shape "
                    f"{tuple(out.shape)}, so pass its gradient"
                )
            g = _core.ones_like(out)
        elif not isinstance(g, _core.Tensor):
            raise TypeError(f"{op}: gradient {i} must be a Tensor or None, got {type(g).__name__}")
        elif g.shape != out.shape:
            raise _core.ShapeError(
                f"{op}: a gradient has its tensor's shape; gradient {i} has shape {tuple(g.shape)}, "
                f"the tensor {tuple(out.shape)}"
            )
        seeds.append(g)
    return seeds


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of `outputs` (weighted by `grad_outputs`) with respect to `inputs`; nothing is added to `.grad`.

    Returns:
        One tensor an input, of the input's shape; None for an input that the outputs don't depend on, where
        `allow_unused` permits, or zeros with `materialize_grads`.

    Raises:
        RuntimeError: an input doesn't require grad or is unused, or an output of several elements has no weight.
        NotImplementedError: `is_grads_batched` is true.
    """
    if not only_inputs:
        warnings.warn(
            "grad: only_inputs=False has no effect; it never has in newer PyTorch", FutureWarning, stacklevel=2
        )
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched=True is not supported; call grad once a row")
    if materialize_grads:
        if allow_unused is False:
            raise ValueError("grad: allow_unused=False contradicts materialize_grads=True")
        allow_unused = True
    outs = _tensors("grad", "outputs", outputs)
    ins = _tensors("grad", "inputs", inputs)
    if not ins:
        raise ValueError("grad: inputs is empty; name at least one tensor to differentiate by")
    for i, x in enumerate(ins):
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require grad; its shape is {tuple(x.shape)}")
    seeds = _seeds("grad", outs, grad_outputs)
    keep = create_graph if retain_graph is None else retain_graph
    found = tuple(_core.grad(outs, ins, seeds, keep, create_graph, bool(allow_unused)))
    if materialize_grads:
        found = tuple(_core.zeros_like(x) if g is None else g for g, x in zip(found, ins, strict=True))
    return found


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Sequence[Any] | Any | None = None,
) -> None:
    """Add the gradients of `tensors` (weighted by `grad_tensors`) to `.grad` of the leaves, or of `inputs` alone.

    Raises:
        RuntimeError: a tensor has no graph, has several elements and no weight, or its graph was released.
    """
    if grad_variables is not None:
        raise TypeError("backward: grad_variables is the old name of grad_tensors; use that")
    outs = _tensors("backward", "tensors", tensors)
    seeds = _seeds("backward", outs, grad_tensors)
    ins = None if inputs is None else _tensors("backward", "inputs", inputs)
    if ins is not None and not ins:
        raise RuntimeError("backward: inputs is empty; leave it out to reach all leaves")
    keep = create_graph if retain_graph is None else retain_graph
    _core.backward(outs, seeds, keep, create_graph, ins)


def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "functional", "graph", "profiler"):
        from importlib import import_module

        return import_module(f"unspool.autograd.{name}")
    if name in ("gradcheck", "gradgradcheck"):
        from importlib import import_module

        found = import_module("unspool.autograd.gradcheck")
        globals().update(gradcheck=found.gradcheck, gradgradcheck=found.gradgradcheck)
        return globals()[name]
    raise AttributeError(f"module 'unspool.autograd' has no attribute {name!r}")
