"""Copying and pickling tensors; the native `Tensor.__reduce_ex__` and `Tensor.__deepcopy__` call these functions.

A tensor travels as a NumPy array, so that a pickle made here can be read by any build. Tensors that share one
storage are separate after the journey; one tensor object referred to twice stays one object.
"""

from __future__ import annotations

from typing import Any

from unspool import _core

__all__ = ["deepcopy", "rebuild", "reduce_ex"]


def _attributes(t: Any) -> dict[str, Any]:
    return getattr(t, "__dict__", None) or {}


def _as_type(kind: type, data: Any, requires_grad: bool) -> Any:
    if kind is _core.Tensor:
        return data.requires_grad_(True) if requires_grad else data
    return _core.Tensor._make_subclass(kind, data, requires_grad)


def rebuild(kind: type, array: Any, requires_grad: bool, attributes: dict[str, Any], dtype: Any = None) -> Any:
    """What unpickling calls: a leaf tensor of type `kind` that owns a copy of `array`."""
    t = _as_type(kind, _core.tensor(array, dtype=dtype), requires_grad)
    if attributes:
        t.__dict__.update(attributes)
    return t


def reduce_ex(t: Any, protocol: Any = None) -> tuple[Any, ...]:
    """The pickle of a tensor; a result of operations comes back as a leaf, as in PyTorch."""
    values = t.detach()
    if t.dtype == _core.bfloat16:  # which NumPy does not have
        return rebuild, (type(t), values.float().numpy(), t.requires_grad, dict(_attributes(t)), t.dtype)
    return rebuild, (type(t), values.numpy().copy(), t.requires_grad, dict(_attributes(t)))


def deepcopy(t: Any, memo: dict[int, Any] | None = None) -> Any:
    """A leaf with its own copy of the values, its attributes and, unless it is a Parameter, its gradient.

    Raises:
        RuntimeError: the tensor is a result of recorded operations; a copy of it would lose or share its graph.
    """
    memo = {} if memo is None else memo
    if id(t) in memo:
        return memo[id(t)]
    if not t.is_leaf:
        raise RuntimeError(
            "deepcopy: only leaf tensors can be copied with their place in the graph, and this one was computed "
            f"by {t.grad_fn.name()}; copy t.detach() instead"
        )
    new = _as_type(type(t), t.detach().clone(), t.requires_grad)
    memo[id(t)] = new
    if getattr(type(t), "_repr_lead", None) is None and t.grad is not None:
        new.grad = deepcopy(t.grad, memo)
    attributes = _attributes(t)
    if attributes:
        from copy import deepcopy as deepcopy_any

        new.__dict__.update(deepcopy_any(attributes, memo))
    return new
