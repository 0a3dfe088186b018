"""Losses as modules; the formulas are in `functional`."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.nn import functional
from unspool.nn.modules.module import Module

__all__ = ["CrossEntropyLoss", "MSELoss"]

_mse_loss, _cross_entropy = _core.mse_loss, _core.cross_entropy


class _Loss(Module):
    reduction: str

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = functional.legacy_reduction(size_average, reduce, reduction)


class MSELoss(_Loss):
    """(input - target)², averaged ('mean'), summed ('sum') or as it is ('none')."""

    def forward(self, input: Any, target: Any) -> Any:
        if input.shape != target.shape:
            functional._warn_broadcast(input, target)
        return _mse_loss(input, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits (N, C, …) with class numbers (N, …) or distributions (N, C, …).

    Args:
        weight: one factor a class, shape (C); kept as a buffer.
        ignore_index: a label that counts for nothing.
        reduction: 'mean' (weighted), 'sum' or 'none'.
        label_smoothing: the share, in [0, 1], of the target that is spread evenly over the classes.
    """

    weight: Any

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        weight = self._buffers["weight"]
        return _cross_entropy(input, target, weight, self.ignore_index, self.reduction, self.label_smoothing)
