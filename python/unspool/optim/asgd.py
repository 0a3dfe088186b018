"""ASGD (Polyak and Juditsky 1992): gradient descent with a falling rate, and the average of its iterates."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.optim.per_parameter import PerParameter

__all__ = ["ASGD"]


class ASGD(PerParameter):
    """p ← (1 - lambd·eta)·p - eta·g;  ax ← ax + mu·(p - ax);  eta = lr / (1 + lambd·lr·t)^alpha;
    mu = 1 / max(1, t - t0). The average `ax` stands in the state; until step t0 it is p itself.

    Raises:
        ValueError: a negative or NaN lr or weight_decay.
    """

    _not_negative = ("weight_decay",)
    _counters = ("step", "eta", "mu")
    _shaped_state = ("ax",)

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {
            "eta": _core.tensor(float(group["lr"]), dtype=_core.float32),
            "mu": _core.tensor(1.0, dtype=_core.float32),
            "ax": _core.zeros_like(p),
        }

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        lr, lambd = group["lr"], group["lambd"]
        eta, mu, ax = state["eta"].item(), state["mu"].item(), state["ax"]
        p.mul_(1 - lambd * eta).add_(g, alpha=-eta)
        if mu == 1:
            ax.copy_(p)
        else:
            ax.add_(p.sub(ax).mul_(mu))
        state["eta"].fill_(lr / (1 + lambd * lr * t) ** group["alpha"])
        state["mu"].fill_(1 / max(1, t - group["t0"]))
