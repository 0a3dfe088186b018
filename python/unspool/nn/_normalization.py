"""Normalisations with PyTorch's signatures and checks; `functional` gives them their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool.nn._padding import pad

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(var + eps) · weight + bias over the last dims, of sizes normalized_shape; var over n."""
    return _core.layer_norm(input, tuple(normalized_shape), weight, bias, eps)


@shown_as("MulBackward0")
def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / sqrt(mean(x²) + eps) · weight over the last dims; eps is the dtype's epsilon where None."""
    return _core.rms_norm(input, tuple(normalized_shape), weight, eps)


@shown_as("NativeBatchNormBackward0")
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
        ValueError: one value a channel in training, or an eps that is not positive.
    """
    if input.dim() == 1 and input.numel() == 0:  # an empty batch, to PyTorch
        return input.clone()
    if input.dim() < 2:
        raise RuntimeError(f"batch_norm: expected at least 2 dimensions, got shape {tuple(input.shape)}")
    channels = input.shape[1]
    for what, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and t.numel() != channels:
            raise RuntimeError(f"batch_norm: {what} should contain {channels} elements not {t.numel()}")
    shape = (1, channels) + (1,) * (input.dim() - 2)
    if training:
        if not eps > 0:
            raise ValueError(f"batch_norm: eps must be positive during training, but got {eps}")
        if 0 in input.shape:  # nothing to normalise, and nothing seen
            y = input if weight is None else input * weight.reshape(shape)
            return y.clone() if bias is None else y + bias.reshape(shape)
        if input.numel() == channels:
            raise ValueError(
                f"batch_norm: Expected more than 1 value per channel when training, got input size {input.shape}"
            )
        return _core._batch_norm_train(input, weight, bias, running_mean, running_var, momentum, eps)
    if running_mean is None or running_var is None:
        raise RuntimeError("batch_norm: Expected running_mean and running_var to be defined when training=False")
    scale = 1 / (running_var + eps).sqrt()
    scale = (scale if weight is None else scale * weight).reshape(shape)
    y = (input.contiguous() - running_mean.reshape(shape)) * scale
    return y if bias is None else y + bias.reshape(shape)


class _NoGrad:
    def __enter__(self) -> None:
        self.previous = _core._set_grad_enabled(False)

    def __exit__(self, *exc: object) -> None:
        _core._set_grad_enabled(self.previous)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """batch_norm of each instance of (N, C, L, …) alone; running statistics are the instances' average.

    Raises:
        ValueError: one value a channel, and use_input_stats.
    """
    n, channels = input.shape[:2]
    spots = input[:1, :1].numel()
    if use_input_stats and spots == 1:
        raise ValueError(
            f"instance_norm: Expected more than 1 spatial element when training, got input size {input.shape}"
        )
    kept_mean, kept_var, scale, shift = (
        None if t is None else t.repeat(n) for t in (running_mean, running_var, weight, bias)
    )
    flat = input.reshape((1, n * channels, *input.shape[2:]))
    y = batch_norm(flat, kept_mean, kept_var, scale, shift, use_input_stats, momentum, eps)
    if use_input_stats:
        with _NoGrad():
            for t, moved in ((running_mean, kept_mean), (running_var, kept_var)):
                if t is not None and moved is not None:
                    t.copy_(moved.reshape(n, channels).mean(0))
    return y.reshape(tuple(input.shape))


@shown_as("NativeGroupNormBackward0")
def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) over groups of channels of (N, C, …); weight and bias are (C).

    Raises:
        RuntimeError: C isn't divisible by num_groups.
        ValueError: one value a group.
    """
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise RuntimeError(f"group_norm: Expected at least 2 dimensions for input tensor but received {len(shape)}")
    n, channels = shape[:2]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape)} and num_groups={num_groups}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != (channels,):
            raise RuntimeError(f"group_norm: Expected {what} to be of shape [{channels}], got {list(t.shape)}")
    x = input.reshape(n, num_groups, -1) if input.numel() else input
    if input.numel() == num_groups:
        raise ValueError(
            f"group_norm: Expected more than 1 value per channel when training, got input size {list(shape)}"
        )
    y = _core.layer_norm(x, (x.shape[-1],), eps=eps).reshape(shape) if input.numel() else x
    column = (1, channels) + (1,) * (len(shape) - 2)
    y = y if weight is None else y * weight.reshape(column)
    return y if bias is None else y + bias.reshape(column)


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha · mean of x² over `size` neighbouring channels)^beta. (Krizhevsky et al., 2012)"""
    if input.dim() < 3:
        raise ValueError(
            f"local_response_norm: Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = pad(input.square().movedim(1, -1), [size // 2, (size - 1) // 2]).movedim(-1, 1)
    channels = input.shape[1]
    total = squares[:, :channels]
    for i in range(1, size):
        total = total + squares[:, i : i + channels]
    mean = total / size if total.is_floating_point() else total.div(size, rounding_mode="trunc")
    return input / (mean * alpha + k).pow(beta)
