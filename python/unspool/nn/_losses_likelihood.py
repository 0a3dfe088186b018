"""Negative log-likelihoods of Poisson and Gaussian distributions; `functional` gives them their public names."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._precision import in_float32
from unspool.autograd.grad_mode import no_grad
from unspool.nn._losses import legacy_reduction, reduced

__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]


@in_float32
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """λ - target ln λ of counts `target`, the input being ln λ or (log_input=False) λ itself.

    `full` adds Stirling's approximation of ln target! where target > 1; `eps` keeps the logarithm finite.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        many = target > 1
        t = _core.where(many, target, 1.0)
        stirling = t * t.log() - t + 0.5 * (2 * math.pi * t).log()
        losses = losses + _core.where(many, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(ln var + (input - target)² / var) / 2 with var at least eps; `full` adds ln(2π) / 2. (Nix, Weigend, 1994)

    Args:
        var: a number, or a tensor of the input's shape, of that shape without the last dim, or with 1 there.

    Raises:
        ValueError: a negative variance, a shape that doesn't fit, or an unknown reduction.
    """
    if not isinstance(var, (_core.Tensor, float)):
        raise TypeError(f"gaussian_nll_loss: var must be a Tensor or a float, got {type(var).__name__}")
    if isinstance(var, float):
        var = _core.full_like(input, var, requires_grad=False)
    _core._refuse(var < 0, var, lambda v: ValueError("gaussian_nll_loss: var has negative entry/entries"))
    own, shape = tuple(var.shape), tuple(input.shape)
    if own == shape[:-1]:
        var = var.unsqueeze(-1)
    elif own != shape and not _fits(own, shape):
        raise ValueError(f"gaussian_nll_loss: var is of incorrect size {own} for an input of size {shape}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"gaussian_nll_loss: {reduction} is not valid; reduction is one of 'none', 'mean', 'sum'")
    var = var.clone()
    with no_grad():  # the gradient passes as if nothing had been raised to eps
        var.clamp_(min=eps)
    rest = input - target
    losses = 0.5 * (var.log() + rest * rest / var)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def _fits(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the shapes differ in one dim, where `own` has size 1."""
    return len(own) == len(shape) and [a for a, b in zip(own, shape, strict=True) if a != b] == [1]
