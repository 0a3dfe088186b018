"""Initialisation of parameters, in place and unrecorded; each function returns its tensor.

The draws come from the native random engine in PyTorch's order, from `generator` where one is given.
`fan_avg`, a mode that PyTorch lacks, uses (fan_in + fan_out) / 2. What PyTorch also lacks, initialisers of whole
models (`he_`, `lsuv_`, `standardize_`, `fixup_`) and `integrated_gain`, is loaded on first use.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from math import ceil, erf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from unspool import _core
from unspool.autograd.grad_mode import no_grad

if TYPE_CHECKING:
    from unspool.nn._init_gain import integrated_gain as integrated_gain
    from unspool.nn._init_he import he_ as he_
    from unspool.nn._init_measured import lsuv_ as lsuv_
    from unspool.nn._init_measured import standardize_ as standardize_
    from unspool.nn._init_residual import fixup_ as fixup_

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "fixup_",
    "he_",
    "integrated_gain",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lsuv_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "standardize_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_ON_FIRST_USE = {
    "fixup_": "_init_residual",
    "he_": "_init_he",
    "integrated_gain": "_init_gain",
    "lsuv_": "_init_measured",
    "standardize_": "_init_measured",
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks a signal, to be made good: √2 for 'relu', 5/3 for 'tanh' …

    Raises:
        ValueError: an unknown nonlinearity, or a slope of leaky_relu that is no number.
    """
    gain: float = _core.calculate_gain(nonlinearity, param)
    return gain


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Fill with draws from U(a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Fill with draws from N(mean, std²)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Any:
    """Fill with draws from N(mean, std²), those outside of [a, b] drawn again.

    A warning says so where the mean lies more than 2 std outside of [a, b].
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    if _core.is_tensor(tensor) and tensor.dtype in (_core.bfloat16, _core.float16) and tensor.numel() and std > 0:
        return _trunc_normal_of_halves(tensor, mean, std, a, b, generator)
    return _core.trunc_normal_(tensor, mean, std, a, b, generator)


def _trunc_normal_of_halves(tensor: Any, mean: float, std: float, a: float, b: float, generator: Any) -> Any:
    """What PyTorch draws in 16 bits: it compares, and draws again, after rounding to them."""
    below = [(1.0 + erf((bound - mean) / std / sqrt(2.0))) / 2.0 for bound in (a, b)]
    with no_grad():
        if below[1] - below[0] > 0.3:
            low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()
            drawn = _core.empty_like(tensor).normal_(mean, std, generator=generator)
            while (outside := (drawn < low) | (drawn > high)).any():
                again = _core.empty_like(tensor).normal_(mean, std, generator=generator)
                drawn = _core.where(outside, again, drawn)
            return tensor.copy_(drawn)
        # A candidate from U(a, b) is taken with probability density(candidate) / density(peak).
        peak = tensor.new_tensor(-0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2)
        drawn = candidates = _core.empty_like(tensor).uniform_(a, b, generator=generator)
        missing: Any = None
        while missing is None or missing.any():
            if missing is not None:
                candidates = _core.empty_like(tensor).uniform_(a, b, generator=generator)
                drawn = _core.where(missing, candidates, drawn)
            log_density = candidates.sub(tensor.new_tensor(mean)).div_(std).pow_(2).mul_(-0.5).sub_(peak)
            refused = _core.empty_like(tensor).uniform_(generator=generator).log_() > log_density
            missing = refused if missing is None else missing & refused
        return tensor.copy_(drawn)


def constant_(tensor: Any, val: float) -> Any:
    """Fill with `val`."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Any) -> Any:
    """Fill with 1."""
    with no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Any) -> Any:
    """Fill with 0."""
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Any) -> Any:
    """Make a matrix the identity, as far as it goes where it isn't square.

    Raises:
        ValueError: the tensor has not two dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError(f"eye_: the tensor must have 2 dimensions, its shape is {tuple(tensor.shape)}")
    rows, columns = tensor.shape
    with no_grad():
        return tensor.copy_(_core.eye(rows, columns, dtype=tensor.dtype))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Make a convolution's weight (out, in / groups, size …) pass its channels on, as many as there are in both.

    The middle of the kernel from channel i to channel i of each group is 1, all else 0.

    Raises:
        ValueError: the tensor has not 3, 4 or 5 dimensions, or `groups` does not divide the first.
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac_: the tensor must have 3, 4 or 5 dimensions, its shape is {shape}")
    if shape[0] % groups:
        raise ValueError(f"dirac_: groups must divide the first dimension, got groups={groups} and shape {shape}")
    rows = shape[0] // groups
    middle = tuple(size // 2 for size in shape[2:])
    with no_grad():
        tensor.zero_()
        for row in range(shape[0]):
            if row % rows < shape[1]:
                tensor[(row, row % rows, *middle)] = 1
    return tensor


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Fill with draws from U(-b, b), b = gain·√(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return _core.xavier_uniform_(tensor, gain, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Fill with draws from N(0, σ²), σ = gain·√(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return _core.xavier_normal_(tensor, gain, generator)


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Any:
    """Fill with draws from U(-b, b), b = gain·√(3 / fan) (He et al. 2015).

    Args:
        tensor: at least two dimensions, (out, in, …).
        a: the slope of leaky_relu on the negative side.
        mode: 'fan_in' keeps the variance forward, 'fan_out' backward, 'fan_avg' between.
        nonlinearity: what follows the layer; see `calculate_gain`.

    Raises:
        ValueError: fewer than two dimensions, or an unknown mode or nonlinearity.
    """
    if _core.is_tensor(tensor) and 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return _core.kaiming_uniform_(tensor, a, mode, nonlinearity, generator)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Any:
    """Fill with draws from N(0, σ²), σ = gain / √fan (He et al. 2015); arguments as in `kaiming_uniform_`."""
    if _core.is_tensor(tensor) and 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return _core.kaiming_normal_(tensor, a, mode, nonlinearity, generator)


def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Any:
    """Fill with `gain` times a matrix of orthonormal rows or columns, whichever are fewer (Saxe et al. 2013).

    It is the Q of a matrix of normal draws, the signs chosen so that R has a positive diagonal. Dimensions beyond
    the second are flattened into it.

    Raises:
        ValueError: the tensor has fewer than two dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError(f"orthogonal_: the tensor needs 2 or more dimensions, its shape is {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    drawn = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator).double().numpy()
    wide = rows < drawn.shape[1]
    q, r = np.linalg.qr(drawn.T if wide else drawn)
    q = q * np.sign(np.diagonal(r))
    with no_grad():
        scaled = _core.tensor(q.T if wide else q).to(tensor.dtype).reshape(tuple(tensor.shape)).mul_(gain)
        return tensor.copy_(scaled)


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Any = None) -> Any:
    """Fill a matrix with draws from N(0, std²), then a share `sparsity` of each column with 0 (Martens 2010).

    Raises:
        ValueError: the tensor has not two dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError(f"sparse_: the tensor must have 2 dimensions, its shape is {tuple(tensor.shape)}")
    rows, columns = tensor.shape
    zeros = ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[_core.randperm(rows)[:zeros], column] = 0
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """PyTorch's (private, widely used) name for the two fans."""
    fan_in, fan_out = _core.calculate_fans(tensor)
    return fan_in, fan_out


def _calculate_correct_fan(tensor: Any, mode: str) -> float:
    """PyTorch's (private) name for the fan of a mode, 'fan_avg' among them."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if mode.lower() not in fans:
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of {list(fans)}")
    return fans[mode.lower()]


def _make_deprecate(meth: Callable[..., Any]) -> Callable[..., Any]:
    """The older name, without the underscore, of an initialiser: the same function, which warns first."""
    new, old = meth.__name__, meth.__name__[:-1]

    @wraps(meth)
    def deprecated_init(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return meth(*args, **kwargs)

    deprecated_init.__name__ = deprecated_init.__qualname__ = old
    deprecated_init.__doc__ = f"The older name of `{new}`; it warns."
    return deprecated_init


uniform = _make_deprecate(uniform_)
normal = _make_deprecate(normal_)
constant = _make_deprecate(constant_)
eye = _make_deprecate(eye_)
dirac = _make_deprecate(dirac_)
xavier_uniform = _make_deprecate(xavier_uniform_)
xavier_normal = _make_deprecate(xavier_normal_)
kaiming_uniform = _make_deprecate(kaiming_uniform_)
kaiming_normal = _make_deprecate(kaiming_normal_)
orthogonal = _make_deprecate(orthogonal_)
sparse = _make_deprecate(sparse_)


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"unspool.nn.{_ON_FIRST_USE[name]}"), name)
        return value
    raise AttributeError(f"module 'unspool.nn.init' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
