"""The functions that a Trainer freezes: a step of training, a look at validation data, a prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unspool import _core
from unspool._core import cat, stack
from unspool._tree import flatten
from unspool.autograd.grad_mode import no_grad
from unspool.nn import modules
from unspool.nn.utils import clip_grad_norm_, clip_grad_value_

__all__ = ["evaluation", "named", "of_rows", "prediction", "training"]

# Losses whose input and target must have one shape: broadcast, they are pairs of everything with everything.
_ELEMENTWISE = (
    modules.MSELoss,
    modules.L1Loss,
    modules.SmoothL1Loss,
    modules.HuberLoss,
    modules.BCELoss,
    modules.BCEWithLogitsLoss,
)


def _loss(op: str, criterion: Any, predicted: Any, target: Any, keep: bool) -> Any:
    """The criterion's number for a batch."""
    if keep and not _core.is_tensor(predicted):
        raise TypeError(f"{op}: metrics need a model that gives one tensor, got {type(predicted).__name__}")
    if keep and (predicted.dim() == 0 or (target.dim() > 0 and len(predicted) != len(target))):
        raise ValueError(
            f"{op}: metrics need a row of predictions for each example; the model's output has shape "
            f"{tuple(predicted.shape)} and y's batch {tuple(target.shape)}"
        )
    _check(op, criterion, predicted, target)
    loss = criterion(predicted, target)
    if not _core.is_tensor(loss):
        raise TypeError(f"{op}: loss must give a tensor of one number, got {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(f'{op}: loss must give one number, got shape {tuple(loss.shape)}; see reduction="mean"')
    return loss


def _check(op: str, criterion: Any, predicted: Any, target: Any) -> None:
    if (
        isinstance(criterion, _ELEMENTWISE)
        and _core.is_tensor(predicted)
        and _core.is_tensor(target)
        and predicted.shape != target.shape
    ):
        raise ValueError(
            f"{op}: the model's output has shape {tuple(predicted.shape)} and y's batch {tuple(target.shape)}; "
            f"{type(criterion).__name__} needs equal shapes"
        )


def training(
    model: Any,
    criterion: Any,
    optimizer: Any,
    parts: int,
    clip_norm: float | None,
    clip_value: float | None,
    keep: bool,
    drops: bool,
) -> Callable[..., Any]:
    """step(parts' batches): forward and backward of the loss over `parts` for each, then the optimizer's step.

    The batches (inputs…, target) come one after the other. Gives their losses, and where `keep` what the model gave.
    Where it `drops` gradients, it does so after the update, not before the forward, so that a plan may make them and
    use them in one go.
    """

    def backward(batch: Sequence[Any]) -> tuple[Any, Any]:
        *inputs, target = batch
        predicted = model(*inputs)
        loss = _loss("fit", criterion, predicted, target, keep)
        if not loss.requires_grad:
            raise ValueError("fit: the loss depends on no parameter that requires a gradient; was something detached?")
        (loss if parts == 1 else loss / parts).backward()
        return loss.detach(), predicted

    def fit(*batches: Sequence[Any]) -> Any:
        found = [backward(batch) for batch in batches]
        if keep and (odd := differ([predicted for _, predicted in found])):
            raise ValueError(
                f"fit: metrics need predictions of one kind for all of an epoch's rows; a batch gave {odd}"
            )
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if clip_value is not None:
            clip_grad_value_(parameters, clip_value)
        if clip_norm is not None:
            clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if drops:
            optimizer.zero_grad()
        losses = found[0][0] if parts == 1 else stack([loss for loss, _ in found])
        return (losses, *(predicted.detach() for _, predicted in found)) if keep else losses

    return named(fit, fit)


def differ(predictions: Sequence[Any]) -> str:
    """How the rows of these differ, so that they cannot be joined; empty where they do not."""
    first, *more = ((tuple(p.shape[1:]), p.dtype) for p in predictions)
    for other in more:
        if other != first:
            return f"rows of shape {other[0]} and dtype {other[1]}, those before {first[0]} and dtype {first[1]}"
    return ""


def named(function: Callable[..., Any], like: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the name that messages show."""
    function.__qualname__ = f"Trainer.{like.__name__}"
    return function


def of_rows(step: Callable[..., Any], size: int) -> Callable[..., Any]:
    """The same of several batches that lie one after the other in tensors, of `size` rows each."""

    def fit(*tensors: Any) -> Any:
        losses, *predicted = flatten(step(*zip(*(t.split(size) for t in tensors), strict=True)))
        return (losses, cat(predicted)) if predicted else losses

    return fit


def evaluation(model: Any, criterion: Any, keep: bool) -> Callable[..., Any]:
    """step(batch), of inputs and target: the loss, and where `keep` what the model gave."""

    def evaluate(batch: Sequence[Any]) -> Any:
        *inputs, target = batch
        predicted = model(*inputs)
        loss = _loss("evaluate", criterion, predicted, target, keep)
        return (loss, predicted) if keep else loss

    return named(evaluate, evaluate)


def prediction(model: Any) -> Callable[..., Any]:
    """step(*inputs): what the model gives."""

    def predict(*inputs: Any) -> Any:
        with no_grad():
            return model(*inputs)

    return named(predict, predict)
