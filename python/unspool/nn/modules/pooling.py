"""Pooling layers; `nn/_pooling.py` and `nn/_pooling_fractional.py` have the mathematics."""

from __future__ import annotations

from typing import Any

from unspool.nn import _pooling, _pooling_fractional
from unspool.nn._convolution import sizes
from unspool.nn.modules.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "LPPool1d", "LPPool2d", "LPPool3d",
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


class _MaxPool(Module):
    """The largest element of each window of the last dims; the first of equal ones gets the gradient.

    Args:
        kernel_size, stride, padding, dilation: one int, or one for each dim; stride is kernel_size where it is None.
        return_indices: whether the elements' places in the input are a second result.
        ceil_mode: whether a last window may reach out of the padded input.
    """

    _f: Any = None

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return type(self)._f(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _f = staticmethod(_pooling.max_pool1d)


class MaxPool2d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _f = staticmethod(_pooling.max_pool2d)


class MaxPool3d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _f = staticmethod(_pooling.max_pool3d)


class AvgPool1d(Module):
    """The mean of each window of the last dim; padded zeros count unless count_include_pad is False."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        as_tuple = [
            v if isinstance(v, tuple) else (v,) for v in (kernel_size, kernel_size if stride is None else stride)
        ]
        self.kernel_size, self.stride = as_tuple
        self.padding = padding if isinstance(padding, tuple) else (padding,)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Any) -> Any:
        return _pooling.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """The mean of each window; padded zeros count unless count_include_pad is False.

    The sums are divided by `divisor_override` instead of the window's size where it is given.
    """

    _f: Any = None

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        return type(self)._f(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _f = staticmethod(_pooling.avg_pool2d)


class AvgPool3d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _f = staticmethod(_pooling.avg_pool3d)


class _LPPool(Module):
    """(Σ x^p)^(1/p) of each window, p being norm_type."""

    _f: Any = None

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return type(self)._f(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    _f = staticmethod(_pooling.lp_pool1d)


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    _f = staticmethod(_pooling.lp_pool2d)


class _AdaptivePool(Module):
    """Windows that make a result of size output_size, whatever the input's; an entry None keeps the input's."""

    _f: Any = None

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return type(self)._f(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptivePool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_avg_pool3d)


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return type(self)._f(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _AdaptivePool.__doc__
    _f = staticmethod(_pooling.adaptive_max_pool3d)


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    _f = staticmethod(_pooling.lp_pool3d)


class _MaxUnpool(Module):
    """What a max pooling picked, put back where its indices say; zeros elsewhere.

    Args:
        kernel_size, stride, padding: those of the pooling.
    """

    _n = 0
    _f: Any = None

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        n, op = self._n, type(self).__name__
        self.kernel_size = sizes(op, "kernel_size", kernel_size, n)
        self.stride = self.kernel_size if stride is None else sizes(op, "stride", stride, n)
        self.padding = sizes(op, "padding", padding, n, 0)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return type(self)._f(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _n = 1
    _f = staticmethod(_pooling.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _n = 2
    _f = staticmethod(_pooling.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _n = 3
    _f = staticmethod(_pooling.max_unpool3d)


class _FractionalMaxPool(Module):
    """The largest element of windows that begin at random steps.

    Args:
        kernel_size: of a window; one int, or one for each dim.
        output_size: one int, or one for each dim; or output_ratio, the share of the input's size.
        return_indices: whether the elements' places in the input are a second result.
        _random_samples: numbers in [0, 1) of shape (N, C, dims), drawn at each call where they are None.
    """

    _n = 0
    _f: Any = None
    _random_samples: Any

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        super().__init__()
        n, op = self._n, type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(f"{op} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        self.kernel_size = sizes(op, "kernel_size", kernel_size, n)
        self.output_size = None if output_size is None else sizes(op, "output_size", output_size, n)
        if output_ratio is not None and isinstance(output_ratio, (int, float)):
            output_ratio = (output_ratio,) * n
        if output_ratio is not None and not all(0 < ratio < 1 for ratio in output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Any) -> Any:
        return type(self)._f(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _n = 2
    _f = staticmethod(_pooling_fractional.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _n = 3
    _f = staticmethod(_pooling_fractional.fractional_max_pool3d)
