"""The base of optimizers whose step is written in tensor operations, one parameter after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import enable_grad, no_grad
from unspool.optim.optimizer import Optimizer, check_at_least_0, check_betas, check_ways

__all__ = ["PerParameter"]


class PerParameter(Optimizer):
    """A subclass gives `_start`, the state of a parameter before its first step, and `_update`, one step, which must
    not fail: what it reads has been checked by then."""

    _notes_steps = True
    _counters: tuple[str, ...] = ("step",)

    def _check_group(self, group: dict[str, Any]) -> None:
        op = type(self).__name__
        for name in ("lr", *self._not_negative):
            check_at_least_0(op, name, group[name], "learning rate" if name == "lr" else f"{name} value")
        if "betas" in group:
            check_betas(op, group["betas"])
        check_ways(op, group)

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        _core._python_step(self._step_all, self)
        self._opt_called = True
        return loss

    def _step_all(self) -> None:
        with no_grad():
            for group, p, state in _core.plan_step(self):
                self._step_one(group, p, state)

    def _fresh_state(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"step": _core.tensor(0.0, dtype=_core.float32), **self._start(group, p)}

    def _step_one(self, group: dict[str, Any], p: Any, state: dict[str, Any]) -> None:
        if isinstance(group["lr"], _core.Tensor):
            group = {**group, "lr": group["lr"].item()}
        t = state["step"].add_(1).item()
        g = p.grad
        if group["maximize"]:
            g = -g
        if group.get("weight_decay") and not group.get("decoupled_weight_decay"):
            g = g.add(p, alpha=group["weight_decay"])
        self._update(group, p, g, state, t)
