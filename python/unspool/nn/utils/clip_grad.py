"""Keeping gradients small, by their common norm or entry by entry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _grads(parameters: Any) -> list[Any]:
    if isinstance(parameters, _core.Tensor):
        parameters = [parameters]
    return [p.grad for p in parameters if p.grad is not None]


def _norm(t: Any, norm_type: float) -> Any:
    if norm_type == float("inf"):
        return t.abs().max() if t.numel() else _core.zeros((), dtype=t.dtype)
    if norm_type == 2.0:
        return (t * t).sum().sqrt()
    return (t.abs() ** norm_type).sum() ** (1.0 / norm_type)


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Any:
    """The norm of all entries of all tensors together, as a 0-d tensor."""
    if isinstance(tensors, _core.Tensor):
        tensors = [tensors]
    norm_type = float(norm_type)
    if not norm_type > 0:
        raise ValueError(f"get_total_norm: norm_type must be positive, got {norm_type}")
    with no_grad():
        norms = [_norm(t, norm_type) for t in tensors]
        total = _norm(_core.stack(norms), norm_type) if norms else _core.tensor(0.0)
    if error_if_nonfinite and not abs(total.item()) < float("inf"):
        raise RuntimeError(f"get_total_norm: the norm of order {norm_type} is {total.item()}, not a finite number")
    return total


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale all gradients in place so that their common norm is at most `max_norm`; returns the norm before.

    Raises:
        RuntimeError: the norm is infinite or NaN, and `error_if_nonfinite`; the gradients are unchanged.
    """
    parameters = [parameters] if isinstance(parameters, _core.Tensor) else list(parameters)
    total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Any, foreach: bool | None = None) -> None:
    """Scale all gradients in place by max_norm / total_norm where that is less than 1."""
    with no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for g in _grads(parameters):
            g.mul_(factor)


def clip_grad_value_(parameters: Iterable[Any], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every entry of every gradient to [-clip_value, clip_value], in place."""
    limit = float(clip_value)
    with no_grad():
        for g in _grads(parameters):
            g.copy_(g.clamp(-limit, limit))
