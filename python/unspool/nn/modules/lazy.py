"""Convolutions and normalisations that take their number of channels from the first input; `LazyLinear` is in `linear`.

Their parameters are empty, and the same objects, until then; the first call makes the layer one of the class without
"Lazy" and draws the parameters.
"""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.errors import ShapeError
from unspool.nn.modules import batchnorm, conv
from unspool.nn.modules.module import Module

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]  # fmt: skip


def _plain(self: Any) -> Any:
    """The class without "Lazy"."""
    return next(c for c in type(self).__mro__ if c.__module__ in (conv.__name__, batchnorm.__name__))


class _LazyConv(Module):
    """A convolution without in_channels, which the first input tells."""

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, *args, **kwargs)

    def reset_parameters(self) -> None:
        """Nothing, as there is nothing to draw yet."""

    def forward(self: Any, input: Any, *args: Any) -> Any:
        """Take the channels from the input, draw the parameters, and convolve."""
        lazy, n = type(self).__name__, self._n
        if input.dim() not in (n + 1, n + 2):
            raise ShapeError(f"{lazy}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
        channels = input.shape[-n - 1]
        if channels % self.groups:
            raise ValueError(
                f"{lazy}: the input's channels must be divisible by groups, got {channels} and {self.groups}"
            )
        self.in_channels = channels
        shape = [channels, self.out_channels] if self._transposed else [self.out_channels, channels]
        shape[1] //= self.groups
        self.weight.data = _core.empty((*shape, *self.kernel_size), dtype=self.weight.dtype)
        self.__class__ = _plain(self)
        self.reset_parameters()
        return self.forward(input, *args)


class _LazyNorm(Module):
    """A normalisation without num_features, which the first input tells."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, *args, **kwargs)

    def forward(self: Any, input: Any) -> Any:
        """Take the channels from the input, make the parameters, and normalise."""
        self._check_input_dim(input)
        single = min(self._dims) > 2 and input.dim() == min(self._dims) < max(self._dims)  # one instance
        self.num_features = input.shape[0 if single else 1]
        for t in (self.weight, self.bias, self.running_mean, self.running_var):
            if t is not None:
                t.data = _core.empty(self.num_features, dtype=t.dtype)
        self.__class__ = _plain(self)
        self.reset_parameters()
        return self.forward(input)


class LazyConv1d(_LazyConv, conv.Conv1d):
    """`Conv1d` without in_channels, which the first input tells."""


class LazyConv2d(_LazyConv, conv.Conv2d):
    """`Conv2d` without in_channels, which the first input tells."""


class LazyConv3d(_LazyConv, conv.Conv3d):
    """`Conv3d` without in_channels, which the first input tells."""


class LazyConvTranspose1d(_LazyConv, conv.ConvTranspose1d):
    """`ConvTranspose1d` without in_channels, which the first input tells."""


class LazyConvTranspose2d(_LazyConv, conv.ConvTranspose2d):
    """`ConvTranspose2d` without in_channels, which the first input tells."""


class LazyConvTranspose3d(_LazyConv, conv.ConvTranspose3d):
    """`ConvTranspose3d` without in_channels, which the first input tells."""


class LazyBatchNorm1d(_LazyNorm, batchnorm.BatchNorm1d):
    """`BatchNorm1d` without num_features, which the first input tells."""


class LazyBatchNorm2d(_LazyNorm, batchnorm.BatchNorm2d):
    """`BatchNorm2d` without num_features, which the first input tells."""


class LazyBatchNorm3d(_LazyNorm, batchnorm.BatchNorm3d):
    """`BatchNorm3d` without num_features, which the first input tells."""


class LazyInstanceNorm1d(_LazyNorm, batchnorm.InstanceNorm1d):
    """`InstanceNorm1d` without num_features, which the first input tells."""


class LazyInstanceNorm2d(_LazyNorm, batchnorm.InstanceNorm2d):
    """`InstanceNorm2d` without num_features, which the first input tells."""


class LazyInstanceNorm3d(_LazyNorm, batchnorm.InstanceNorm3d):
    """`InstanceNorm3d` without num_features, which the first input tells."""
