"""The older spectral_norm, by a hook before each forward; `parametrizations.spectral_norm` is the newer."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn import functional
from unspool.nn.parameter import Parameter

__all__ = ["remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook: sets `name` to `name`_orig divided by its largest singular value."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def matrix(self, weight: Any) -> Any:
        """The weight with `dim` in front and the others as one."""
        return (weight.movedim(self.dim, 0) if self.dim else weight).reshape(weight.shape[self.dim], -1)

    def compute_weight(self, module: Any, iterate: bool) -> Any:
        """The weight over its singular value, after steps of the power iteration where `iterate`."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.matrix(weight)
        if iterate:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    functional.normalize(matrix.t().mv(u), dim=0, eps=self.eps, out=v)
                    functional.normalize(matrix.mv(v), dim=0, eps=self.eps, out=u)
            u, v = u.clone(), v.clone()
        return weight / u.dot(matrix.mv(v))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def _hooks(module: Any, name: str) -> list[int]:
    hooks = [(key, getattr(h, "fn", h)) for key, h in module._forward_pre_hooks.items()]
    return [key for key, fn in hooks if isinstance(fn, SpectralNorm) and fn.name == name]


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Divide a parameter by its largest singular value; it becomes `name`_orig. (Miyato et al., 2018)

    Returns `module`.
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    if _hooks(module, name):
        raise RuntimeError(f"spectral_norm: {name!r} of {type(module).__name__} has a spectral_norm already")
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter named {name!r}")
    fn = SpectralNorm(name, n_power_iterations, dim, eps)
    rows, columns = fn.matrix(weight.detach()).shape
    u, v = (
        functional.normalize(_core.empty(size, dtype=weight.dtype).normal_(0, 1), dim=0, eps=eps)
        for size in (rows, columns)
    )
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.data)  # a plain attribute: no parameter
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(fn)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Put one parameter of the present value in the place of `name`_orig; returns `module`."""
    keys = _hooks(module, name)
    if not keys:
        raise ValueError(f"remove_spectral_norm: spectral_norm of {name!r} not found in {type(module).__name__}")
    hook = module._forward_pre_hooks.pop(keys[0])
    with no_grad():
        weight = getattr(hook, "fn", hook).compute_weight(module, False)
    for gone in (name, name + "_u", name + "_v", name + "_orig"):
        delattr(module, gone)
    module.register_parameter(name, Parameter(weight.detach()))
    return module
