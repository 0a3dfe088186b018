"""Distances, similarities, and losses on pairs and triplets, as compositions of native ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.nn._losses import legacy_reduction, reduced

__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "gaussian_nll_loss", "hinge_embedding_loss", "margin_ranking_loss",
    "multi_margin_loss", "multilabel_soft_margin_loss", "pairwise_distance", "poisson_nll_loss", "soft_margin_loss",
    "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1·x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)) along dim, broadcast."""
    shape = _core.result_type(x1, x2)
    if not shape.is_floating_point:
        raise RuntimeError(f"cosine_similarity: expected floating tensors, got {x1.dtype} and {x2.dtype}")
    a, b = x1.to(shape), x2.to(shape)
    a, b = _broadcast(a, b)
    length = [x.norm(2, dim, True) for x in (a, b)]
    a, b = (x / _at_least(n, eps) for x, n in zip((a, b), length, strict=True))
    return (a * b).sum(dim)


def _broadcast(a: Any, b: Any) -> Any:
    from unspool._functions.grids import broadcast_tensors

    return broadcast_tensors(a, b)


def _at_least(n: Any, eps: float) -> Any:
    """The length, or eps where it is smaller; the gradient goes through the length alone, as PyTorch's."""
    return n + (n.detach().clamp_min(eps) - n.detach())


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """‖x1 - x2 + eps‖ₚ along the last dim."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def _same_dims(op: str, *tensors: Any) -> None:
    if len({t.dim() for t in tensors}) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise RuntimeError(f"{op}: the inputs are expected to have the same number of dimensions, got shapes {shapes}")


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, -target · (input1 - input2) + margin), target 1 or -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _same_dims("margin_ranking_loss", input1, input2, target)
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """input where target is 1, max(0, margin - input) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    zero = _core.zeros_like(input)
    far = _core.where(target != 1, (margin - input).clamp_min(0), zero)
    near = _core.where(target != -1, input, zero)
    return reduced(far + near, reduction)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.dim() > 1 or input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: {target.dim()}D target tensor expects {target.dim() + 1}D "
            f"input tensors, but found "
            f"inputs with sizes {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    eps = 1e-12
    product = (input1 * input2).sum(target.dim())
    square1 = (input1 * input1).sum(target.dim()) + eps
    square2 = (input2 * input2).sum(target.dim()) + eps
    cos = product / (square1 * square2).sqrt()
    zero = _core.zeros_like(cos)
    losses = _core.where(target == 1, 1 - cos, zero) + _core.where(target == -1, (cos - margin).clamp_min(0), zero)
    return reduced(losses, reduction)


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """ln(1 + e^(-target · input)), target 1 or -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return reduced((-target * input).exp().log1p(), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The binary cross-entropy of each class's logit, averaged over the classes."""
    from unspool.nn._activations import logsigmoid

    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduced(losses.sum(-1) / input.shape[-1], reduction)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The sum over the other classes of max(0, margin - x[target] + x[i])ᵖ, over the number of classes."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if input.dim() > 2 or (input.numel() == 0 and input.dim() < 2):
        raise RuntimeError(f"multi_margin_loss: expected a vector or matrix, got shape {tuple(input.shape)}")
    rows = input.reshape([1, -1]) if input.dim() < 2 else input
    at = target.reshape([-1])
    if at.shape[0] != rows.shape[0]:
        raise RuntimeError(
            f"multi_margin_loss: inconsistent target size, expected {rows.shape[0]} but got {tuple(target.shape)}"
        )
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got shape {tuple(weight.shape)}")
    if weight is not None and weight.shape != rows.shape[1:]:
        raise RuntimeError(
            f"multi_margin_loss: inconsistent weight size, expected {rows.shape[1]} but got {tuple(weight.shape)}"
        )
    own = rows.gather(1, at.unsqueeze(1))
    gaps = (margin - own + rows).clamp_min(0)
    gaps = gaps * gaps if p == 2 else gaps
    if weight is not None:
        gaps = gaps * weight[at].unsqueeze(1)
    others = _core.ones_like(rows).scatter(1, at.unsqueeze(1), 0.0)
    losses = (gaps * others).sum(1) / rows.shape[1]
    return reduced(losses if input.dim() == 2 else losses.squeeze(0), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin); `swap` takes the smaller distance to the negative."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _same_dims("triplet_margin_loss", anchor, positive, negative)
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss: margin must be greater than 0, got {margin}")
    return _triplet(lambda a, b: pairwise_distance(a, b, p, eps), anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """triplet_margin_loss with a distance of the caller's."""
    if not margin > 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin must be greater than 0, got {margin}")
    _same_dims("triplet_margin_with_distance_loss", anchor, positive, negative)
    return _triplet(distance_function or pairwise_distance, anchor, positive, negative, margin, swap, reduction)


def _triplet(
    distance: Any, anchor: Any, positive: Any, negative: Any, margin: float, swap: bool, reduction: str
) -> Any:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _core.minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The negative log likelihood of counts with mean e^input (or input); `full` adds Stirling's term for ln
    target!."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + _core.where(target > 1, stirling, _core.zeros_like(stirling))
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(ln max(var, eps) + (input - target)² / max(var, eps)) / 2; `full` adds ln(2π) / 2."""
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError(f"gaussian_nll_loss: var has negative entry/entries: {var}")
        var = var * _core.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif not (input.shape[:-1] == var.shape[:-1] and var.shape[-1:] == (1,)):
            sizes = zip(reversed(input.shape), reversed(var.shape), strict=False)
            if var.dim() != input.dim() or any(n not in (1, m) for m, n in sizes):
                raise ValueError(
                    f"gaussian_nll_loss: var is of incorrect size {tuple(var.shape)} for input of {tuple(input.shape)}"
                )
    # the floor is no part of the graph, so that its gradient is the variance's
    floor = var.detach().clamp_min(eps)
    var = var + (floor - var.detach())
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)
