"""AdamW (Loshchilov and Hutter 2019): Adam whose weight decay shrinks the parameters themselves."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.optim.adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    """p ← p - lr·weight_decay·p, then Adam's step without decay in the gradient. Errors as Adam's."""

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
