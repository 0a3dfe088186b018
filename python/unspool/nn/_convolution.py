"""Convolutions, made of slices and one matrix product: each place of the kernel is a strided slice of the input.

What a slice, a stack and a product have, convolutions have: both sweeps, second derivatives, frozen steps. The
stacked slices take as many times the input's memory as the kernel has places.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool.errors import ShapeError
from unspool.nn._padding import pad

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
]  # fmt: skip


def sizes(op: str, name: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    """One int for each of n dims, from an int or a sequence of one or n; RuntimeError below `least`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) == 1:
        values *= n
    if len(values) != n or not all(isinstance(v, int) for v in values):
        raise TypeError(f"{op}: {name} must be an int or {n} of them, got {value!r}")
    if min(values) < least:
        raise RuntimeError(f"{op}: {name} must be at least {least}, got {value!r}")
    return values


def windows(
    x: Any, kernel: Sequence[int], out: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[Any]:
    """For each place of the kernel the elements that it meets: views of the last dims, of the sizes `out`."""
    found = []
    for place in product(*map(range, kernel)):
        part = x
        for d, (i, n, step, gap) in enumerate(zip(place, out, stride, dilation, strict=True)):
            dim = x.dim() - len(kernel) + d
            first = i * gap
            if (first, n, step) != (0, x.shape[dim], 1):
                index = (slice(None),) * dim + (slice(first, first + (n - 1) * step + 1, step),)
                part = part[index]
        found.append(part)
    return found


def _checked(op: str, n: int, input: Any, weight: Any, bias: Any, groups: int, transposed: bool) -> None:
    for name, t in (("input", input), ("weight", weight)):
        if not isinstance(t, _core.Tensor):
            raise TypeError(f"{op}: {name} must be a Tensor, got {type(t).__name__}")
    if weight.dim() != n + 2:
        raise ShapeError(f"{op}: weight must have {n + 2} dims, got shape {tuple(weight.shape)}")
    if input.dim() not in (n + 1, n + 2):
        raise ShapeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {op}, but got input of size: "
            f"{list(input.shape)}"
        )
    if input.dtype != weight.dtype:
        raise _core.DTypeError(f"{op}: input has dtype {input.dtype}, weight {weight.dtype}; they must be equal")
    if bias is not None and bias.dtype != input.dtype:
        raise _core.DTypeError(f"{op}: Input type ({input.dtype}) and bias type ({bias.dtype}) should be the same")
    if groups < 1 or weight.shape[0] % groups:
        raise RuntimeError(f"{op}: groups must be positive and divide the weight's {weight.shape[0]}, got {groups!r}")
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    got = input.shape[-n - 1]
    if got != channels:
        raise ShapeError(
            f"{op}: given groups={groups}, weight of size {list(weight.shape)}, expected input "
            f"{list(input.shape)} to have {channels} channels, but got {got} channels instead"
        )
    makes = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and tuple(bias.shape) != (makes,):
        raise ShapeError(f"{op}: bias must have shape ({makes},), got {tuple(bias.shape)}")


@shown_as("ConvolutionBackward0")
def _convolve(op: str, x: Any, weight: Any, bias: Any, stride: Any, dilation: Any, groups: int) -> Any:
    """x is (N, C, …), padded; weight (C', C/groups, …)."""
    kernel, n = weight.shape[2:], weight.dim() - 2
    reach = [(k - 1) * gap + 1 for k, gap in zip(kernel, dilation, strict=True)]
    if any(size < r for size, r in zip(x.shape[2:], reach, strict=True)):
        raise ShapeError(
            f"{op}: calculated padded input size per channel {tuple(x.shape[2:])}; the kernel, of size {tuple(reach)} "
            "with its dilation, can't be greater"
        )
    out = [(size - r) // step + 1 for size, r, step in zip(x.shape[2:], reach, stride, strict=True)]
    parts = windows(x.transpose(0, 1), kernel, out, stride, dilation)
    columns = parts[0].unsqueeze(1) if len(parts) == 1 else _core.stack(parts, 1)  # (C, places, N, …)
    rows = weight.shape[1] * prod(kernel)
    if groups == 1:
        y = weight.reshape(-1, rows) @ columns.reshape(rows, -1)  # (C'×rows)·(rows×N…) → (C'×N…)
    else:
        y = weight.reshape(groups, -1, rows) @ columns.reshape(groups, rows, -1)
    y = y.reshape(weight.shape[0], x.shape[0], *out).transpose(0, 1)
    return y.contiguous() if bias is None else y.contiguous() + bias.reshape(-1, *(1,) * n)


def _padding(op: str, padding: Any, kernel: Any, stride: Any, dilation: Any) -> list[int]:
    """Of `pad`: last dim first, before and after."""
    n = len(kernel)
    if not isinstance(padding, str):
        return [p for size in reversed(sizes(op, "padding", padding, n, 0)) for p in (size, size)]
    if padding not in ("valid", "same"):
        raise RuntimeError(f"{op}: Invalid padding string {padding!r}, should be one of 'valid', 'same'")
    if padding == "valid":
        return [0] * (2 * n)
    if any(s != 1 for s in stride):
        raise RuntimeError(f"{op}: padding='same' is not supported for strided convolutions")
    spans = [(k - 1) * gap for k, gap in zip(kernel, dilation, strict=True)]
    return [p for span in reversed(spans) for p in (span // 2, span - span // 2)]


def conv(n: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The cross-correlation over the last n dims; see conv1d."""
    op = f"conv{n}d"
    _checked(op, n, input, weight, bias, groups, False)
    stride, dilation = sizes(op, "stride", stride, n), sizes(op, "dilation", dilation, n)
    around = _padding(op, padding, weight.shape[2:], stride, dilation)
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    y = _convolve(op, pad(x, around) if any(around) else x, weight, bias, stride, dilation, groups)
    return y if input.dim() == n + 2 else y.squeeze(0)


def conv_transpose(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Any:
    """The adjoint of `conv` by its input: a convolution of the input spread by the stride, the kernel turned."""
    op = f"conv_transpose{n}d"
    _checked(op, n, input, weight, bias, groups, True)
    stride, dilation = sizes(op, "stride", stride, n), sizes(op, "dilation", dilation, n)
    padding, extra = sizes(op, "padding", padding, n, 0), sizes(op, "output_padding", output_padding, n, 0)
    if any(e >= max(s, gap) for e, s, gap in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(f"{op}: output padding must be smaller than either stride or dilation, got {extra}")
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    for d, step in enumerate(stride):
        if step > 1:  # step - 1 zeros after each element but the last
            dim = d + 2
            x = pad(x.unsqueeze(dim + 1), [0, 0] * (n - 1 - d) + [0, step - 1]).flatten(dim, dim + 1)
            x = x.narrow(dim, 0, x.shape[dim] - step + 1)
    around: list[int] = []
    for k, gap, p, e in zip(weight.shape[2:], dilation, padding, extra, strict=True):
        around = [gap * (k - 1) - p, gap * (k - 1) - p + e, *around]
    turned = weight.flip(list(range(2, n + 2)))
    grouped = turned.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    y = _convolve(op, pad(x, around) if any(around) else x, grouped, bias, (1,) * n, dilation, groups)
    return y if input.dim() == n + 2 else y.squeeze(0)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The cross-correlation of input (N, C, L), or (C, L), with weight (C', C/groups, k), plus bias (C').

    `padding` is a number of zeros on both sides, 'valid' (0) or 'same'.

    Raises:
        ShapeError: sizes that don't fit, or a kernel that is larger than the padded input.
        RuntimeError: a stride or dilation below 1, a negative padding, groups that don't divide the channels.
    """
    return conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """`conv1d` over images (N, C, H, W)."""
    return conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """`conv1d` over volumes (N, C, D, H, W)."""
    return conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The adjoint of `conv1d` by its input, for input (N, C, L) and weight (C, C'/groups, k).

    The result has (L - 1)·stride - 2·padding + dilation·(k - 1) + output_padding + 1 elements.
    """
    return conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """`conv_transpose1d` over images."""
    return conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """`conv_transpose1d` over volumes."""
    return conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
