"""Rprop (Riedmiller and Braun 1993): step sizes that follow the signs of the gradients."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.optim.per_parameter import PerParameter

__all__ = ["Rprop"]


class Rprop(PerParameter):
    """Each element's step grows by etas[1] while its gradient keeps its sign, and shrinks by etas[0] and rests where it
    changed; kept between the two step_sizes.

    Raises:
        ValueError: a negative or NaN lr, or not 0 < etas[0] < 1 < etas[1].
    """

    _shaped_state = ("prev", "step_size")

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if not 0.0 < group["etas"][0] < 1.0 < group["etas"][1]:
            raise ValueError(f"Rprop: invalid eta values: {group['etas']!r}; etas[0] < 1 < etas[1] must hold")

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"prev": _core.zeros_like(p), "step_size": _core.full_like(p, float(group["lr"]))}

    def _update(self, group: dict[str, Any], p: Any, g: Any, state: dict[str, Any], t: float) -> None:
        shrink, grow = group["etas"]
        agreed = (g * state["prev"]).sign()
        factor = _core.ones_like(p).masked_fill_(agreed > 0, grow).masked_fill_(agreed < 0, shrink)
        step = state["step_size"].mul_(factor).clamp_(*group["step_sizes"])
        g = g.masked_fill(agreed < 0, 0.0)
        p.addcmul_(g.sign(), step, value=-1)
        state["prev"].copy_(g)
