"""The older weight_norm, by a hook before each forward; `parametrizations.weight_norm` is the newer."""

from __future__ import annotations

import warnings
from typing import Any

from unspool.nn.parameter import Parameter
from unspool.nn.utils.parametrizations import norm_except_dim

__all__ = ["remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook: sets `name` to g · v / |v| of the parameters `name`_g and `name`_v."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Any:
        """g · v / |v|."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except_dim(v, self.dim))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _hooks(module: Any, name: str) -> list[int]:
    hooks = module._forward_pre_hooks.items()
    return [key for key, h in hooks if isinstance(getattr(h, "fn", h), WeightNorm) and getattr(h, "fn", h).name == name]


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Make a parameter g · v / |v|, with `name`_g and `name`_v in its place. (Salimans, Kingma, 2016)

    Deprecated in favour of `parametrizations.weight_norm`, with a FutureWarning. Returns `module`.
    """
    warnings.warn(
        "nn.utils.weight_norm is deprecated in favour of nn.utils.parametrizations.weight_norm",
        FutureWarning,
        stacklevel=2,
    )
    if _hooks(module, name):
        raise RuntimeError(f"weight_norm: {name!r} of {type(module).__name__} has a weight_norm already")
    fn = WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(norm_except_dim(weight, fn.dim).detach()))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, fn.compute_weight(module))
    module.register_forward_pre_hook(fn)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Put one parameter of the present value in the place of `name`_g and `name`_v; returns `module`."""
    keys = _hooks(module, name)
    if not keys:
        raise ValueError(f"remove_weight_norm: weight_norm of {name!r} not found in {type(module).__name__}")
    hook = module._forward_pre_hooks.pop(keys[0])
    weight = getattr(hook, "fn", hook).compute_weight(module).detach()
    for gone in (name, name + "_g", name + "_v"):
        delattr(module, gone)
    setattr(module, name, Parameter(weight))
    return module
