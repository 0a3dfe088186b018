"""Adafactor (Shazeer and Stern 2018): of a matrix's squared gradients it keeps the means of rows and of columns."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._functions.dtypes import finfo
from unspool.optim.per_parameter import PerParameter

__all__ = ["Adafactor"]


class Adafactor(PerParameter):
    """Steps of g / √v, where v = row · column / mean(row) for matrices; |p|-relative and clipped at the RMS `d`.

    v follows g² with the rate t^beta2_decay, and the step is max(eps[1], RMS(p)) · min(lr, 1/√t). eps[0] is the
    dtype's epsilon where it is None.

    Raises:
        ValueError: a negative or NaN lr, weight_decay, eps or d, or a beta2_decay above 0.
    """

    _not_negative = ("weight_decay",)

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if not group["beta2_decay"] <= 0:
            raise ValueError(f"Adafactor: beta2_decay should be at most 0, got {group['beta2_decay']!r}")
        first, second = group["eps"]
        if not ((first is None or first >= 0) and second >= 0):
            raise ValueError(f"Adafactor: eps should be None or at least 0, and at least 0, got {group['eps']!r}")
        if not group["d"] >= 1:
            raise ValueError(f"Adafactor: clipping threshold d should be at least 1, got {group['d']!r}")

    def _start(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        if p.dim() < 2:
            return {"variance": _core.zeros_like(p)}
        rows, columns = list(p.shape), list(p.shape)
        rows[-1] = columns[-2] = 1
        return {"row_var": _core.zeros(rows, dtype=p.dtype), "col_var": _core.zeros(columns, dtype=p.dtype)}

    def _step_one(self, group: dict[str, Any], p: Any, state: dict[str, Any]) -> None:
        t = state["step"].add_(1).item()
        g = -p.grad if group["maximize"] else p.grad
        eps1, eps2 = group["eps"]
        least = (finfo(p.dtype).eps if eps1 is None else eps1) ** 2
        rate = t ** group["beta2_decay"]
        scale = max(eps2, p.norm(2).item() / p.numel() ** 0.5) * min(group["lr"], 1 / t**0.5)
        if group["weight_decay"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        if p.dim() > 1:
            rows, columns = state["row_var"], state["col_var"]
            rows.lerp_(g.norm(dim=-1, keepdim=True).square_().div_(g.shape[-1]), rate)
            columns.lerp_(g.norm(dim=-2, keepdim=True).square_().div_(g.shape[-2]), rate)
            v = (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=least))
        else:
            v = state["variance"].lerp_(g.square(), rate).clone()
        update = v.clamp_(min=least).rsqrt_().mul_(g)
        size = max(1.0, update.norm(2).item() / (p.numel() ** 0.5 * group["d"]))
        p.add_(update, alpha=-scale / size)
