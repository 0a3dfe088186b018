"""The scalar that backward starts from, and what an uninformed prediction would make of it."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from unspool import _core

__all__ = ["loss_of", "uninformed"]

_CLASSES = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_BINARY = {"BCEWithLogitsLoss", "BCELoss", "binary_cross_entropy_with_logits", "binary_cross_entropy"}
_SQUARES = {"MSELoss", "mse_loss"}


def _wants_labels(loss: Any) -> bool:
    """Whether `loss(output)` alone can't be a call of it."""
    try:
        inspect.signature(getattr(loss, "forward", loss)).bind(None)
    except (TypeError, ValueError):
        return True
    return False


def _probe(outputs: list[Any]) -> Any:
    """Σ c·output for fixed normal c: its gradient is c, so that what changes on the way back is the network's doing."""
    random = np.random.default_rng(0)
    total: Any = None
    for out in outputs:
        part = (out * _core.tensor(random.standard_normal(tuple(out.shape))).to(out.dtype)).sum() / out.numel()
        total = part if total is None else total + part
    return total


def loss_of(result: Any, outputs: list[Any], y: Any, loss: Any) -> tuple[Any, str]:
    """(scalar tensor, name of the loss). `result` is what the model returned, `outputs` its floating-point tensors.

    Without a loss it is cross_entropy for whole-numbered y, mse_loss for others, and without y the fixed random
    combination of the outputs, whose name is ''.

    Raises:
        ValueError: the loss needs labels and y is None, it gives no scalar, or none was given for a model that gives
            no tensor.
        RuntimeError: the loss raised; the cause is attached.
    """
    from unspool.nn import functional

    if loss is None and y is None:
        return _probe(outputs), ""
    if loss is None and not _core.is_tensor(result):
        raise ValueError(
            f"diagnose: the model gives a {type(result).__name__}, which no loss takes by default; give loss=, a "
            "function of (output, y)"
        )
    if loss is None:
        loss = functional.mse_loss if y.is_floating_point() else functional.cross_entropy
        if loss is functional.mse_loss and tuple(y.shape) != tuple(outputs[0].shape):
            shapes = f"y has shape {tuple(y.shape)}, the output {tuple(outputs[0].shape)}"
            raise ValueError(f"diagnose: {shapes}; mse_loss, the default for such y, needs equal ones")
    elif not callable(loss):
        raise TypeError(f"diagnose: loss must be callable, got {type(loss).__name__}")
    name = getattr(loss, "__name__", type(loss).__name__)
    if y is None and _wants_labels(loss):
        raise ValueError(f"diagnose: the loss {name} needs labels, and y is None")
    try:
        value = loss(result) if y is None else loss(result, y)
    except Exception as error:
        raise RuntimeError(f"diagnose: the loss {name} failed: {error}") from error
    if not _core.is_tensor(value) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if _core.is_tensor(value) else type(value).__name__
        raise ValueError(f"diagnose: the loss {name} must give one number, got {got}")
    if value.grad_fn is None:
        raise ValueError(f"diagnose: the loss {name} does not depend on the model's parameters; no gradient flows back")
    return value.reshape(()), name if getattr(loss, "reduction", "mean") == "mean" else ""


def uninformed(name: str, result: Any, y: Any) -> float | None:
    """What the loss `name` is for the best prediction that ignores the input: ln C for C classes, ln 2 for yes or no,
    Var y (of each output, averaged) for squares; None for other losses."""
    if y is None or not _core.is_tensor(result):
        return None
    if name in _CLASSES and result.dim() > 0:
        return math.log(result.shape[1 if result.dim() > 1 else 0])
    if name in _BINARY:
        return math.log(2.0)
    if name in _SQUARES and y.shape[0] > 1:
        return float(y.detach().double().numpy().var(axis=0).mean()) or None
    return None
