"""Normalisations, dropout and embedding as compositions of native ops; `functional` gives them their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core

__all__ = ["batch_norm", "dropout", "embedding", "layer_norm", "rms_norm"]


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Each element 0 with probability p, divided by 1 - p otherwise; the input itself where not training."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0 or input.numel() == 0:
        return input
    kept = _core.zeros_like(input) if p == 1.0 else _core.empty_like(input).bernoulli_(1 - p).div_(1 - p)
    y = input * kept
    return input.copy_(y) if inplace else y


def _check_tail(name: str, input: Any, shape: Sequence[int], weight: Any, bias: Any) -> tuple[int, ...]:
    tail = tuple(shape)
    if not tail or tuple(input.shape[-len(tail) :]) != tail:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(tail)}, expected input with shape [*, "
            f"{', '.join(map(str, tail))}], but got input of size {list(input.shape)}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != tail:
            raise RuntimeError(f"{name}: Expected {what} to be of shape {list(tail)}, got {list(t.shape)}")
    return tuple(range(-len(tail), 0))


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(var + eps) · weight + bias over the last dims, of sizes normalized_shape; var over n."""
    dims = _check_tail("layer_norm", input, normalized_shape, weight, bias)
    rest = input - input.mean(dims, keepdim=True)
    y = rest / ((rest * rest).mean(dims, keepdim=True) + eps).sqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / sqrt(mean(x²) + eps) · weight over the last dims; eps is the dtype's epsilon where None."""
    dims = _check_tail("rms_norm", input, normalized_shape, weight, None)
    if eps is None:
        eps = 2.0**-52 if input.dtype == _core.float64 else 2.0**-23
    y = input / ((input * input).mean(dims, keepdim=True) + eps).sqrt()
    return y if weight is None else y * weight


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / sqrt(var + eps) · weight + bias for each channel (dim 1) of (N, C) or (N, C, …).

    In training mean and var (over n) are the batch's, and the running ones move towards them by `momentum`, the
    running variance towards the unbiased one (over n - 1); else they are the running ones.

    Raises:
        ValueError: one value a channel in training.
    """
    if input.dim() == 1 and input.numel() == 0:  # an empty batch, to PyTorch
        return input.clone()
    if input.dim() < 2:
        raise RuntimeError(f"batch_norm: expected at least 2 dimensions, got shape {tuple(input.shape)}")
    channels = input.shape[1]
    for what, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and t.numel() != channels:
            raise RuntimeError(f"batch_norm: {what} should contain {channels} elements not {t.numel()}")
    dims = (0, *range(2, input.dim()))
    shape = (1, channels) + (1,) * (input.dim() - 2)
    if training:
        count = input.numel() // channels if channels else 0
        if count <= 1:
            raise ValueError(
                f"batch_norm: Expected more than 1 value per channel when training, got input size {input.shape}"
            )
        mean = input.mean(dims, keepdim=True)
        rest = input - mean
        var = (rest * rest).mean(dims, keepdim=True)
        if running_mean is not None:
            with _NoGrad():
                running_mean.mul_(1 - momentum).add_(mean.detach().reshape(-1), alpha=momentum)
                unbiased = var.detach().reshape(-1) * (count / (count - 1))
                running_var.mul_(1 - momentum).add_(unbiased, alpha=momentum)
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: Expected running_mean and running_var to be defined when training=False")
        rest, var = input - running_mean.reshape(shape), running_var.reshape(shape)
    y = rest / (var + eps).sqrt()
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


class _NoGrad:
    def __enter__(self) -> None:
        self.previous = _core._set_grad_enabled(False)

    def __exit__(self, *exc: object) -> None:
        _core._set_grad_enabled(self.previous)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of weight (n, d) at the integers of input (…), as (…, d); row padding_idx gets no gradient."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError("embedding: max_norm, scale_grad_by_freq and sparse are not supported")
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {tuple(weight.shape)}")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError(f"embedding: padding_idx must be within num_embeddings {rows}, got {padding_idx}")
        padding_idx %= rows
    return _core.embedding(weight, input, -1 if padding_idx is None else padding_idx)
