"""Losses as compositions of native ops; `functional` gives them their public names."""

from __future__ import annotations

import warnings
from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool._precision import in_float32

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "kl_div", "l1_loss", "nll_loss",
    "smooth_l1_loss",
]  # fmt: skip


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's old pair of flags means, with a warning; without them, `reduction` itself."""
    if size_average is None and reduce is None:
        return reduction
    averaged = size_average is None or size_average
    meant = "none" if reduce is not None and not reduce else "mean" if averaged else "sum"
    warnings.warn(f"size_average and reduce are deprecated; say reduction={meant!r}", stacklevel=4)
    return meant


def check_reduction(reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; it must be one of 'none', 'mean', 'sum'")


def reduced(losses: Any, reduction: str) -> Any:
    check_reduction(reduction)
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def warn_broadcast(name: str, input: Any, target: Any) -> None:
    a, b = input.shape, target.shape
    if a != b:
        warnings.warn(
            f"{name}: the input has size {a} and the target size {b}; they are broadcast, so every entry of one may "
            "be compared with many of the other. Give both the same size, e.g. with reshape or unsqueeze",
            stacklevel=4,
        )


def _weighted(losses: Any, weight: Any) -> Any:
    return losses if weight is None else losses * weight


@in_float32
def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """|input - target|, averaged, summed or as it is ('none')."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    warn_broadcast("l1_loss", input, target)
    return reduced(_weighted((input - target).abs(), weight), reduction)


@in_float32
@shown_as("SmoothL1LossBackward0")
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """0.5 d²/beta where |d| < beta, |d| - beta/2 elsewhere; d = input - target. (Girshick, 2015)"""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: does not support negative values for beta, got {beta}")
    warn_broadcast("smooth_l1_loss", input, target)
    if beta == 0:
        return reduced((input - target).abs(), reduction)
    d = input - target
    size = d.abs()
    return reduced(_core.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta), reduction)


@in_float32
@shown_as("HuberLossBackward0")
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """0.5 d² where |d| <= delta, delta (|d| - delta/2) elsewhere; d = input - target. (Huber, 1964)"""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: does not support non-positive values for delta, got {delta}")
    warn_broadcast("huber_loss", input, target)
    d = input - target
    size = d.abs()
    losses = _core.where(size <= delta, d * d * 0.5, (size - 0.5 * delta) * delta)
    return reduced(_weighted(losses, weight), reduction)


@in_float32
@shown_as("NllLossBackward0")
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """-input[target]: the negative log-likelihood of log-probabilities (C), (N, C) or (N, C, …).

    The mean is over the weights of the labels that are not ignore_index.

    Raises:
        IndexError: a label outside of 0 … C-1 that isn't ignore_index.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction(reduction)
    dim = 1 if input.dim() > 1 else 0
    if input.dim() == 0 or (*input.shape[:dim], *input.shape[dim + 1 :]) != tuple(target.shape):
        raise ValueError(
            f"nll_loss: expected a target of the input's shape {tuple(input.shape)} without the classes' dim {dim}, "
            f"got {tuple(target.shape)}"
        )
    classes = input.shape[dim]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"nll_loss: weight tensor should be defined either for all {classes} classes or no classes, "
            f"got shape {tuple(weight.shape)}"
        )
    counted = target != ignore_index
    bad = counted & ((target < 0) | (target >= classes))
    _core._refuse(bad, target, lambda t: IndexError(f"nll_loss: Target {t} is out of bounds for {classes} classes"))
    hit = _core.where(counted, target, 0)
    losses = -input.gather(dim, hit.unsqueeze(dim)).squeeze(dim)
    share = counted.to(input.dtype) if weight is None else _core.where(counted, weight[hit], 0.0)
    losses = _core.where(counted, losses * share, 0.0)
    return losses.sum() / share.sum() if reduction == "mean" else reduced(losses.contiguous(), reduction)


@in_float32
@shown_as("BinaryCrossEntropyBackward0")
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """-(t ln p + (1 - t) ln(1 - p)) of probabilities p; logarithms are at least -100.

    Raises:
        RuntimeError: an input outside of [0, 1].
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    outside = ~((input >= 0) & (input <= 1))
    _core._refuse(
        outside,
        input,
        lambda x: RuntimeError(f"binary_cross_entropy: all elements of input should be between 0 and 1, got {x}"),
    )
    # At 0 and 1 the logarithm is -100 and the gradient (p - t) / 1e-12, as in PyTorch.
    none, certain = input == 0, input == 1
    between = _core.where(none | certain, 0.5, input)
    log_p = _core.where(none, input * 1e12 - 100, _core.where(certain, 0.0, between.log().clamp(min=-100)))
    log_q = _core.where(
        certain, (1 - input) * 1e12 - 100, _core.where(none, 0.0, _core.log1p(-between).clamp(min=-100))
    )
    losses = (target - 1) * log_q - target * log_p
    return reduced(_weighted(losses, weight), reduction)


@in_float32
@shown_as("BinaryCrossEntropyWithLogitsBackward0")
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight multiplies the positive term."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits: Target size ({target.shape}) must be the same as input size "
            f"({input.shape})"
        )
    # ln sigmoid(x) = min(x, 0) - ln(1 + e^-|x|)
    log_sigmoid = _core.where(input < 0, input, 0.0) - _core.log1p(_core.exp(-input.abs()))
    factor = 1.0 if pos_weight is None else (pos_weight - 1) * target + 1
    losses = (1 - target) * input - factor * log_sigmoid
    return reduced(_weighted(losses, weight), reduction)


@in_float32
def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """target (ln target - input) of log-probabilities `input`; 'batchmean' divides the sum by the first size."""
    if reduction == "mean":
        warnings.warn(
            "kl_div: reduction 'mean' divides the total loss by both the batch size and the support size. "
            "'batchmean' divides only by the batch size, and aligns with the KL math definition",
            stacklevel=3,
        )
    reduction = legacy_reduction(size_average, reduce, reduction)
    if log_target:
        losses = target.exp() * (target - input)
    else:
        zero = target == 0
        logs = _core.where(zero, 0.0, _core.where(zero, 1.0, target).log())
        losses = target * logs - target * input
    if reduction == "batchmean":
        return losses.sum() / input.shape[0] if input.dim() else losses.sum()
    return reduced(losses, reduction)


_NAMES = {
    name: _core._number_of_name(name)
    for name in ("NllLossBackward0", "NllLoss2DBackward0", "AddBackward0", "DivBackward1")
}


def name_cross_entropy(y: Any, input: Any, target: Any, reduction: str, label_smoothing: float) -> None:
    """Show the name that PyTorch's last operation of a cross-entropy has, where it isn't the core's."""
    if reduction != "none" and not label_smoothing and target.dim() == 1 and input.dim() == 2:
        return  # the usual call: classes of rows, which the core names
    if not y.requires_grad:
        return
    if target.dtype.is_floating_point:
        if reduction == "mean":
            _core._show_as(y, _NAMES["DivBackward1"])
    elif label_smoothing:
        _core._show_as(y, _NAMES["AddBackward0"])
    elif input.dim() == 4 or (input.dim() > 2 and reduction != "none"):
        _core._show_as(y, _NAMES["NllLoss2DBackward0"])
    elif reduction == "none" and input.dim() == 2:
        _core._show_as(y, _NAMES["NllLossBackward0"])
