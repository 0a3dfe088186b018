"""Losses of a margin between scores or distances; `functional` gives them their public names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool._precision import in_float32
from unspool.nn._activations import logsigmoid
from unspool.nn._distances import pairwise_distance
from unspool.nn._losses import check_reduction, legacy_reduction, reduced

__all__ = [
    "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss",
    "multilabel_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def _shapes(*tensors: Any) -> str:
    return ", ".join(str(tuple(t.shape)) for t in tensors)


@in_float32
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, -target (input1 - input2) + margin): 1 in target wants input1 the larger, -1 input2."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss: input1, input2 and target should have the same number of dimensions, got shapes "
            + _shapes(input1, input2, target)
        )
    return reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


@in_float32
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The input where target is 1, max(0, margin - input) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    apart = _core.where(target != 1, (margin - input).clamp(min=0), 0.0)
    return reduced(apart + _core.where(target != -1, input, 0.0), reduction)


@in_float32
@shown_as("SoftMarginLossBackward0")
def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """ln(1 + e^(-target · input)), for targets of 1 and -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return reduced(_core.log1p((target * -input).exp()), reduction)


@in_float32
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1.

    The inputs are (N, D) with a target (N), or (D) with a 0-d target.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.dim() > 1:
        raise RuntimeError(f"cosine_embedding_loss: 0D or 1D target tensor expected, got shape {tuple(target.shape)}")
    if not input1.dim() == input2.dim() == target.dim() + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: a {target.dim()}D target tensor expects {target.dim() + 1}D input tensors, "
            f"got shapes {_shapes(input1, input2)}"
        )
    dot = (input1 * input2).sum(-1)
    cos = dot / (((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)).sqrt()
    alike = _core.where(target == 1, 1 - cos, 0.0)
    return reduced(alike + _core.where(target == -1, (cos - margin).clamp(min=0), 0.0), reduction)


def _hinge(z: Any) -> Any:
    # Not clamp: at 0, and for NaN, the gradient is 0 in PyTorch's losses over classes.
    return _core.where(z > 0, z, 0.0)


def _rows(name: str, input: Any) -> Any:
    """(C), (N, C) or one score as (N, C)."""
    if input.dim() == 0:
        return input.reshape(1, 1)
    if input.dim() > 2 or input.shape[-1] == 0:
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, got {tuple(input.shape)}"
        )
    return input if input.dim() == 2 else input.unsqueeze(0)


@in_float32
@shown_as("MultiMarginLossBackward0")
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
    """Σ over wrong classes i of weight[t] max(0, margin - x[t] + x[i])^p / C, for scores (N, C) and labels t (N)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    x = _rows("multi_margin_loss", input)
    n, classes = x.shape
    labels = target.reshape(-1)
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got shape {tuple(weight.shape)}")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"multi_margin_loss: inconsistent weight size, expected {classes} but got {tuple(weight.shape)}"
        )
    if target.dim() > 1 or labels.shape[0] != n:
        raise RuntimeError(
            f"multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples {n}, "
            f"got shape {tuple(target.shape)}"
        )
    bad = (labels < 0) | (labels >= classes)
    _core._refuse(
        bad, labels, lambda t: RuntimeError(f"multi_margin_loss: target {t} out of range for {classes} classes")
    )
    column = labels.unsqueeze(1)
    z = _hinge(margin - x.gather(1, column) + x)
    z = z if p == 1 else z * z
    z = z if weight is None else z * weight[labels].unsqueeze(1)
    wrong = _core.arange(classes) != column
    losses = _core.where(wrong, z, 0.0).sum(1) / classes
    return reduced(losses.reshape(()) if target.dim() == 0 else losses, reduction)


@in_float32
@shown_as("MultilabelMarginLossBackward0")
def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """Σ over right classes t and wrong classes i of max(0, 1 - x[t] + x[i]) / C.

    A row of the target, of the input's shape (C) or (N, C), lists the right classes; what follows a -1 doesn't count.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    x = _rows("multilabel_margin_loss", input)
    if target.shape != input.shape:
        raise RuntimeError(
            f"multilabel_margin_loss: inconsistent target size {tuple(target.shape)} for input of size "
            f"{tuple(input.shape)}"
        )
    labels, classes = target.reshape(x.shape), x.shape[1]
    bad = (labels < -1) | (labels >= classes)
    _core._refuse(
        bad, labels, lambda t: RuntimeError(f"multilabel_margin_loss: target {t} is out of range for {classes} classes")
    )
    counted = (labels >= 0).to(_core.int64).cumprod(1)
    hit = labels.clamp(min=0)
    right = _core.zeros_like(labels).scatter_add(1, hit, counted) > 0
    score = x.gather(1, hit).unsqueeze(2)
    z = _hinge(1 - score + x.unsqueeze(1))  # (N, label, class)
    losses = _core.where((counted > 0).unsqueeze(2) & ~right.unsqueeze(1), z, 0.0).sum((1, 2)) / classes
    return reduced(losses.reshape(()) if input.dim() < 2 else losses, reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over classes (the last dim) of -(t ln σ(x) + (1 - t) ln σ(-x)), times weight (C)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduced(losses.sum(input.dim() - 1) / input.shape[-1], reduction)


def _triplet(anchor: Any, positive: Any, negative: Any, margin: float, swap: bool, distance: Any) -> Any:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _core.minimum(far, distance(positive, negative))
    return (margin + near - far).clamp(min=0)


def _check_margin(name: str, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")


@in_float32
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
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the pairwise_distance.

    With `swap`, d(positive, negative) takes the second place where it is smaller. (Balntas et al., 2016)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_margin("triplet_margin_loss", margin)
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "triplet_margin_loss: anchor, positive and negative are expected to have the same number of dimensions, "
            f"got shapes {_shapes(anchor, positive, negative)}"
        )
    losses = _triplet(anchor, positive, negative, margin, swap, lambda a, b: pairwise_distance(a, b, p, eps))
    return reduced(losses, reduction)


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
    """triplet_margin_loss with a distance of your own."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"triplet_margin_with_distance_loss: {reduction} is not a valid value for reduction")
    _check_margin("triplet_margin_with_distance_loss", margin)
    distance = pairwise_distance if distance_function is None else distance_function
    return reduced(_triplet(anchor, positive, negative, margin, swap, distance), reduction)
