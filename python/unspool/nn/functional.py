"""Layers and losses as functions. The mathematics is native; these wrappers give PyTorch's signatures and warnings."""

from __future__ import annotations

import warnings
from typing import Any

from unspool import _core
from unspool.errors import ShapeError
from unspool.nn import (
    _activations,
    _attention,
    _convolution,
    _distances,
    _dropouts,
    _grids,
    _lookup,
    _losses,
    _losses_alignment,
    _losses_likelihood,
    _losses_margin,
    _multihead,
    _normalization,
    _padding,
    _pooling,
    _pooling_fractional,
    _resizing,
)
from unspool.nn._activations import *  # noqa: F403
from unspool.nn._attention import *  # noqa: F403
from unspool.nn._convolution import *  # noqa: F403
from unspool.nn._distances import *  # noqa: F403
from unspool.nn._dropouts import *  # noqa: F403
from unspool.nn._grids import *  # noqa: F403
from unspool.nn._lookup import *  # noqa: F403
from unspool.nn._losses import *  # noqa: F403
from unspool.nn._losses import legacy_reduction as legacy_reduction
from unspool.nn._losses import name_cross_entropy
from unspool.nn._losses import warn_broadcast as warn_broadcast
from unspool.nn._losses_alignment import *  # noqa: F403
from unspool.nn._losses_likelihood import *  # noqa: F403
from unspool.nn._losses_margin import *  # noqa: F403
from unspool.nn._multihead import *  # noqa: F403
from unspool.nn._normalization import *  # noqa: F403
from unspool.nn._padding import *  # noqa: F403
from unspool.nn._pooling import *  # noqa: F403
from unspool.nn._pooling_fractional import *  # noqa: F403
from unspool.nn._resizing import *  # noqa: F403

__all__ = [
    "bilinear", "cross_entropy", "gumbel_softmax", "linear", "log_softmax", "mse_loss", "one_hot", "relu", "sigmoid",
    "softmax", "softmin", "tanh",
]  # fmt: skip
__all__ += _activations.__all__
__all__ += _distances.__all__
__all__ += _attention.__all__
__all__ += _convolution.__all__
__all__ += _dropouts.__all__
__all__ += _grids.__all__
__all__ += _lookup.__all__
__all__ += _padding.__all__
__all__ += _pooling.__all__
__all__ += _pooling_fractional.__all__
__all__ += _resizing.__all__
__all__ += _losses.__all__
__all__ += _losses_alignment.__all__
__all__ += _losses_likelihood.__all__
__all__ += _losses_margin.__all__
__all__ += _multihead.__all__
__all__ += _normalization.__all__

_linear = _core.linear
tanh = _core.tanh
sigmoid = _core.sigmoid
one_hot = _core.one_hot


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x·Wᵀ + b, for x (…, in), W (out, in) and b that broadcasts to the result (…, out); or W (in), result (…)."""
    try:
        return _linear(input, weight, bias)
    except ShapeError:
        fits = input.dim() > 0 and weight.dim() in (1, 2) and input.shape[-1] == weight.shape[-1]
        if not fits or (weight.dim() == 2 and bias is None):
            raise
        y = input @ weight if weight.dim() == 1 else _linear(input, weight)
        if bias is None:
            return y
        shape, own = tuple(y.shape), tuple(bias.shape)
        tail = shape[len(shape) - len(own) :]
        if len(own) > len(shape) or any(a not in (1, b) for a, b in zip(own, tail, strict=True)):
            raise
        return y + bias


def relu(input: Any, inplace: bool = False) -> Any:
    """max(input, 0), elementwise; `inplace` overwrites the input."""
    return input.relu_() if inplace else _core.relu(input)


def _implied_dim(name: str, ndim: int) -> int:
    """The dimension that old programs leave out: the first for 0, 1 or 3 dimensions, else the second."""
    dim = 0 if ndim in (0, 1, 3) else 1
    warnings.warn(f"{name}: dim was left out and {dim} is taken; say dim={dim}, the choice is deprecated", stacklevel=4)
    return dim


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """exp(x) / Σ exp(x) along `dim`; same shape as the input."""
    if dim is None:
        dim = _implied_dim("softmax", input.dim())
    return _core.softmax(input, dim) if dtype is None else _core.softmax(input, dim, dtype=dtype)


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """x - log Σ exp(x) along `dim`; same shape as the input."""
    if dim is None:
        dim = _implied_dim("log_softmax", input.dim())
    return _core.log_softmax(input, dim) if dtype is None else _core.log_softmax(input, dim, dtype=dtype)


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """softmax(-x) along `dim`; same shape as the input."""
    if dim is None:
        dim = _implied_dim("softmin", input.dim())
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """A draw from the classes along `dim`, relaxed: softmax((logits + Gumbel noise) / tau). (Jang et al., 2016)

    With `hard` the result is one-hot, and its gradient that of the relaxed one. `eps` does nothing, as in PyTorch.
    """
    # minus the logarithm of exponential draws, which PyTorch makes of doubles
    drawn = -_core.log1p(-_core.empty(logits.shape, dtype=_core.float64).uniform_())
    noise = -drawn.to(logits.dtype).log()
    soft = _core.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    best = soft.detach().max(dim, keepdim=True)[1]
    return _core.zeros_like(logits, requires_grad=False).scatter(dim, best, 1.0) - soft.detach() + soft


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[k] = x1ᵀ·W[k]·x2 + b[k], for x1 (…, i), x2 (…, j), weight (o, i, j) and bias (o); y is (…, o)."""
    if weight.dim() != 3:
        raise ShapeError(f"bilinear: weight must be (out, in1, in2), got shape {tuple(weight.shape)}")
    o, i, j = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != (i, j):
        raise ShapeError(
            f"bilinear: inputs of shapes (…, {i}) and (…, {j}) with equal … are needed; got {tuple(input1.shape)} and "
            f"{tuple(input2.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (o,):
        raise ShapeError(f"bilinear: bias must have shape ({o},), got {tuple(bias.shape)}")
    if input1.dtype.itemsize == 2:  # its products overflow float16
        wide = [None if t is None else t.float() for t in (input1, input2, weight, bias)]
        return bilinear(*wide).to(input1.dtype)
    x1, x2 = input1.reshape(-1, i), input2.reshape(-1, j)
    # (n×i)·(i×oj) → (n×oj), then each o with x2
    y = ((x1 @ weight.permute(1, 0, 2).reshape(i, o * j)).reshape(-1, o, j) * x2.unsqueeze(1)).sum(-1)
    y = y if bias is None else y + bias
    return y.reshape((*input1.shape[:-1], o))


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """(input - target)², averaged, summed or as it is ('none'). Different sizes broadcast, with a UserWarning.

    Raises:
        ValueError: an unknown reduction, or shapes that don't broadcast.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if weight is not None:
        raise NotImplementedError("mse_loss: weight is not supported; weight the squared differences yourself")
    if input.shape != target.shape:
        warn_broadcast("mse_loss", input, target)
    return _core.mse_loss(input, target, reduction)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(input)[target] for class numbers, or for a distribution over the classes.

    Args:
        input: logits, (C), (N, C) or (N, C, …).
        target: int64 class numbers of the shape without C, or probabilities of the input's shape.
        weight: one factor a class, shape (C).

    Raises:
        IndexError: a label outside of 0 … C-1 that isn't `ignore_index`.
        ValueError: an unknown reduction, or shapes that don't fit.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    y = _core.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    name_cross_entropy(y, input, target, reduction, label_smoothing)
    return y
