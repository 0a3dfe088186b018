"""Adagrad (Duchi, Hazan and Singer 2011) and Adadelta (Zeiler 2012)."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.optim.per_parameter import PerParameter

__all__ = ["Adadelta", "Adagrad"]


class Adagrad(PerParameter):
    """s ← s + g²;  p ← p - lr / (1 + (t-1)·lr_decay) · g / (√s + eps).

    Raises:
        ValueError: a negative or NaN lr, lr_decay, weight_decay, initial_accumulator_value or eps.
    """

    _not_negative = ("lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    _shaped_state = ("sum",)

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)
        for group in self.param_groups:  # the state is there before the first step
            for p in group["params"]:
                self.state[p].update(self._fresh_state(group, p))

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"sum": _core.full_like(p, group["initial_accumulator_value"])}

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        rate = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        spread = state["sum"].addcmul_(g, g, value=1).sqrt().add_(group["eps"])
        p.addcdiv_(g, spread, value=-rate)


class Adadelta(PerParameter):
    """v ← rho·v + (1-rho)·g²;  d = √(u + eps) / √(v + eps) · g;  u ← rho·u + (1-rho)·d²;  p ← p - lr·d.

    Raises:
        ValueError: a negative or NaN lr, eps or weight_decay, or rho outside of [0, 1].
    """

    _not_negative = ("eps", "weight_decay", "rho")
    _shaped_state = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if group["rho"] > 1:
            raise ValueError(f"Adadelta: invalid rho value: {group['rho']!r}; it must lie in [0, 1]")

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"square_avg": _core.zeros_like(p), "acc_delta": _core.zeros_like(p)}

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        rho, eps = group["rho"], group["eps"]
        spread = state["square_avg"].mul_(rho).addcmul_(g, g, value=1 - rho).add(eps).sqrt()
        delta = state["acc_delta"].add(eps).sqrt().div_(spread).mul_(g)
        state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=-group["lr"])
