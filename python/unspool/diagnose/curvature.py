"""The largest curvature of the loss, by power iterations on products of the Hessian with a vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unspool import _core
from unspool.diagnose.guard import stand_ins
from unspool.diagnose.losses import loss_of

__all__ = ["largest_curvature"]

ITERATIONS = 4


def _length(parts: list[Any]) -> float:
    return math.sqrt(sum(float((part * part).sum()) for part in parts))


def largest_curvature(model: Any, inputs: tuple[Any, ...], y: Any, loss: Any) -> float:
    """|λ|max of the Hessian of the loss in all parameters, from below: after four steps within some tens of per cent.

    One backward pass is recorded, and each product H·v is a backward pass through it. NaN where it is not finite.
    """
    from unspool._tree import flatten
    from unspool.autograd import grad

    random = np.random.default_rng(0)
    with stand_ins(model):
        parameters = [p for p in model.parameters() if p.is_floating_point()]
        result = model(*inputs)
        outputs = [t for t in flatten(result) if _core.is_tensor(t) and t.grad_fn is not None]
        value, _ = loss_of(result, outputs, y, loss)
        first = grad(value, parameters, create_graph=True, allow_unused=True)
        pairs = [(p, g) for p, g in zip(parameters, first, strict=True) if g is not None and g.requires_grad]
        if not pairs:
            return 0.0
        used, gradients = [p for p, _ in pairs], [g for _, g in pairs]
        noise = [_core.tensor(random.standard_normal(tuple(p.shape))).to(p.dtype) for p in used]
        # the gradient lies largely along directions of large curvature
        along, any_way = _length([g.detach() for g in gradients]) or 1.0, _length(noise)
        v = [g.detach() / along + r / any_way for g, r in zip(gradients, noise, strict=True)]
        size = 0.0
        for _ in range(ITERATIONS):
            length = _length(v)
            if not math.isfinite(length) or length == 0:
                return math.nan if length else 0.0
            v = [part / length for part in v]
            products = grad(gradients, used, v, retain_graph=True, allow_unused=True)
            v = [_core.zeros_like(p) if hv is None else hv.detach() for p, hv in zip(used, products, strict=True)]
            size = _length(v)
    return size
