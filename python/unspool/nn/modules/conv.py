"""Convolution layers; `nn/_convolution.py` has the mathematics."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

from unspool import _core
from unspool.nn import init
from unspool.nn._convolution import conv, conv_transpose, sizes
from unspool.nn._padding import pad
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolution layers share. A subclass sets `_n`, the number of dims that the kernel moves over."""

    _n = 0
    _transposed = False
    weight: Any
    bias: Any
    kernel_size: Any
    stride: Any
    dilation: Any
    padding: Any

    def _build(self, channels: tuple[int, int], settings: dict[str, Any], bias: bool, device: Any, dtype: Any) -> None:
        n, op = self._n, type(self).__name__
        self.in_channels, self.out_channels = channels
        self.groups = settings["groups"]
        if self.groups <= 0:
            raise ValueError(f"{op}: groups must be a positive integer, got {self.groups!r}")
        for name, count in (("in_channels", channels[0]), ("out_channels", channels[1])):
            if count % self.groups:
                raise ValueError(f"{op}: {name} must be divisible by groups, got {count} and {self.groups}")
        self.padding_mode = settings["padding_mode"]
        if self.padding_mode not in _PADDING_MODES or (self._transposed and self.padding_mode != "zeros"):
            raise ValueError(f"{op}: padding_mode {self.padding_mode!r} is not supported")
        for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1)):
            setattr(self, name, sizes(op, name, settings[name], n, least))
        padding: Any = settings["padding"]
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f"{op}: Invalid padding string {padding!r}, should be one of 'valid', 'same'")
        self.padding = padding if isinstance(padding, str) else sizes(op, "padding", padding, n, 0)
        if self.padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError(f"{op}: padding='same' is not supported for strided convolutions")
        self.output_padding = sizes(op, "output_padding", settings.get("output_padding", 0), n, 0)
        self.transposed = self._transposed
        shape = (channels[0], channels[1]) if self._transposed else (channels[1], channels[0])
        shape = (shape[0], shape[1] // self.groups)
        self.weight = Parameter(_core.empty((*shape, *self.kernel_size), dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(_core.empty(channels[1], dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight, then the bias, both from U(±1/√fan_in), in the order of PyTorch's stream."""
        init.kaiming_uniform_(self.weight, a=sqrt(5))
        fan_in = self.weight.shape[1] * prod(self.kernel_size)
        if self.bias is not None and fan_in:
            init.uniform_(self.bias, -1 / sqrt(fan_in), 1 / sqrt(fan_in))

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self._n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self._n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self._n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    """A cross-correlation over the last dims.

    Args:
        in_channels, out_channels: of the input (N, C, …) and of the result; `weight` has shape
            (out_channels, in_channels / groups, *kernel_size).
        kernel_size, stride, dilation: one int, or one for each dim.
        padding: elements on both sides, or 'valid' (none) or 'same'; what they are says `padding_mode`.
        groups: parts of the channels that do not see each other.
        bias: whether there is one, of shape (out_channels).

    Raises:
        ValueError: groups that don't divide the channels, an unknown padding.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        self._build((in_channels, out_channels), settings, bias, device, dtype)

    def _around(self) -> list[int]:
        spans = [gap * (k - 1) for gap, k in zip(self.dilation, self.kernel_size, strict=True)]
        if self.padding == "same":
            return [p for span in reversed(spans) for p in (span // 2, span - span // 2)]
        return [] if self.padding == "valid" else [p for size in reversed(self.padding) for p in (size, size)]

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = pad(input, self._around(), mode=self.padding_mode), 0
        return conv(self._n, input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Any) -> Any:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    __doc__ = _Conv.__doc__
    _n = 1


class Conv2d(_Conv):
    __doc__ = _Conv.__doc__
    _n = 2


class Conv3d(_Conv):
    __doc__ = _Conv.__doc__
    _n = 3


class _ConvTranspose(_ConvNd):
    """The adjoint of a convolution: sizes grow by the stride.

    Args: as for convolutions; `weight` has shape (in_channels, out_channels / groups, *kernel_size), and
        `output_padding` adds to one side of the result, of which several sizes would have the same convolution.
    """

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode, "output_padding": output_padding,
        }  # fmt: skip
        self._build((in_channels, out_channels), settings, bias, device, dtype)

    def _extra(self, input: Any, output_size: Any) -> Any:
        """The output padding that gives output_size."""
        if output_size is None:
            return self.output_padding
        wanted = list(output_size)[-self._n :]
        shape = input.shape[-self._n :]
        least = [
            (size - 1) * step - 2 * p + gap * (k - 1) + 1
            for size, step, p, gap, k in zip(
                shape, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = [w - low for w, low in zip(wanted, least, strict=True)]
        if any(e < 0 or e >= step for e, step in zip(extra, self.stride, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: requested an output size of {wanted}, but valid sizes range from {least} to "
                f"{[low + step - 1 for low, step in zip(least, self.stride, strict=True)]}"
            )
        return extra

    def forward(self, input: Any, output_size: Any = None) -> Any:
        extra = self._extra(input, output_size)
        return conv_transpose(
            self._n, input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _n = 1


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _n = 2


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _n = 3
