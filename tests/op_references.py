"""What every public op must give: one NumPy line an op, and the inputs to try it on.

`REFERENCES` is keyed by the op's signature, its parameters' names in the table's order. test_op_table.py walks the
op table and fails where an op has no line here. An input is a shape, filled from the op's domain, or one of `Bools`,
`Indices`, `Classes`, `Probabilities`; None is an argument that is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Bools(NamedTuple):
    shape: tuple[int, ...]


class Indices(NamedTuple):
    """Whole numbers in [0, n), int64."""

    shape: tuple[int, ...]
    n: int


class Classes(NamedTuple):
    """Indices, of which the last is -100: ignored by cross_entropy."""

    shape: tuple[int, ...]
    n: int


class Probabilities(NamedTuple):
    """Positive, with sums of 1 along dim 1 (0 of a vector)."""

    shape: tuple[int, ...]


Slot = Any  # a shape or one of the above
FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "int64", "int32", "uint8")
EVERYTHING = (*NUMBERS, "bool")
WHOLE = ("int64", "int32", "uint8", "bool")


@dataclass(frozen=True)
class Reference:
    """One op: `numpy(*inputs, **attributes)`, or where it is None a check of a random or unset result."""

    numpy: Callable[..., Array] | None
    inputs: Sequence[tuple[Slot, ...]]
    attributes: Sequence[dict[str, Any]] = ({},)
    dtypes: tuple[str, ...] = FLOATS
    # The rule as its fused and its recorded form must agree to the bit, not to rounding alone.
    bits: bool = False
    # Backward through the op raises, as in PyTorch.
    refuses_backward: bool = False
    check: Callable[..., bool] | None = None


UNARY: list[tuple[Slot, ...]] = [((),), ((5,),), ((3, 4),), ((2, 3, 2),), ((0,),), ((2, 0, 3),), ((67,),)]
BINARY: list[tuple[Slot, ...]] = [
    ((), ()),
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((2, 3, 2), (3, 1)),
    ((), (3,)),
    ((3,), ()),
    ((0, 3), (3,)),
    ((0,), (1,)),
    ((37,), (37,)),
]
ROWS: list[tuple[Slot, ...]] = [((3, 4),), ((2, 3, 4),), ((5,),)]
BOTH_KEEPDIMS = ({"dim": 0}, {"dim": -1, "keepdim": True})


def unary(f: Callable[..., Array], dtypes: tuple[str, ...] = NUMBERS, **more: Any) -> Reference:
    return Reference(f, UNARY, dtypes=dtypes, bits=True, **more)


def binary(f: Callable[..., Array], dtypes: tuple[str, ...] = NUMBERS, **more: Any) -> Reference:
    return Reference(f, BINARY, dtypes=dtypes, bits=True, **more)


def as_numbers(f: Callable[..., Array]) -> Callable[..., Array]:
    """NumPy refuses or reinterprets some operators of bools; PyTorch counts with 0 and 1."""
    return lambda *xs, **k: f(*(np.asarray(x, np.int64) if np.asarray(x).dtype == bool else x for x in xs), **k)


def clamp(x: Array, min: float | None = None, max: float | None = None) -> Array:
    x = np.asarray(x, np.int64) if x.dtype.kind in "iu" else x
    y = x if min is None else np.maximum(x, min)
    return y if max is None else np.minimum(y, max)


def wide(x: Array) -> Array:
    """float64, so that the reference rounds once."""
    return np.asarray(x, np.float64)


def power(a: Array, b: Array) -> Array:
    return np.power(a, b) if np.asarray(a).dtype.kind == "f" else np.power(np.asarray(a, np.int64), b)


def softmax(x: Array, dim: int) -> Array:
    e = np.exp(x - x.max(axis=dim, keepdims=True))
    return e / e.sum(axis=dim, keepdims=True)


def normal_cdf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x * math.sqrt(0.5))


def tanh_cdf(x: Array) -> Array:
    return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def reduce_loss(losses: Array, reduction: str, count: Array | float) -> Array:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.sum() / count


def mse_loss(a: Array, b: Array, reduction: str = "mean") -> Array:
    losses = (a - b) ** 2
    return reduce_loss(losses, reduction, losses.size)


def cross_entropy(
    x: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    dim = 0 if x.ndim == 1 else 1
    classes = x.shape[dim]
    w = np.ones(classes) if weight is None else weight
    log_p = np.moveaxis(np.log(softmax(x, dim)), dim, -1)
    if target.dtype.kind == "f":
        q = np.moveaxis(target, dim, -1) * (1 - label_smoothing) + label_smoothing / classes
        losses = -(w * q * log_p).sum(axis=-1)
        return reduce_loss(losses, reduction, losses.size)
    counted = target != ignore_index
    hit = np.where(counted, target, 0)
    q = np.eye(classes)[hit] * (1 - label_smoothing) + label_smoothing / classes
    losses = np.where(counted, -(w * q * log_p).sum(axis=-1), 0.0)
    return reduce_loss(losses, reduction, (w[hit] * counted).sum())


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    return x @ weight.T + (0 if bias is None else bias)


def squeeze(x: Array, dim: Any) -> Array:
    dims = dim if isinstance(dim, tuple) else (dim,)
    return x.reshape([n for d, n in enumerate(x.shape) if n != 1 or d not in {k % x.ndim for k in dims}])


def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    shape = x.shape or (1,)
    end = end_dim % len(shape)
    return x.reshape(*shape[:start_dim], int(np.prod(shape[start_dim : end + 1])), *shape[end + 1 :])


def between(low: float, high: float) -> Callable[..., bool]:
    return lambda y: bool(((y >= low) & (y < high)).all())


def anything(y: Array) -> bool:
    return True


SIZES: list[tuple[Slot, ...]] = [()]
SIZE = ({"size": (2, 3)}, {"size": ()}, {"size": (0, 2)})

REFERENCES: dict[str, Reference] = {
    # Elementwise.
    "neg(input)": unary(np.negative),
    "sign(input)": unary(np.sign),
    "abs(input)": unary(np.abs),
    "exp(input)": unary(lambda x: np.exp(wide(x)), EVERYTHING),
    "log(input)": unary(lambda x: np.log(wide(x)), EVERYTHING),
    "sqrt(input)": unary(lambda x: np.sqrt(wide(x)), EVERYTHING),
    "reciprocal(input)": unary(lambda x: 1 / wide(x), EVERYTHING),
    "tanh(input)": unary(lambda x: np.tanh(wide(x)), EVERYTHING),
    "sigmoid(input)": unary(lambda x: 1 / (1 + np.exp(-wide(x))), EVERYTHING),
    "relu(input)": unary(lambda x: np.maximum(x, 0)),
    "clamp(input, min, max)": unary(
        clamp, attributes=({"min": -1, "max": 1}, {"min": 0}, {"max": 1}, {"min": -0.5, "max": 1.25})
    ),
    "logical_not(input)": unary(np.logical_not, EVERYTHING),
    "bitwise_not(input)": unary(np.invert, WHOLE),
    "isnan(input)": unary(lambda x: np.isnan(wide(x)), EVERYTHING),
    "add(input, other, alpha)": binary(
        as_numbers(lambda a, b, alpha=1: a + alpha * b), EVERYTHING, attributes=({}, {"alpha": 3})
    ),
    "sub(input, other, alpha)": binary(lambda a, b, alpha=1: a - alpha * b, attributes=({}, {"alpha": 3})),
    "mul(input, other)": binary(as_numbers(np.multiply), EVERYTHING),
    "div(input, other)": binary(lambda a, b: wide(a) / wide(b), EVERYTHING),
    "floor_divide(input, other)": binary(np.floor_divide, refuses_backward=True),
    "remainder(input, other)": binary(np.remainder),
    "pow(input, exponent)": Reference(
        lambda x, exponent: power(x, exponent),
        UNARY,
        tuple({"exponent": p} for p in (0, 1, 2, 3, 7, 2.0, 2.5, 0.5, -1.0, -2.0, -1.5)),
        bits=True,
    ),
    "pow(input, exponent) of two tensors": binary(power),
    "maximum(input, other)": binary(np.maximum, EVERYTHING[:-1]),
    "minimum(input, other)": binary(np.minimum, EVERYTHING[:-1]),
    "eq(input, other)": binary(np.equal, EVERYTHING),
    "ne(input, other)": binary(np.not_equal, EVERYTHING),
    "lt(input, other)": binary(np.less, EVERYTHING),
    "le(input, other)": binary(np.less_equal, EVERYTHING),
    "gt(input, other)": binary(np.greater, EVERYTHING),
    "ge(input, other)": binary(np.greater_equal, EVERYTHING),
    "bitwise_and(input, other)": binary(np.bitwise_and, WHOLE),
    "bitwise_or(input, other)": binary(np.bitwise_or, WHOLE),
    "bitwise_xor(input, other)": binary(np.bitwise_xor, WHOLE),
    "where(condition, input, other)": Reference(
        np.where,
        [(Bools((3, 4)), (3, 4), (3, 4)), (Bools((4,)), (3, 1), ()), (Bools(()), (3,), (3,)), (Bools((0,)), (1,), ())],
        dtypes=EVERYTHING,
        bits=True,
    ),
    # Activations of layers.
    "leaky_relu(input, negative_slope)": unary(
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * wide(x)),
        FLOATS,
        attributes=({}, {"negative_slope": -0.5}),
    ),
    "elu(input, alpha, scale, input_scale)": unary(
        lambda x, alpha=1.0, scale=1.0, input_scale=1.0: (
            scale * np.where(x > 0, x, alpha * np.expm1(input_scale * wide(x)))
        ),
        FLOATS,
        attributes=({}, {"alpha": 0.5}, {"alpha": 1.5, "scale": 1.25, "input_scale": 0.75}),
    ),
    "gelu(input, approximate)": unary(
        lambda x, approximate="none": wide(x) / 2 * (1 + (tanh_cdf if approximate == "tanh" else normal_cdf)(wide(x))),
        FLOATS,
        attributes=({}, {"approximate": "tanh"}),
    ),
    "silu(input)": unary(lambda x: x / (1 + np.exp(-wide(x))), FLOATS),
    "mish(input)": unary(lambda x: x * np.tanh(np.log1p(np.exp(wide(x)))), FLOATS),
    "softplus(input, beta, threshold)": unary(
        lambda x, beta=1.0, threshold=20.0: np.where(x * beta > threshold, x, np.log1p(np.exp(wide(x) * beta)) / beta),
        FLOATS,
        attributes=({}, {"beta": 3.0, "threshold": 2.0}),
    ),
    "log_sigmoid(input)": unary(lambda x: -np.log1p(np.exp(-wide(x))), FLOATS),
    "hardtanh(input, min_val, max_val)": unary(
        lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
        FLOATS,
        attributes=({}, {"min_val": -0.5, "max_val": 1.25}),
    ),
    "hardsigmoid(input)": unary(lambda x: np.clip(wide(x) + 3, 0, 6) / 6, FLOATS),
    "hardswish(input)": unary(lambda x: x * np.clip(wide(x) + 3, 0, 6) / 6, FLOATS),
    "_prelu_kernel(input, weight)": binary(lambda x, weight: np.where(x > 0, x, weight * x), FLOATS),
    # Reductions.
    "sum(input, dtype)": Reference(lambda x: x.sum(), UNARY, dtypes=EVERYTHING),
    "sum(input, dim, keepdim, dtype)": Reference(
        lambda x, dim, keepdim=False: x.sum(axis=dim, keepdims=keepdim),
        [*ROWS, ((0, 3),), ((3, 0),)],
        (*BOTH_KEEPDIMS, {"dim": None, "keepdim": True}, {"dim": (0,)}),
        EVERYTHING,
    ),
    "mean(input, dtype)": Reference(lambda x: x.mean(), [s for s in UNARY if 0 not in s[0]]),
    "mean(input, dim, keepdim, dtype)": Reference(
        lambda x, dim, keepdim=False: x.mean(axis=dim, keepdims=keepdim), ROWS[:2], (*BOTH_KEEPDIMS, {"dim": (0, -1)})
    ),
    "max(input)": Reference(lambda x: x.max(), ROWS, dtypes=EVERYTHING),
    "min(input)": Reference(lambda x: x.min(), ROWS, dtypes=EVERYTHING),
    "max(input, dim, keepdim)": Reference(
        lambda x, dim, keepdim=False: (x.max(axis=dim, keepdims=keepdim), x.argmax(axis=dim, keepdims=keepdim)),
        [*ROWS[:2], ((0, 3, 2),)],
        ({"dim": 1}, {"dim": -1, "keepdim": True}),
        EVERYTHING,
    ),
    "min(input, dim, keepdim)": Reference(
        lambda x, dim, keepdim=False: (x.min(axis=dim, keepdims=keepdim), x.argmin(axis=dim, keepdims=keepdim)),
        [*ROWS[:2], ((0, 3, 2),)],
        ({"dim": 1}, {"dim": -1, "keepdim": True}),
        EVERYTHING,
    ),
    "max(input, other)": binary(np.maximum),
    "min(input, other)": binary(np.minimum),
    "argmax(input, dim, keepdim)": Reference(
        lambda x, dim=None, keepdim=False: x.argmax(axis=dim, keepdims=keepdim),
        ROWS,
        ({}, {"keepdim": True}, *BOTH_KEEPDIMS),
        EVERYTHING[:-1],
    ),
    "argmin(input, dim, keepdim)": Reference(
        lambda x, dim=None, keepdim=False: x.argmin(axis=dim, keepdims=keepdim),
        ROWS,
        ({}, {"keepdim": True}, *BOTH_KEEPDIMS),
        EVERYTHING[:-1],
    ),
    "any(input)": Reference(lambda x: x.any(), UNARY, dtypes=EVERYTHING),
    "any(input, dim, keepdim)": Reference(
        lambda x, dim, keepdim=False: x.any(axis=dim, keepdims=keepdim), ROWS, BOTH_KEEPDIMS, EVERYTHING
    ),
    "all(input)": Reference(lambda x: x.all(), UNARY, dtypes=EVERYTHING),
    "all(input, dim, keepdim)": Reference(
        lambda x, dim, keepdim=False: x.all(axis=dim, keepdims=keepdim), ROWS, BOTH_KEEPDIMS, EVERYTHING
    ),
    # Products.
    "matmul(input, other)": Reference(
        np.matmul,
        [
            ((3, 4), (4, 2)),
            ((4,), (4,)),
            ((4,), (4, 2)),
            ((3, 4), (4,)),
            ((2, 3, 4), (4, 2)),
            ((2, 1, 3, 2), (3, 2, 2)),
            ((3, 0), (0, 2)),
            ((0, 3), (3, 2)),
            ((17, 9), (9, 33)),
        ],
        dtypes=(*FLOATS, "int64"),
    ),
    "mm(input, mat2)": Reference(np.matmul, [((3, 4), (4, 2)), ((3, 0), (0, 2)), ((0, 3), (3, 2))]),
    "linear(input, weight, bias)": Reference(
        linear,
        [
            ((3, 4), (2, 4), (2,)),
            ((3, 4), (2, 4), None),
            ((4,), (2, 4), (2,)),
            ((2, 3, 4), (2, 4), (2,)),
            ((0, 4), (2, 4), (2,)),
            ((3, 0), (2, 0), (2,)),
        ],
    ),
    # Rows and losses.
    "softmax(input, dim, dtype)": Reference(softmax, ROWS, ({"dim": 0}, {"dim": -1})),
    "log_softmax(input, dim, dtype)": Reference(
        lambda x, dim: np.log(softmax(x, dim)), ROWS, ({"dim": 0}, {"dim": -1})
    ),
    "mse_loss(input, target, reduction)": Reference(
        mse_loss, [((3, 4), (3, 4)), ((), ()), ((5,), (5,))], tuple({"reduction": r} for r in ("none", "mean", "sum"))
    ),
    "cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)": Reference(
        cross_entropy,
        [
            ((3, 4), Classes((3,), 4), None),
            ((4,), Indices((), 4), None),
            ((3, 4, 2), Classes((3, 2), 4), None),
            ((3, 4), Probabilities((3, 4)), None),
            ((3, 4, 2), Probabilities((3, 4, 2)), None),
            ((4,), Probabilities((4,)), None),
        ],
        ({}, {"reduction": "none"}, {"reduction": "sum"}, {"label_smoothing": 0.2}),
    ),
    # Shapes.
    "view(input, size)": Reference(
        lambda x, size: x.reshape(size), [((3, 4),), ((2, 6),)], ({"size": (4, 3)}, {"size": (2, -1)}), EVERYTHING
    ),
    "reshape(input, shape)": Reference(
        lambda x, shape: x.reshape(shape), [((3, 4),), ((2, 6),)], ({"shape": (4, 3)}, {"shape": (-1,)}), EVERYTHING
    ),
    "flatten(input, start_dim, end_dim)": Reference(
        flatten, [((2, 3, 2),), ((2, 0, 3),)], ({}, {"start_dim": 1}, {"end_dim": 1}), EVERYTHING
    ),
    "transpose(input, dim0, dim1)": Reference(
        lambda x, dim0, dim1: np.swapaxes(x, dim0, dim1), ROWS[:2], ({"dim0": 0, "dim1": -1},), EVERYTHING
    ),
    "t(input)": Reference(np.transpose, [((3, 4),), ((5,),), ((),)], dtypes=EVERYTHING),
    "permute(input, dims)": Reference(
        lambda x, dims: np.transpose(x, dims), [((2, 3, 4),)], ({"dims": (2, 0, 1)}, {"dims": (-1, 1, 0)}), EVERYTHING
    ),
    "expand(input, size)": Reference(
        lambda x, size: np.broadcast_to(x, [n if s == -1 else s for n, s in zip((1, 3, 1), size, strict=True)]),
        [((3, 1),), ((1, 3, 1),)],
        ({"size": (2, 3, 4)}, {"size": (2, -1, 4)}),
        EVERYTHING,
    ),
    "unsqueeze(input, dim)": Reference(
        lambda x, dim: np.expand_dims(x, dim), [((3, 4),), ((),)], ({"dim": 0}, {"dim": -1}), EVERYTHING
    ),
    "squeeze(input)": Reference(np.squeeze, [((1, 3, 1),), ((3,),), ((1,),)], dtypes=EVERYTHING),
    "squeeze(input, dim)": Reference(
        squeeze, [((1, 3, 1),)], ({"dim": 0}, {"dim": -1}, {"dim": 1}, {"dim": (0, 2)}), EVERYTHING
    ),
    "select(input, dim, index)": Reference(
        lambda x, dim, index: np.take(x, index, axis=dim),
        ROWS,
        ({"dim": 0, "index": 1}, {"dim": -1, "index": -2}),
        EVERYTHING,
    ),
    "narrow(input, dim, start, length)": Reference(
        lambda x, dim, start, length: np.take(x, range(start, start + length), axis=dim),
        ROWS,
        ({"dim": 0, "start": 1, "length": 1}, {"dim": -1, "start": 0, "length": 0}),
        EVERYTHING,
    ),
    "clone(input, memory_format)": Reference(np.copy, UNARY, dtypes=EVERYTHING),
    "contiguous(input, memory_format)": Reference(np.copy, UNARY, dtypes=EVERYTHING),
    "cat(tensors, dim)": Reference(
        lambda *xs, dim=0: np.concatenate(xs, axis=dim),
        [((2, 3), (2, 3)), ((3, 2), (3, 2), (3, 2)), ((0, 3), (0, 3))],
        ({}, {"dim": 1}, {"dim": -1}),
        EVERYTHING,
    ),
    "stack(tensors, dim)": Reference(
        lambda *xs, dim=0: np.stack(xs, axis=dim), [((2, 3), (2, 3)), ((3,), (3,), (3,))], ({}, {"dim": 1}), EVERYTHING
    ),
    # Writes.
    "copy_(input, src)": Reference(
        lambda x, src: np.broadcast_to(src, x.shape), [((3, 4), (3, 4)), ((3, 4), (4,)), ((3,), ())], dtypes=EVERYTHING
    ),
    "fill_(input, value)": Reference(
        lambda x, value: np.full_like(x, value), [((3, 4), ()), ((), ()), ((0,), ())], dtypes=EVERYTHING
    ),
    "zero_(input)": Reference(np.zeros_like, UNARY, dtypes=EVERYTHING),
    # Creation.
    "empty(size)": Reference(None, SIZES, SIZE, check=anything),
    "zeros(size)": Reference(lambda size: np.zeros(size), SIZES, SIZE),
    "ones(size)": Reference(lambda size: np.ones(size), SIZES, SIZE),
    "full(size, fill_value)": Reference(
        lambda size, fill_value: np.full(size, fill_value), SIZES, tuple({**s, "fill_value": 2.5} for s in SIZE)
    ),
    "empty_like(input)": Reference(None, UNARY, check=anything),
    "zeros_like(input)": Reference(np.zeros_like, UNARY, dtypes=EVERYTHING),
    "ones_like(input)": Reference(np.ones_like, UNARY, dtypes=EVERYTHING),
    "full_like(input, fill_value)": Reference(np.full_like, UNARY, ({"fill_value": 1},), EVERYTHING),
    "arange(end)": Reference(lambda end: np.arange(end), SIZES, ({"end": 5}, {"end": 0}, {"end": 2.5})),
    "arange(start, end, step)": Reference(
        lambda start, end, step=1: np.arange(start, end, step),
        SIZES,
        ({"start": 1, "end": 4}, {"start": 5, "end": 0, "step": -2}, {"start": 0.5, "end": 2, "step": 0.25}),
    ),
    "linspace(start, end, steps)": Reference(
        lambda start, end, steps: np.linspace(start, end, steps),
        SIZES,
        (
            {"start": 0, "end": 1, "steps": 5},
            {"start": 3.0, "end": -1.0, "steps": 1},
            {"start": 0, "end": 1, "steps": 0},
        ),
    ),
    "eye(n)": Reference(lambda n: np.eye(n), SIZES, ({"n": 3}, {"n": 0})),
    "eye(n, m)": Reference(lambda n, m: np.eye(n, m), SIZES, ({"n": 2, "m": 4}, {"n": 3, "m": 0})),
    # Random: shape and range here; the stream itself is compared with PyTorch's elsewhere.
    "rand(size, generator)": Reference(None, SIZES, SIZE, check=between(0, 1)),
    "randn(size, generator)": Reference(None, SIZES, SIZE, check=between(-9, 9)),
    "rand_like(input, generator)": Reference(None, UNARY, check=between(0, 1)),
    "randn_like(input, generator)": Reference(None, UNARY, check=between(-9, 9)),
    "normal(mean, std, size, generator)": Reference(
        None, SIZES, ({"mean": 50.0, "std": 0.5, "size": (2, 3)},), check=between(40, 60)
    ),
    "randint(high, size, generator)": Reference(None, SIZES, ({"high": 5, "size": (9,)},), check=between(0, 5)),
    "randint(low, high, size, generator)": Reference(
        None, SIZES, ({"low": -3, "high": 2, "size": (9,)},), check=between(-3, 2)
    ),
    "randperm(n, generator)": Reference(
        None, SIZES, ({"n": 9}, {"n": 0}), check=lambda y: bool((np.sort(y) == np.arange(y.size)).all())
    ),
    "uniform_(input, from, to, generator)": Reference(None, UNARY, ({"from": 2.0, "to": 3.0},), check=between(2, 3)),
    "normal_(input, mean, std, generator)": Reference(
        None, UNARY, ({"mean": 50.0, "std": 0.5},), check=between(40, 60)
    ),
    "random_(input, generator)": Reference(None, UNARY, check=lambda y: bool((y == np.floor(y)).all())),
    "random_(input, to, generator)": Reference(None, UNARY, ({"to": 7},), check=between(0, 7)),
    "random_(input, from, to, generator)": Reference(None, UNARY, ({"from": -2, "to": 7},), check=between(-2, 7)),
    "bernoulli_(input, p, generator)": Reference(
        None, UNARY, ({"p": 0.25},), check=lambda y: bool(np.isin(y, (0, 1)).all())
    ),
}
