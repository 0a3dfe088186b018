"""Stochastic gradient descent, with momentum, Nesterov's variant and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import enable_grad
from unspool.optim.optimizer import Optimizer, check_at_least_0, check_number, check_ways

__all__ = ["SGD"]

_sgd_step = _core.sgd_step


class SGD(Optimizer):
    """g ← g + weight_decay·p;  v ← momentum·v + (1 - dampening)·g (v = g at first);  p ← p - lr·v.

    With `nesterov`, p ← p - lr·(g + momentum·v). With `maximize`, g starts as the negative gradient.

    Raises:
        ValueError: a negative or NaN lr, momentum or weight_decay; nesterov without momentum or with dampening.
        NotImplementedError: foreach, differentiable or fused is switched on.
    """

    _notes_steps = True
    _shaped_state = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: dict[str, Any]) -> None:
        check_at_least_0("SGD", "lr", group["lr"], "learning rate")
        check_at_least_0("SGD", "momentum", group["momentum"], "momentum value")
        check_at_least_0("SGD", "weight_decay", group["weight_decay"], "weight_decay value")
        check_number("SGD", "dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov=True needs a momentum above 0 and no dampening, got "
                f"momentum={group['momentum']!r}, dampening={group['dampening']!r}"
            )
        check_ways("SGD", group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        _sgd_step(self)
        self._opt_called = True
        return loss
