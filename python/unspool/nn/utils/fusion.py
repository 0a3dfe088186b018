"""A linear layer and the batch normalisation after it as one linear layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from unspool import _core
from unspool.nn.parameter import Parameter

__all__ = ["fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of `linear` that does what `linear` and then `bn` do; both must be in evaluation."""
    if linear.training or bn.training:
        raise AssertionError("fuse_linear_bn_eval: both modules must be in eval mode")
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            f"fuse_linear_bn_eval: out_features {linear.out_features} must equal num_features {bn.num_features}, or "
            "that be 1"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Any, Any]:
    """Weight and bias of the one layer, as Parameters."""
    trained = linear_b.requires_grad if linear_b is not None else linear_w.requires_grad
    b = _core.zeros_like(bn_rm) if linear_b is None else linear_b
    scale = bn_w * (bn_rv + bn_eps).rsqrt()
    weight = (linear_w * scale.unsqueeze(-1)).to(linear_w.dtype).detach()
    bias = ((b - bn_rm) * scale + bn_b).to(b.dtype).detach()
    return Parameter(weight, linear_w.requires_grad), Parameter(bias, trained)
