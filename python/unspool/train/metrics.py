"""Scores of predictions. A metric is a function of all predictions and all targets of an epoch that gives a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Metric", "accuracy", "by_name", "mae", "r2", "score"]

Metric = Callable[[Any, Any], Any]


def accuracy(prediction: Any, target: Any) -> float:
    """The share of examples whose class is right.

    prediction: (n, C) scores with target (n,), the classes' numbers, or (n, C) of probabilities or one-hot rows; or
    (n,) or (n, 1) scores of two classes, above 0 for the second, with targets 0 and 1.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if prediction.dim() == 2 and prediction.shape[1] > 1:
        right = target.argmax(1) if target.shape == prediction.shape else target
        chosen = prediction.argmax(1)
    else:
        chosen, right = prediction.reshape(-1) > 0, target.reshape(-1)
        if right.numel() == chosen.numel():
            right = right > 0.5
    if chosen.shape != right.shape:
        raise ValueError(
            f"accuracy: prediction of shape {tuple(prediction.shape)} and target of shape {tuple(target.shape)} "
            "do not belong together"
        )
    return float((chosen == right).double().mean().item())


def _alike(name: str, prediction: Any, target: Any) -> tuple[Any, Any]:
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}; "
            "they must be equal"
        )
    return prediction.double(), target.double()


def mae(prediction: Any, target: Any) -> float:
    """The mean absolute error of all elements, in the target's unit. Raises ValueError where shapes differ."""
    prediction, target = _alike("mae", prediction, target)
    return float((prediction - target).abs().mean().item())


def r2(prediction: Any, target: Any) -> float:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², the mean of all columns, as scikit-learn's r2_score gives it.

    A column that is constant counts 1 where it is met exactly, else 0. Raises ValueError where shapes differ.
    """
    prediction, target = _alike("r2", prediction, target)
    prediction, target = (t.reshape(t.shape[0], -1) for t in (prediction, target))
    left = ((target - prediction) ** 2).sum(0)
    whole = ((target - target.mean(0)) ** 2).sum(0)
    scores = (1 - left / whole.where(whole > 0, whole + 1)).where(whole > 0, (left == 0).double())
    return float(scores.mean().item())


_TAKEN = ("epoch", "loss", "lr")
_NAMED: dict[str, Metric] = {"accuracy": accuracy, "mae": mae, "r2": r2}
BETTER_ABOVE = frozenset(("accuracy", "r2"))


def score(name: str, metric: Metric, prediction: Any, target: Any) -> float:
    """The metric's number. Raises ValueError, TypeError where it is none."""
    found = metric(prediction, target)
    if getattr(found, "size", None) is not None and math.prod(found.shape) != 1:
        raise ValueError(f"Trainer: metric {name!r} must give one number, got shape {tuple(found.shape)}")
    try:
        return float(found)
    except TypeError as error:
        raise TypeError(f"Trainer: metric {name!r} must give one number, got {type(found).__name__}") from error


def by_name(metrics: str | Metric | Iterable[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics' functions under their names. A single one need not be in a list.

    Raises:
        ValueError: a name that is unknown, or twice there.
        TypeError: a metric that is neither a name nor callable.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    if isinstance(metrics, Mapping):
        pairs = list(metrics.items())
    else:
        pairs = [(m if isinstance(m, str) else getattr(m, "__name__", type(m).__name__), m) for m in metrics]
    found: dict[str, Metric] = {}
    for name, metric in pairs:
        if isinstance(metric, str):
            if metric not in _NAMED:
                raise ValueError(f"Trainer: metrics must be of {', '.join(_NAMED)} or functions, got {metric!r}")
            metric = _NAMED[metric]
        if not callable(metric):
            raise TypeError(f"Trainer: metrics must be names or functions, got {metric!r}")
        if name in found:
            raise ValueError(f"Trainer: metrics need names of their own, got {name!r} twice")
        if name in _TAKEN or name.startswith("val_"):
            raise ValueError(f"Trainer: the history has a {name!r} of its own, so no metric can be called so")
        found[name] = metric
    return found
