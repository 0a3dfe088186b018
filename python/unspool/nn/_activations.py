"""Activation functions, native ones and compositions of them; `functional` gives them their public names."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool._precision import in_lower_precision

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
    "threshold_",
]  # fmt: skip

# Klambauer et al., "Self-Normalizing Neural Networks", 2017: the fixed point of mean 0 and variance 1.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _placed(input: Any, result: Any, inplace: bool) -> Any:
    return input.copy_(result) if inplace else result


def _native(f: Any, input: Any, inplace: bool, *arguments: float) -> Any:
    """f(input, …), written over the input with `inplace`; backward needs the value from before."""
    return input.copy_(f(input.clone(), *arguments)) if inplace else f(input, *arguments)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, negative_slope · x elsewhere."""
    return _native(_core.leaky_relu, input, inplace, negative_slope)


@in_lower_precision
def prelu(input: Any, weight: Any) -> Any:
    """leaky_relu with a learnt slope: one number, or one for each channel (dim 1)."""
    if weight.dim() > 1:
        raise RuntimeError(f"prelu: weight must be a vector or a 0-d tensor, got shape {tuple(weight.shape)}")
    if weight.numel() != 1:
        channels = input.shape[1] if input.dim() > 1 else 1
        if input.dim() == 0 or weight.numel() != channels:
            raise RuntimeError(
                f"prelu: weight has {weight.numel()} elements; an input of shape {tuple(input.shape)} needs 1 "
                f"or {channels}"
            )
        weight = weight.reshape((1, -1) + (1,) * (input.dim() - 2) if input.dim() > 1 else (-1,))
    elif input.dim() == 0:
        weight = weight.reshape(())
    return _core._prelu_kernel(input, weight)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, alpha (e^x - 1) elsewhere."""
    return _native(_core.elu, input, inplace, alpha)


def selu(input: Any, inplace: bool = False) -> Any:
    """elu with the alpha and the scale that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return _native(_core.elu, input, inplace, _SELU_ALPHA, _SELU_SCALE)


@shown_as("CeluBackward0")
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """max(x, 0) + min(0, alpha (e^(x/alpha) - 1))."""
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError, alpha cannot be 0")
    return _native(_core.elu, input, inplace, alpha, 1.0, 1.0 / alpha)


def gelu(input: Any, *, approximate: str = "none") -> Any:
    """x Φ(x) with the normal distribution's Φ ('none'), or its 'tanh' approximation (Hendrycks, Gimpel, 2016)."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _core.gelu(input, approximate=approximate)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also called swish."""
    return _native(_core.silu, input, inplace)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """ln(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return _core.softplus(input, beta, threshold)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x))."""
    return _native(_core.mish, input, inplace)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x brought into [min_val, max_val]; the derivative is 0 at the bounds."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is greater than max_val {max_val}")
    if not input.dtype.is_floating_point:
        return _placed(input, input.clamp(min_val, max_val).to(input.dtype), inplace)
    return _native(_core.hardtanh, input, inplace, min_val, max_val)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """relu6(x + 3) / 6."""
    return _native(_core.hardsigmoid, input, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x relu6(x + 3) / 6."""
    return _native(_core.hardswish, input, inplace)


def logsigmoid(input: Any) -> Any:
    """ln sigmoid(x), without overflow."""
    return _core.log_sigmoid(input)


def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x)."""
    return input - _core.tanh(input)


@shown_as("SoftshrinkBackward0")
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved towards 0 by lambd, 0 within."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}")
    outside = _core.where(input > 0, input - lambd, input + lambd)
    return _core.where((input >= -lambd) & (input <= lambd), 0.0, outside)


@shown_as("HardshrinkBackward0")
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x where |x| > lambd, 0 within."""
    return _core.where((input >= -lambd) & (input <= lambd), 0.0, input)


@shown_as("ThresholdBackward0")
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, value elsewhere."""
    return _placed(input, _core.where(input <= threshold, value, input).to(input.dtype), inplace)


@shown_as("GluBackward0")
def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b) of the two halves a, b along dim."""
    if input.dim() == 0:
        raise RuntimeError("glu: does not support 0-dimensional tensors")
    if input.shape[dim] % 2:
        raise RuntimeError(f"glu: halving dimension must be even, but dimension {dim} has size {input.shape[dim]}")
    a, b = input.split(input.shape[dim] // 2, dim) if input.shape[dim] else (input, input)
    return a * _core.sigmoid(b)


def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    """x where x > 0, a x elsewhere: a from U(lower, upper) for each element in training, else (lower + upper) / 2."""
    if lower > upper:
        raise RuntimeError(f"rrelu: Lower bound should be less than or equal to the upper bound: {lower}, {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    low = input.detach() <= 0
    # One double for each element that needs it, in order, is PyTorch's use of the random stream.
    drawn = _core.empty(int(low.sum()), dtype=_core.float64).uniform_(lower, upper)
    slopes = _core.ones_like(input, requires_grad=False).masked_scatter(low, drawn.to(input.dtype))
    return _placed(input, input * slopes, inplace)


def relu_(input: Any) -> Any:
    """relu, in place."""
    return input.relu_()


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """celu, in place."""
    return celu(input, alpha, True)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """elu, in place."""
    return elu(input, alpha, True)


def selu_(input: Any) -> Any:
    """selu, in place."""
    return selu(input, True)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """leaky_relu, in place."""
    return leaky_relu(input, negative_slope, True)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """hardtanh, in place."""
    return hardtanh(input, min_val, max_val, True)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """threshold, in place."""
    return _placed(input, _core.where(input <= threshold, value, input).to(input.dtype), True)


def rrelu_(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Any:
    """rrelu, in place."""
    return rrelu(input, lower, upper, training, True)
