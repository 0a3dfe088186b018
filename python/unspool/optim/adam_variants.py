"""Relatives of Adam: Adamax (Kingma and Ba 2015), NAdam (Dozat 2016), RAdam (Liu et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool.optim.per_parameter import PerParameter

__all__ = ["Adamax", "NAdam", "RAdam"]


class Adamax(PerParameter):
    """m as Adam's;  u ← max(β₂u, |g| + eps);  p ← p - lr / (1-β₁ᵗ) · m / u.

    Raises:
        ValueError: a negative or NaN lr, eps or weight_decay, or a beta outside of [0, 1).
    """

    _not_negative = ("eps", "weight_decay")
    _shaped_state = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"exp_avg": _core.zeros_like(p), "exp_inf": _core.zeros_like(p)}

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        beta1, beta2 = group["betas"]
        m, u = state["exp_avg"].lerp_(g, 1 - beta1), state["exp_inf"]
        u.copy_(_core.maximum(u.mul_(beta2), g.abs().add_(group["eps"])))
        p.addcdiv_(m, u, value=-group["lr"] / (1 - beta1**t))


class NAdam(PerParameter):
    """Adam with Nesterov's look ahead; the momentum of step t is β₁(1 - 0.96^(t·momentum_decay) / 2).

    Raises:
        ValueError: a negative or NaN lr, eps, weight_decay or momentum_decay, or a beta outside of [0, 1).
    """

    _not_negative = ("eps", "weight_decay", "momentum_decay")
    _counters = ("step", "mu_product")
    _shaped_state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {
            "mu_product": _core.tensor(1.0, dtype=_core.float32),
            "exp_avg": _core.zeros_like(p),
            "exp_avg_sq": _core.zeros_like(p),
        }

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        beta1, beta2 = group["betas"]
        lr = group["lr"]
        if group["decoupled_weight_decay"] and group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"]))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * group["momentum_decay"]))
        state["mu_product"] *= mu
        m = state["exp_avg"].lerp_(g, 1 - beta1)
        v = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        spread = v.div(1 - beta2**t).sqrt().add_(group["eps"])
        product = state["mu_product"].item()
        p.addcdiv_(g, spread, value=-lr * (1.0 - mu) / (1.0 - product))
        p.addcdiv_(m, spread, value=-lr * following / (1.0 - product * following))


class RAdam(PerParameter):
    """Adam whose rate is rectified by the variance of 1/√v̂ once that can be estimated; before, plain momentum.

    Raises:
        ValueError: a negative or NaN lr, eps or weight_decay, or a beta outside of [0, 1).
    """

    _not_negative = ("eps", "weight_decay")
    _shaped_state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"exp_avg": _core.zeros_like(p), "exp_avg_sq": _core.zeros_like(p)}

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        beta1, beta2 = group["betas"]
        lr = group["lr"]
        if group["decoupled_weight_decay"] and group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        m = state["exp_avg"].lerp_(g, 1 - beta1)
        v = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        left = 1 - beta2**t
        unbiased = m / (1 - beta1**t)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / left
        if length <= 5.0:
            p.add_(unbiased * lr, alpha=-1.0)
            return
        rectified = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        adapted = math.sqrt(left) / v.sqrt().add_(group["eps"])
        p.add_(unbiased * lr * adapted * rectified, alpha=-1.0)
