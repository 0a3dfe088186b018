"""Layers and losses as functions. The mathematics is native; these wrappers give PyTorch's signatures and warnings."""

from __future__ import annotations

import warnings
from typing import Any

from unspool import _core
from unspool.nn._activations import celu as celu
from unspool.nn._activations import elu as elu
from unspool.nn._activations import gelu as gelu
from unspool.nn._activations import glu as glu
from unspool.nn._activations import hardshrink as hardshrink
from unspool.nn._activations import hardsigmoid as hardsigmoid
from unspool.nn._activations import hardswish as hardswish
from unspool.nn._activations import hardtanh as hardtanh
from unspool.nn._activations import leaky_relu as leaky_relu
from unspool.nn._activations import logsigmoid as logsigmoid
from unspool.nn._activations import mish as mish
from unspool.nn._activations import prelu as prelu
from unspool.nn._activations import relu6 as relu6
from unspool.nn._activations import selu as selu
from unspool.nn._activations import silu as silu
from unspool.nn._activations import softplus as softplus
from unspool.nn._activations import softshrink as softshrink
from unspool.nn._activations import softsign as softsign
from unspool.nn._activations import tanhshrink as tanhshrink
from unspool.nn._activations import threshold as threshold
from unspool.nn._arrangement import gumbel_softmax as gumbel_softmax
from unspool.nn._arrangement import pad as pad
from unspool.nn._arrangement import scaled_dot_product_attention as scaled_dot_product_attention
from unspool.nn._losses import binary_cross_entropy as binary_cross_entropy
from unspool.nn._losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from unspool.nn._losses import huber_loss as huber_loss
from unspool.nn._losses import kl_div as kl_div
from unspool.nn._losses import l1_loss as l1_loss
from unspool.nn._losses import legacy_reduction as legacy_reduction
from unspool.nn._losses import nll_loss as nll_loss
from unspool.nn._losses import smooth_l1_loss as smooth_l1_loss
from unspool.nn._losses import warn_broadcast as warn_broadcast
from unspool.nn._normalization import batch_norm as batch_norm
from unspool.nn._normalization import dropout as dropout
from unspool.nn._normalization import embedding as embedding
from unspool.nn._normalization import layer_norm as layer_norm
from unspool.nn._normalization import normalize as normalize
from unspool.nn._normalization import rms_norm as rms_norm
from unspool.nn._pairs import cosine_embedding_loss as cosine_embedding_loss
from unspool.nn._pairs import cosine_similarity as cosine_similarity
from unspool.nn._pairs import gaussian_nll_loss as gaussian_nll_loss
from unspool.nn._pairs import hinge_embedding_loss as hinge_embedding_loss
from unspool.nn._pairs import margin_ranking_loss as margin_ranking_loss
from unspool.nn._pairs import multi_margin_loss as multi_margin_loss
from unspool.nn._pairs import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from unspool.nn._pairs import pairwise_distance as pairwise_distance
from unspool.nn._pairs import poisson_nll_loss as poisson_nll_loss
from unspool.nn._pairs import soft_margin_loss as soft_margin_loss
from unspool.nn._pairs import triplet_margin_loss as triplet_margin_loss
from unspool.nn._pairs import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss

__all__ = [
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "elu",
    "elu_",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

linear = _core.linear
tanh = _core.tanh
sigmoid = _core.sigmoid
one_hot = _core.one_hot


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
    return _core.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """x1 A x2ᵀ + b for each output: input1 (…, in1), input2 (…, in2), weight (out, in1, in2)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: input batch dimensions do not match: got {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    from unspool._functions.algebra import einsum

    y = einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def _written(name: str, f: Any) -> Any:
    def write(input: Any, *args: Any, **kwargs: Any) -> Any:
        return f(input, *args, inplace=True, **kwargs)

    write.__name__ = write.__qualname__ = name
    write.__doc__ = f"`{name[:-1]}`, written into the input."
    return write


relu_ = _written("relu_", relu)
elu_ = _written("elu_", elu)
leaky_relu_ = _written("leaky_relu_", leaky_relu)
hardtanh_ = _written("hardtanh_", hardtanh)
selu_ = _written("selu_", selu)
celu_ = _written("celu_", celu)
threshold_ = _written("threshold_", threshold)


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """softmax of -input."""
    return softmax(-input, dim, _stacklevel, dtype)
