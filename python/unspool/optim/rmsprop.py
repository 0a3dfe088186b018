"""RMSprop (Hinton's lecture 6), with the centred variant of Graves (2013) and momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import enable_grad
from unspool.optim.per_parameter import PerParameter

__all__ = ["RMSprop"]


class RMSprop(PerParameter):
    """v ← alpha·v + (1-alpha)·g²;  p ← p - lr·g / (√v + eps); `centered` subtracts the squared mean gradient from v.

    Raises:
        ValueError: a negative or NaN lr, eps, weight_decay, momentum or alpha.
    """

    _not_negative = ("eps", "momentum", "weight_decay", "alpha")
    _shaped_state = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        _core.rmsprop_step(self)
        self._opt_called = True
        return loss
