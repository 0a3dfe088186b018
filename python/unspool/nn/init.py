"""Initialisation of parameters, in place and unrecorded; each function returns its tensor.

The draws come from the native random engine in PyTorch's order, from `generator` where one is given.
`fan_avg`, a mode that PyTorch lacks, uses (fan_in + fan_out) / 2.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from unspool import _core
from unspool.autograd.grad_mode import no_grad

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


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
    """Fill with draws from N(mean, std²), those outside of [a, b] drawn again."""
    return _core.trunc_normal_(tensor, mean, std, a, b, generator)


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
    return _core.kaiming_uniform_(tensor, a, mode, nonlinearity, generator)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Any:
    """Fill with draws from N(0, σ²), σ = gain / √fan (He et al. 2015); arguments as in `kaiming_uniform_`."""
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
    drawn = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator).numpy()
    wide = rows < drawn.shape[1]
    q, r = np.linalg.qr(drawn.T if wide else drawn)
    q = q * np.sign(np.diagonal(r))
    with no_grad():
        return tensor.copy_(_core.tensor(q.T if wide else q).reshape(tuple(tensor.shape))).mul_(gain)


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
