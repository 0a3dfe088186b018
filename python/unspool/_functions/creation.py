"""New tensors like another one, from buffers, and random ones whose parameters are tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import add, as_array, check_device, method, need_tensor, with_out
from unspool._functions.exchange import from_dlpack
from unspool._functions.grids import broadcast_shapes

__all__ = [
    "asarray",
    "bernoulli",
    "empty_strided",
    "frombuffer",
    "logspace",
    "multinomial",
    "normal",
    "randint_like",
    "scalar_tensor",
    "vander",
]


def _like(input: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    """A constructor's options, with the tensor's dtype where none is given."""
    if options.get("dtype") is None:
        options["dtype"] = input.dtype
    return options


def _new(name: str, what: str) -> None:
    make = getattr(_core, name)

    def new(input: Tensor, *size: Any, **options: Any) -> Tensor:
        return make(*size, **_like(input, options))

    new.__name__ = new.__qualname__ = f"new_{name}"
    new.__doc__ = f"{what} of that size, in the tensor's dtype unless another is given; options as of `{name}`."
    add(new.__name__, new)


for _name, _what in (("zeros", "Zeros"), ("ones", "Ones"), ("empty", "An unset tensor")):
    _new(_name, _what)
del _name, _what


@method
def new_full(input: Tensor, size: Sequence[int], fill_value: Any, **options: Any) -> Tensor:
    """One number in that size, in the tensor's dtype unless another is given; options as of `full`."""
    return _core.full(size, fill_value, **_like(input, options))


@method
def new_tensor(input: Tensor, data: Any, **options: Any) -> Tensor:
    """A copy of data, in the tensor's dtype unless another is given; options as of `tensor`."""
    return _core.tensor(data, **_like(input, options))


@method
def new_empty_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None, **options: Any
) -> Tensor:
    """An unset tensor of that size and strides, in the tensor's dtype unless another is given."""
    return empty_strided(size, stride, **_like(input, {"dtype": dtype, **options}))


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """An unset tensor of that size and strides, in elements."""
    if len(size) != len(stride):
        raise RuntimeError(f"empty_strided: mismatch in length of strides and shape: size {size}, stride {stride}")
    if any(s < 0 for s in stride) or any(n < 0 for n in size):
        raise RuntimeError(f"empty_strided: negative sizes and strides are not supported: size {size}, stride {stride}")
    check_device(device)
    held = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    t = _core.empty(held, dtype=dtype).as_strided(size, stride, 0).detach()
    return t.requires_grad_() if requires_grad else t


def scalar_tensor(s: Any, *, dtype: Any = None, **options: Any) -> Tensor:
    """A 0-d tensor of a number, in the default dtype unless another is given; options as of `tensor`."""
    return _core.tensor(s, dtype=_core.get_default_dtype() if dtype is None else dtype, **options)


@with_out
def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """base to the powers from start to end, evenly spaced powers; options as of `linspace`."""
    if not isinstance(steps, int):
        raise TypeError(f"logspace: steps must be an int, got {steps!r}")
    if steps < 0:
        raise RuntimeError(f"logspace: number of steps must be non-negative, got {steps!r}")
    kind = _core.get_default_dtype() if dtype is None else dtype
    if not kind.is_floating_point:  # the ends are numbers of the dtype
        start, end = int(start), int(end)
    powers = _core.linspace(float(start), float(end), steps, dtype=_core.float64, **options)
    return _core.pow(float(base), powers).to(kind).requires_grad_(requires_grad)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of powers of a 1-d tensor's elements, the highest first unless `increasing`."""
    need_tensor("vander", "x", x)
    if x.dim() != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got shape {tuple(x.shape)}")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {n}")
    powers = _core.arange(n)
    return x.unsqueeze(-1) ** (powers if increasing else powers.flip(0))


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor on the memory of a buffer, from `offset` bytes on; of a read-only one, a copy.

    Raises:
        ValueError: the buffer holds too little, or a part of an element.
    """
    import numpy as np

    if not isinstance(dtype, _core.dtype):
        raise TypeError(f"frombuffer: dtype must be a dtype, got {dtype!r}")
    view = memoryview(buffer)
    n = view.nbytes
    if n == 0:
        raise ValueError("frombuffer: both buffer length (0) and count (-1) must not be 0")
    if not 0 <= offset < n:
        raise ValueError(
            f"frombuffer: offset ({offset} bytes) must be non-negative and no greater "
            f"than buffer length ({n} bytes) - 1"
        )
    if count == 0 or count < -1:
        raise ValueError(f"frombuffer: count must be positive or -1, got {count}")
    if count < 0 and (n - offset) % dtype.itemsize:
        raise ValueError(
            f"frombuffer: buffer size ({n - offset}) is not a multiple of the element size ({dtype.itemsize})"
        )
    if count > 0 and offset + count * dtype.itemsize > n:
        raise ValueError(
            f"frombuffer: requested buffer length ({count} * {dtype.itemsize} bytes) after offset ({offset} "
            f"bytes) must not be greater than actual buffer length ({n} bytes)"
        )
    if dtype == _core.bfloat16:
        raise TypeError("frombuffer: NumPy has no dtype for bfloat16, and the buffer is read through it")
    array = np.frombuffer(buffer, np.dtype(repr(dtype).split(".")[-1]), count, offset)
    t = _core.from_numpy(array) if array.flags.writeable else _core.tensor(array)
    return t.requires_grad_() if requires_grad else t


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of obj: on its memory where it is a tensor, an array, has DLPack or a buffer, unless `copy`; else a
    copy.

    Raises:
        ValueError: `copy=False`, and a copy is needed.
    """
    check_device(device)
    source = obj
    if not isinstance(obj, Tensor) and type(obj).__module__ != "numpy":
        if hasattr(obj, "__dlpack__"):
            source = from_dlpack(obj)
        elif isinstance(obj, (bytearray, memoryview)):
            source = frombuffer(obj, dtype=_core.uint8 if dtype is None else dtype)
    shared = source if isinstance(source, Tensor) else None
    if shared is None and copy is not True:
        shared = _core.as_tensor(source)
        if copy is False and not hasattr(source, "__array_interface__"):
            raise ValueError(
                "asarray: can't alias arbitrary sequence into a tensor; copy=False needs a tensor, an array or a buffer"
            )
    if shared is None:
        return _core.tensor(source, dtype=dtype, requires_grad=requires_grad)
    if dtype is not None and shared.dtype != dtype:
        if copy is False:
            raise ValueError(f"asarray: can't alias tensor with dtype '{shared.dtype}' into dtype '{dtype}'")
        result = shared.to(dtype)
    else:
        result = shared.clone() if copy else shared
    if requires_grad and not result.requires_grad:
        return result.detach().requires_grad_()
    return result if requires_grad else result.detach()


# random numbers whose parameters are tensors


@with_out
@method
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that stands in each element (or `p`), else 0, in the tensor's dtype."""
    need_tensor("bernoulli", "input", input)
    rows = _core.empty_like(input, memory_format=_core.contiguous_format)
    return rows.bernoulli_(input.detach() if p is None else p, generator=generator)


def randint_like(input: Tensor, low: Any, high: Any = None, **options: Any) -> Tensor:
    """Uniform integers in [low, high), or [0, low), in the tensor's shape and dtype; options as of `randint`."""
    need_tensor("randint_like", "input", input)
    first, last = (0, low) if high is None else (low, high)
    if first >= last:
        raise RuntimeError(f"randint_like: low must be less than high, got low={first} and high={last}")
    wanted = options.pop("requires_grad", False)
    drawn = _core.empty_like(input, **options).detach().random_(first, last)
    return drawn.requires_grad_() if wanted else drawn


@with_out
def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, **options: Any) -> Tensor:
    """Normal numbers of that mean and standard deviation: numbers with a size, or tensors that broadcast."""
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise TypeError(f"normal: mean {mean!r} and std {std!r} are numbers, so size is needed")
        return _core.normal(mean, std, size, generator=generator, **options)
    if size is not None or options:
        raise TypeError(f"normal: with a tensor as mean or std there is no size nor option, got {[size, *options]}")
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, Tensor) and not value.dtype.is_floating_point:
            raise RuntimeError(f"normal: expects {name} to be a floating tensor, got {value.dtype}")
    if isinstance(std, Tensor):
        _core._refuse(
            (std >= 0).logical_not(),
            std,
            lambda x: RuntimeError(f"normal: expects all elements of std >= 0.0, but found std {x}"),
        )
    elif not std >= 0:
        raise RuntimeError(f"normal: expects std >= 0.0, but found std {std}")
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    shape, tensor = broadcast_shapes(*(x.shape for x in tensors)), tensors[0]
    # As PyTorch: standard normal numbers first, scaled and shifted after.
    noise = _core.empty(shape, dtype=tensor.dtype).normal_(generator=generator)
    scale = std.detach() if isinstance(std, Tensor) else std
    return noise * scale + (mean.detach() if isinstance(mean, Tensor) else mean)


@with_out
@method
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with probabilities in proportion to the last dim of a 1-d or 2-d tensor; int64.

    Raises:
        RuntimeError: a negative, infinite or NaN probability, a row that sums to 0, or too few to draw from.
    """
    need_tensor("multinomial", "input", input)
    if input.dim() not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got shape {tuple(input.shape)}")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"multinomial: only supports floating-point dtypes for input, got: {input.dtype}")
    if not isinstance(num_samples, int) or num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples!r}")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(
            f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement, "
            f"got {num_samples} > {input.shape[-1]}"
        )
    weights = input.detach()
    _core._refuse(
        (_core.isfinite(weights) & (weights >= 0)).logical_not(),
        weights,
        lambda x: RuntimeError(f"multinomial: probability tensor contains either `inf`, `nan` or element < 0: {x}"),
    )
    sums = weights.sum(-1)
    _core._refuse(
        sums <= 0,
        sums,
        lambda _: RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)"),
    )
    if replacement and num_samples > 1:
        return _by_cumulated(weights, num_samples, generator)
    # The smallest of exponential times 1 / weight: each index wins with its probability.
    race = weights / _core.empty_like(weights).exponential_(1.0, generator=generator)
    if num_samples == 1:
        return _core.argmax(race, -1, keepdim=True)
    return _core.topk(race, num_samples)[1]


def _by_cumulated(weights: Tensor, n: int, generator: Any) -> Tensor:
    import numpy as np

    rows = weights.reshape([-1, weights.shape[-1]])
    drawn = []
    for row in as_array(rows):
        total = np.cumsum(row, dtype=row.dtype)
        total = total / total[-1]
        total[-1] = 1
        u = _core.empty(n, dtype=_core.float64).uniform_(0, 1, generator=generator).numpy()
        drawn.append(np.searchsorted(total, u.astype(row.dtype), side="left"))
    return _core.tensor(np.stack(drawn), dtype=_core.int64).reshape([*weights.shape[:-1], n])


def _drawn(input: Tensor) -> Tensor:
    """Room for float64 numbers, which are drawn in the order in which the input lies in memory."""
    return _core.empty_like(input, dtype=_core.float64)


def _unit(input: Tensor, generator: Any) -> Tensor:
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"random fill: needs a floating tensor, got {input.dtype}")
    return _drawn(input).uniform_(generator=generator)


@method
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate `lambd`: -ln(1 - u) / lambd."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_: expects lambda > 0.0, but found lambda={lambd}")
    return input.copy_(-_core.log1p(-_unit(input, generator)) / lambd)


@method
def geometric_(input: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: expects p to be in (0, 1), but got p={p}")
    u = _drawn(input).uniform_(generator=generator)
    return input.copy_(_core.ceil(_core.log(u) / math.log1p(-p)))


@method
def cauchy_(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy numbers: median + sigma · tan(π(u - 1/2))."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_: expects sigma > 0.0, but found sigma={sigma}")
    return input.copy_(median + sigma * _core.tan(math.pi * (_unit(input, generator) - 0.5)))


@method
def log_normal_(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with e to normal numbers of that mean and standard deviation."""
    if not std > 0:
        raise RuntimeError(f"log_normal_: expects std > 0.0, but found std={std}")
    # PyTorch draws doubles one by one here; normal_ does so for fewer than 16.
    drawn = _drawn(input)
    flat = drawn.as_strided([input.numel()], [1])
    for start in range(0, input.numel(), 14):
        flat[start : start + 14].normal_(mean, std, generator=generator)
    return input.copy_(_core.exp(drawn))
