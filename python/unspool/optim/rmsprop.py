"""RMSprop (Hinton's lecture 6), with the centred variant of Graves (2013) and momentum."""

from __future__ import annotations

from typing import Any

from unspool import _core
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
        lr: float = 1e-2,
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

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        state = {"square_avg": _core.zeros_like(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = _core.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = _core.zeros_like(p)
        return state

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        alpha = group["alpha"]
        v = state["square_avg"].mul_(alpha).addcmul_(g, g, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(g, 1 - alpha)
            spread = v.addcmul(mean, mean, value=-1).sqrt().add_(group["eps"])
        else:
            spread = v.sqrt().add_(group["eps"])
        if group["momentum"] > 0:
            p.add_(state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(g, spread), alpha=-group["lr"])
        else:
            p.addcdiv_(g, spread, value=-group["lr"])
