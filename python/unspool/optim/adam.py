"""Adam (Kingma and Ba 2015), with AMSGrad's variant and, on request, decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import enable_grad
from unspool.optim.optimizer import Optimizer, check_at_least_0, check_betas, check_ways

__all__ = ["Adam"]

_adam_step = _core.adam_step


class Adam(Optimizer):
    """m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;  p ← p - lr·m̂ / (√v̂ + eps), m̂ = m/(1-β₁ᵗ), v̂ = v/(1-β₂ᵗ).

    Weight decay adds weight_decay·p to g or, with `decoupled_weight_decay`, first shrinks p by lr·weight_decay.
    `amsgrad` uses the largest v so far. With `maximize`, g starts as the negative gradient.

    Raises:
        ValueError: a negative or NaN lr, eps or weight_decay, or a beta outside of [0, 1).
        NotImplementedError: foreach, capturable, differentiable or fused is switched on.
    """

    _notes_steps = True
    _shaped_state = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: dict[str, Any]) -> None:
        op = type(self).__name__
        check_at_least_0(op, "lr", group["lr"], "learning rate")
        if isinstance(group["lr"], _core.Tensor) and group.get("foreach"):
            raise ValueError(f"{op}: lr as a Tensor is not supported for capturable=False and foreach=True")
        check_at_least_0(op, "eps", group["eps"], "epsilon value")
        check_betas(op, group["betas"])
        check_at_least_0(op, "weight_decay", group["weight_decay"], "weight_decay value")
        check_ways(op, group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        _adam_step(self)
        self._opt_called = True
        return loss
