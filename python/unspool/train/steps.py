"""The functions that a Trainer freezes: a step of training, a look at validation data, a prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool.autograd.grad_mode import no_grad
from unspool.nn import modules
from unspool.nn.utils import clip_grad_norm_, clip_grad_value_

__all__ = ["evaluation", "prediction", "training"]

# Losses whose input and target must have one shape: broadcast, they are pairs of everything with everything.
_ELEMENTWISE = (
    modules.MSELoss,
    modules.L1Loss,
    modules.SmoothL1Loss,
    modules.HuberLoss,
    modules.BCELoss,
    modules.BCEWithLogitsLoss,
)


def _check(op: str, criterion: Any, predicted: Any, target: Any) -> None:
    if isinstance(criterion, _ELEMENTWISE) and predicted.shape != target.shape:
        raise ValueError(
            f"{op}: the model's output has shape {tuple(predicted.shape)} and y's batch {tuple(target.shape)}; "
            f"{type(criterion).__name__} needs equal shapes"
        )


def training(
    model: Any,
    criterion: Any,
    optimizer: Any,
    *,
    parts: int = 1,
    update: bool = True,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    keep: bool = False,
) -> Callable[..., Any]:
    """step(*inputs, target): forward, backward of the loss over `parts`, and where `update`, the optimizer's step.

    Gradients are dropped after the update, not before the forward, so that a plan may make them and use them in one go.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def fit(*batch: Any) -> Any:
        *inputs, target = batch
        predicted = model(*inputs)
        _check("fit", criterion, predicted, target)
        loss = criterion(predicted, target)
        (loss if parts == 1 else loss / parts).backward()
        if update:
            if clip_value is not None:
                clip_grad_value_(parameters, clip_value)
            if clip_norm is not None:
                clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            optimizer.zero_grad()
        return (loss.detach(), predicted.detach()) if keep else loss.detach()

    return fit


def evaluation(model: Any, criterion: Any, keep: bool) -> Callable[..., Any]:
    """step(*inputs, target): the loss, and where `keep` what the model gave."""

    def evaluate(*batch: Any) -> Any:
        *inputs, target = batch
        predicted = model(*inputs)
        _check("evaluate", criterion, predicted, target)
        loss = criterion(predicted, target)
        return (loss, predicted) if keep else loss

    return evaluate


def prediction(model: Any) -> Callable[..., Any]:
    """step(*inputs): what the model gives."""

    def predict(*inputs: Any) -> Any:
        with no_grad():
            return model(*inputs)

    return predict
