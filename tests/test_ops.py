"""Every op beside PyTorch: values, dtypes, gradients, shapes, kinks, ties, special numbers, exceptions.

`side_by_side` runs one function with unspool and with PyTorch in the role of `m` and compares all that it returns.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool

INF, NAN = float("inf"), float("nan")
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, INF, -INF, NAN, 88.8, -104.0, 709.5, -746.0, 1e30, -1e30, 20.0, -20.0)
SUBNORMAL = {"float32": (1e-42, -1e-42), "float64": (1e-310, -1e-310)}

Program = Callable[[Any], Any]


def outcome(program: Program, m: Any) -> Any:
    """The results as (dtype, shape, array), or the exception."""
    try:
        result = program(m)
    except Exception as error:
        return error
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [plain(r) for r in results]


def plain(r: Any) -> Any:
    if not hasattr(r, "detach"):
        return r
    return str(r.dtype).removeprefix("torch."), tuple(r.shape), r.detach().numpy()


def side_by_side(
    torch: ModuleType, program: Program, what: Any = "", *, rtol: float | None = None, atol: float | None = None
) -> None:
    ours, theirs = outcome(program, unspool), outcome(program, torch)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert isinstance(ours, Exception), f"{what}: PyTorch raises {theirs!r}, unspool gives {ours}"
        assert isinstance(theirs, Exception), f"{what}: unspool raises {ours!r}, PyTorch gives {theirs}"
        # NotImplementedError is a RuntimeError; DTypeError and ShapeError are what PyTorch raises, and more.
        kinds = [k for k in (RuntimeError, IndexError, ValueError, TypeError) if isinstance(theirs, k)]
        assert isinstance(ours, kinds[0]), f"{what}: {ours!r}, but PyTorch raises {theirs!r}"
        return
    assert len(ours) == len(theirs), what
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not isinstance(b, tuple) or len(b) != 3:
            assert a == b, f"{what}, result {i}"
            continue
        assert a[:2] == b[:2], f"{what}, result {i}"
        scale = 3e-6 if a[0] == "float32" else 1e-12
        if a[2].dtype.kind == "f":
            bounds = (rtol or scale, scale if atol is None else atol)
            np.testing.assert_allclose(a[2], b[2], *bounds, err_msg=f"{what}, result {i}")
        else:
            np.testing.assert_array_equal(a[2], b[2], err_msg=f"{what}, result {i}")


def same_signs(torch: ModuleType, program: Program, what: Any, atol: float = 1e-44) -> None:
    """As side_by_side to one unit of a subnormal float32, and the signs of zeros agree."""
    side_by_side(torch, program, what, atol=atol)
    for a, b in zip(outcome(program, unspool), outcome(program, torch), strict=True):
        keep = (b[2] == 0) & ~np.isnan(b[2]) if b[2].dtype.kind == "f" else np.zeros(b[2].shape, bool)
        np.testing.assert_array_equal(np.signbit(a[2][keep]), np.signbit(b[2][keep]), err_msg=str(what))


def leaf(m: Any, array: Any, grad: bool = True) -> Any:
    t = m.from_numpy(np.array(array))
    return t.requires_grad_() if grad and t.is_floating_point() else t


def value_and_gradients(f: Callable[..., Any], *arrays: Any, seed: Any = None) -> Program:
    """A program: f(m, *tensors), its gradient by every floating tensor for a cotangent of 1, 2, 3 … (or `seed`)."""

    def program(m: Any) -> Any:
        xs = [leaf(m, a) for a in arrays]
        y = f(m, *xs)
        if not y.requires_grad:
            return (y,)
        g = np.arange(1, y.numel() + 1, dtype=str(y.dtype).removeprefix("torch.")).reshape(tuple(y.shape))
        y.backward(m.from_numpy(np.asarray(g if seed is None else np.full_like(g, seed))))
        zero = m.zeros(0)
        return (y, *(zero if x.grad is None or not x.numel() else x.grad for x in xs))

    return program


def random(shape: tuple[int, ...], dtype: str = "float64", *, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed + 100 * len(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(1, 6, shape).astype(dtype)
    return np.asarray(rng.uniform(-2, 2, shape), dtype)


# ---- Dtypes --------------------------------------------------------------------------------------

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.mark.parametrize("sign", OPERATORS)
def test_type_promotion(torch: ModuleType, sign: str) -> None:
    op = OPERATORS[sign]
    for a, b in itertools.product(DTYPES, repeat=2):
        if sign == "-" and "bool" in (a, b) and a != b:
            continue  # PyTorch refuses; here a bool counts as 0 or 1, as it does for +
        for left, right in itertools.product(([3, 1], 2), repeat=2):
            side_by_side(
                torch,
                lambda m, a=a, b=b, left=left, right=right: op(
                    m.tensor(left).to(getattr(m, a)), m.tensor(right).to(getattr(m, b))
                ),
                (a, sign, b, left, right),
            )
    for a, number in itertools.product(DTYPES, (True, 2, 2.5)):
        if a == "bool" and (sign == "-" or (sign == "**" and number is True)):
            continue
        if sign == "-" and number is True:
            continue
        for data in ([3, 1], 2):
            side_by_side(
                torch, lambda m, a=a, n=number, d=data: op(m.tensor(d).to(getattr(m, a)), n), (a, sign, number)
            )
            side_by_side(
                torch, lambda m, a=a, n=number, d=data: op(n, m.tensor(d).to(getattr(m, a))), (number, sign, a)
            )


@pytest.mark.parametrize("name", ["cat", "stack", "where", "maximum", "matmul"])
def test_type_promotion_of_functions(torch: ModuleType, name: str) -> None:
    for a, b in itertools.product(DTYPES, repeat=2):
        if (name == "maximum" and a == b == "bool") or (name == "matmul" and ("uint8" in (a, b) or "bool" in (a, b))):
            continue  # maximum of bools and products of bytes are not supported

        def program(m: Any, a: str = a, b: str = b) -> Any:
            x, y = m.tensor([3, 0]).to(getattr(m, a)), m.tensor([2, 1]).to(getattr(m, b))
            if name == "where":
                return m.where(m.tensor([True, False]), x, y)
            return getattr(m, name)([x, y]) if name in ("cat", "stack") else getattr(m, name)(x, y)

        side_by_side(torch, program, (name, a, b))


@pytest.mark.parametrize("name", ["neg", "sign", "abs", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu"])
def test_unary_dtypes(torch: ModuleType, name: str) -> None:
    for dtype in DTYPES:
        if name == "abs" and dtype == "bool":
            continue
        if name == "sign" and dtype == "bool":
            continue
        side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1, 0]).to(getattr(m, d))), (name, dtype))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "any", "all", "argmax", "argmin"])
def test_reduction_dtypes(torch: ModuleType, name: str) -> None:
    for dtype in DTYPES:
        if name.startswith("arg") and dtype == "bool":
            continue  # PyTorch refuses
        side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1, 0]).to(getattr(m, d))), (name, dtype))
        side_by_side(
            torch, lambda m, d=dtype: getattr(m, name)(m.tensor([[3, 1], [0, 2]]).to(getattr(m, d)), -1), (name, dtype)
        )
    for dtype in ("float32", "float64", "int64"):
        if name == "sum" or (name == "mean" and dtype != "int64"):
            side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([3, 1]), dtype=getattr(m, d)), dtype)
            side_by_side(torch, lambda m, d=dtype: getattr(m, name)(m.tensor([2.5, 1]), dtype=getattr(m, d)), dtype)


def test_in_place_dtypes(torch: ModuleType) -> None:
    """The result is cast to the target's dtype, and only down within a category."""
    for name, a, b in itertools.product(("add_", "sub_", "mul_", "div_", "pow_", "copy_"), DTYPES, DTYPES):
        if (name == "sub_" and "bool" in (a, b)) or (name == "pow_" and a == b == "bool"):
            continue
        side_by_side(
            torch,
            lambda m, name=name, a=a, b=b: getattr(m.tensor([3, 1]).to(getattr(m, a)), name)(
                m.tensor([2, 1]).to(getattr(m, b))
            ),
            (name, a, b),
        )


# ---- Shapes and strides --------------------------------------------------------------------------

PAIRS = [
    ((), ()),
    ((3,), ()),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((0, 3), (1, 3)),
    ((0,), (1,)),
    ((2,), (3,)),
    ((2, 0), (3,)),
]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "remainder", "maximum", "minimum", "lt", "eq"])
def test_broadcasting(torch: ModuleType, name: str) -> None:
    for a, b in PAIRS:
        x, y = np.abs(random(a)) + 0.5, np.abs(random(b, seed=1)) + 0.5
        side_by_side(torch, value_and_gradients(lambda m, x, y: getattr(m, name)(x, y), x, y), (name, a, b))
        if x.ndim > 1:
            program = value_and_gradients(lambda m, x, y: getattr(m, name)(x.t(), y.t()), x, y)
            side_by_side(torch, program, (name, "t", a, b))


UNARY = ["neg", "sign", "abs", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu", "isnan", "logical_not"]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unary_at_special_numbers(torch: ModuleType, name: str, dtype: str) -> None:
    x = np.array((*SPECIAL, *SUBNORMAL[dtype]), dtype)
    # (1 - y)·y and 1 - y² cancel: one unit of y in the last place is all that the derivative has.
    atol = float(np.finfo(dtype).eps) if name in ("sigmoid", "tanh") else 1e-44
    same_signs(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), x, seed=1), name, atol)
    for x0 in x:  # and alone: a tail is no other code
        same_signs(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), x0, seed=1), (name, x0), atol)


BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("name", [*BINARY, "remainder", "floor_divide"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_at_special_numbers(torch: ModuleType, name: str, dtype: str) -> None:
    # PyTorch's fmod of a subnormal divisor is NaN where it flushes it to 0; the remainder here is exact.
    x = np.array(SPECIAL if name in ("remainder", "floor_divide") else (*SPECIAL, *SUBNORMAL[dtype]), dtype)
    a, b = (np.ascontiguousarray(v) for v in np.meshgrid(x, x))
    if name == "floor_divide":
        same_signs(torch, lambda m: m.floor_divide(m.from_numpy(a), m.from_numpy(b)), name)
    else:
        same_signs(torch, value_and_gradients(lambda m, a, b: getattr(m, name)(a, b), a, b, seed=1), name)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, -3, 0.5, -0.5, 1.5, 2.5, 1 / 3, INF, -INF, NAN])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow_of_numbers(torch: ModuleType, exponent: float, dtype: str) -> None:
    x = np.array((*SPECIAL, *SUBNORMAL[dtype]), dtype)
    same_signs(torch, value_and_gradients(lambda m, x: x**exponent, x, seed=1), exponent)
    same_signs(torch, value_and_gradients(lambda m, x: exponent**x, x, seed=1), exponent)
    same_signs(torch, value_and_gradients(lambda m, x: m.pow(x, exponent), x, seed=1), exponent)


def test_pow_of_integers(torch: ModuleType) -> None:
    for a, b in itertools.product((-3, -1, 0, 1, 2, 3, 7), (-3, -2, -1, 0, 1, 2, 5, 40, 41, 62, 63, 64)):
        side_by_side(torch, lambda m, a=a, b=b: m.tensor([a]) ** m.tensor([b]), (a, b))
        side_by_side(torch, lambda m, a=a, b=b: m.tensor([a]) ** b, (a, b))
        side_by_side(torch, lambda m, a=a, b=b: a ** m.tensor([b]), (a, b))
    x = np.arange(1, 6, dtype="uint8")
    side_by_side(torch, lambda m: m.from_numpy(x) ** m.from_numpy(x), "uint8")


def test_integer_division(torch: ModuleType) -> None:
    x = np.array([-7, -4, -1, 0, 1, 4, 7])
    for name, b in itertools.product(("div", "floor_divide", "remainder"), (-3, -1, 2, 5)):
        side_by_side(torch, lambda m, name=name, b=b: getattr(m, name)(m.from_numpy(x), b), (name, b))
    for name in ("floor_divide", "remainder"):
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1, 2]), m.tensor([1, 0])), name)
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1, 2]), 0), name)
        side_by_side(torch, lambda m, name=name: getattr(m, name)(m.tensor([1.0, -2, 0]), 0), name)


# ---- Kinks and ties ------------------------------------------------------------------------------

# The documented table: (op, at, derivative there).
KINKS: list[tuple[str, Callable[..., Any], list[float], list[float]]] = [
    ("relu'(0) = 0", lambda m, x: m.relu(x), [0.0, -0.0], [0, 0]),
    ("relu'(NaN) = 1", lambda m, x: m.relu(x), [NAN], [1]),
    ("abs'(0) = 0", lambda m, x: m.abs(x), [0.0, -0.0], [0, 0]),
    ("sign' = 0", lambda m, x: m.sign(x), [0.0, 2.0], [0, 0]),
    ("clamp' = 1 at its bounds", lambda m, x: m.clamp(x, -1, 1), [-1.0, 1.0, -2.0, 2.0, NAN], [1, 1, 0, 0, 0]),
    ("clamp' = 1 at one bound", lambda m, x: m.clamp(x, min=1), [1.0, 0.0, 2.0], [1, 0, 1]),
    ("maximum shares a tie in halves", lambda m, x: m.maximum(x, x * 1), [1.0, INF], [1, 1]),
    ("maximum with an equal constant", lambda m, x: m.maximum(x, m.ones_like(x)), [1.0, 0.0, 2.0], [0.5, 0, 1]),
    ("minimum with an equal constant", lambda m, x: m.minimum(x, m.ones_like(x)), [1.0, 0.0, 2.0], [0.5, 1, 0]),
    ("max() shares ties evenly", lambda m, x: x.max(), [3.0, 1.0, 3.0, 3.0], [1 / 3, 0, 1 / 3, 1 / 3]),
    ("min() shares ties evenly", lambda m, x: x.min(), [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    ("max(dim) takes the first of equals", lambda m, x: x.max(0)[0], [3.0, 1.0, 3.0], [1, 0, 0]),
    ("min(dim) takes the first of equals", lambda m, x: x.min(0)[0], [3.0, 1.0, 1.0], [0, 1, 0]),
    ("sqrt'(0) = inf", lambda m, x: m.sqrt(x), [0.0], [INF]),
    ("(x⁰)' = 0", lambda m, x: x**0, [0.0, 2.0], [0, 0]),
    ("(x²)'(0) = 0", lambda m, x: x**2, [0.0], [0]),
]


@pytest.mark.parametrize(("what", "f", "at", "slope"), KINKS, ids=[k[0] for k in KINKS])
def test_kinks_and_ties(torch: ModuleType, what: str, f: Any, at: list[float], slope: list[float]) -> None:
    for m in (unspool, torch):
        x = leaf(m, np.array(at))
        y = f(m, x)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-15, err_msg=what)
    if what.startswith("max() "):
        return  # the cotangent of a scalar is no array of 1, 2, 3
    side_by_side(torch, value_and_gradients(f, np.array(at)), what)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_masked_gradient_is_selected_not_multiplied(create_graph: bool) -> None:
    """0·inf never appears: where the derivative is 0, an infinite cotangent gives 0."""
    for f in (
        lambda x: unspool.relu(x),
        lambda x: x.clamp(0, 5),
        lambda x: unspool.maximum(x, unspool.zeros_like(x)),
        lambda x: unspool.where(x > 0, x, unspool.zeros_like(x)),
    ):
        x = unspool.tensor([-1.0, 1.0], requires_grad=True)
        (g,) = unspool.autograd.grad(f(x), x, unspool.tensor([INF, 2.0]), create_graph=create_graph)
        assert g.tolist() == [0.0, 2.0]


EXTREMES = [
    [1.0, NAN, 3.0, NAN],
    [NAN, INF],
    [INF, INF, 1.0],
    [-INF, -INF],
    [2.0, 2.0, 2.0],
    [0.0, -0.0],
    [-0.0, 0.0],
    [5.0],
    [3.0, 1.0, 3.0, *[0.0] * 70, 3.0],
    [*range(40), 39.0],
]


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("at", EXTREMES, ids=str)
def test_extremes(torch: ModuleType, name: str, at: list[float]) -> None:
    for dtype in ("float32", "float64"):
        x = np.array(at, dtype)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x)), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x), 0), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(np.stack([x, x[::-1]])), 1, True), name)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(np.stack([x, x[::-1]], 1)), 0), name)
    if name in ("max", "min"):
        for pick in (lambda m, x: getattr(x, name)(), lambda m, x: getattr(x, name)(0)[0]):
            side_by_side(torch, value_and_gradients(pick, np.array(at)), name)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_of_shapes(torch: ModuleType, name: str) -> None:
    for shape in ((), (0,), (3, 0), (0, 3), (2, 3), (2, 3, 4)):
        x = random(shape)
        side_by_side(torch, lambda m, x=x: getattr(m, name)(m.from_numpy(x)), (name, shape))
        for dim in range(-len(shape) - 1, len(shape) + 1):
            for keepdim in (False, True):
                side_by_side(
                    torch, lambda m, x=x, d=dim, k=keepdim: getattr(m, name)(m.from_numpy(x), d, k), (name, shape, dim)
                )


@pytest.mark.parametrize("name", ["sum", "mean", "any", "all"])
def test_reductions(torch: ModuleType, name: str) -> None:
    for shape in ((), (0,), (3, 0), (2, 3), (2, 3, 4)):
        dims: list[Any] = [None, *range(-len(shape) - 1, len(shape) + 1)]
        dims += [(0, 1), (0, -1), (-1, -2), (0, 0), [1], ()] if len(shape) > 1 else []
        for dim, keepdim in itertools.product(dims, (False, True)):
            if dim == () and name in ("any", "all"):
                continue  # PyTorch reduces no dim there, and all of them in sum and mean; here all in each

            def f(m: Any, x: Any, d: Any = dim, k: bool = keepdim) -> Any:
                return getattr(m, name)(x, dim=d, keepdim=k)

            side_by_side(torch, value_and_gradients(f, random(shape)), (name, shape, dim, keepdim))
            if len(shape) == 3:
                side_by_side(
                    torch, value_and_gradients(lambda m, x, f=f: f(m, x.permute(2, 0, 1)), random(shape)), (name, dim)
                )
        side_by_side(torch, value_and_gradients(lambda m, x: getattr(m, name)(x), random(shape)), (name, shape))


# ---- Softmax and losses --------------------------------------------------------------------------

ROWS = {
    "plain": random((3, 4)),
    "large": np.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]]),
    "one -inf": np.array([[0.0, -INF, 1.0], [-INF, -INF, 2.0]]),
    "all -inf": np.array([[-INF, -INF], [0.0, 1.0]]),
    "inf": np.array([[INF, 0.0], [INF, INF]]),
    "nan": np.array([[NAN, 0.0], [1.0, 2.0]]),
    "wide": random((2, 67)),
    "no rows": random((0, 3)),
    "no columns": random((3, 0)),
    "vector": random((5,)),
    "scalar": random(()),
    "cube": random((2, 3, 4)),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax(torch: ModuleType, name: str, rows: str, dtype: str) -> None:
    x = ROWS[rows].astype(dtype)
    for dim in range(-max(x.ndim, 1), max(x.ndim, 1) + 1):
        program = value_and_gradients(lambda m, x, d=dim: getattr(m, name)(x, d), x)
        side_by_side(torch, program, (name, rows, dim), atol=2e-5 if dtype == "float32" else None)  # g - y·Σg cancels
        side_by_side(torch, value_and_gradients(lambda m, x, d=dim: getattr(x, name)(dim=d, dtype=m.float64), x), dim)


def labels(*values: int) -> Any:
    return np.array(values)


CROSS_ENTROPIES: dict[str, tuple[Any, Any]] = {
    "rows": (random((3, 4)), labels(1, 0, 3)),
    "some ignored": (random((3, 4)), labels(1, -100, 3)),
    "all ignored": (random((3, 4)), labels(-100, -100, -100)),
    "vector": (random((4,)), np.array(2)),
    "vector ignored": (random((4,)), np.array(-100)),
    "images": (random((2, 4, 3, 2)), np.arange(12).reshape(2, 3, 2) % 4),
    "sequences": (random((2, 4, 3)), np.array([[0, 3, -100], [2, 2, 1]])),
    "probabilities": (random((3, 4)), np.abs(random((3, 4), seed=1))),
    "probabilities of a vector": (random((4,)), np.abs(random((4,), seed=1))),
    "probabilities of sequences": (random((2, 4, 3)), np.abs(random((2, 4, 3), seed=1))),
    "large": (np.array([[1e4, -1e4, 0.0, 0.0], [1e4, 1e4, 0.0, 1.0]]), labels(1, 1)),
    "-inf": (np.array([[0.0, -INF, 1.0, 2.0], [-INF, 0.0, 0.0, 0.0]]), labels(0, 1)),
    "-inf at the target": (np.array([[0.0, -INF, 1.0, 2.0]]), labels(1)),
    "no rows": (random((0, 4)), np.zeros(0, np.int64)),
    "label too large": (random((2, 4)), labels(1, 4)),
    "label negative": (random((2, 4)), labels(1, -1)),
    "shapes differ": (random((2, 4)), labels(1, 2, 3)),
    "target of floats": (random((2, 4)), np.array([1.0, 2.0])),
    "target of int32": (random((2, 4)), np.array([1, 2], np.int32)),
    "target of bytes": (random((2, 4)), np.array([1, 2], np.uint8)),
}


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(torch: ModuleType, name: str, reduction: str) -> None:
    logits, target = CROSS_ENTROPIES[name]
    weights = (None, np.array([0.5, 2.0, 0.0, 1.5]))
    for weight, smoothing, dtype in itertools.product(weights, (0.0, 0.1), ("float32", "float64")):
        options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}

        def f(m: Any, x: Any, t: Any, options: Any = options, weight: Any = weight, dtype: str = dtype) -> Any:
            w = None if weight is None else m.from_numpy(weight.astype(dtype))
            return m.nn.functional.cross_entropy(x, t, weight=w, **options)

        t = target.astype(dtype) if name.startswith("probabilities") else target
        if smoothing and name.startswith("-inf"):
            continue  # 0 · -inf: NaN in both, at places that differ
        if smoothing and name == "target of bytes":
            continue  # PyTorch refuses
        if name in ("target of floats", "target of int32"):
            with pytest.raises(RuntimeError):
                f(unspool, leaf(unspool, logits.astype(dtype)), unspool.from_numpy(t))
            continue
        side_by_side(
            torch, value_and_gradients(f, logits.astype(dtype), t), (name, reduction, weight, smoothing, dtype)
        )


def test_cross_entropy_ignores_the_index_asked_for(torch: ModuleType) -> None:
    for index in (0, 2, -1):
        target = labels(0, 2, 1) if index != -1 else labels(0, -1, 1)

        def f(m: Any, x: Any, t: Any, index: int = index) -> Any:
            return m.nn.functional.cross_entropy(x, t, ignore_index=index)

        side_by_side(torch, value_and_gradients(f, random((3, 4)), target), index)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_second_derivative(torch: ModuleType, reduction: str) -> None:
    for name in ("some ignored", "all ignored", "sequences", "probabilities"):
        logits, target = CROSS_ENTROPIES[name]

        def program(m: Any, logits: Any = logits, target: Any = target) -> Any:
            x, t = leaf(m, logits), leaf(m, target, grad=False)
            loss = m.nn.functional.cross_entropy(x, t, reduction=reduction, label_smoothing=0.1)
            (g,) = m.autograd.grad(loss.sum(), x, create_graph=True)
            (h,) = m.autograd.grad((g * m.from_numpy(random(logits.shape, seed=3))).sum(), x)
            return loss, g, h

        side_by_side(torch, program, name, rtol=1e-10)


def test_mse_loss(torch: ModuleType) -> None:
    for reduction, shape, dtype in itertools.product(
        ("none", "mean", "sum"), ((), (3,), (2, 3), (0,)), ("float32", "float64")
    ):

        def f(m: Any, a: Any, b: Any, r: str = reduction) -> Any:
            return m.nn.functional.mse_loss(a, b, reduction=r)

        a, b = random(shape, dtype), random(shape, dtype, seed=1)
        side_by_side(torch, value_and_gradients(f, a, b), (reduction, shape, dtype))
        side_by_side(torch, value_and_gradients(lambda m, a, b: f(m, a.t(), b.t()), a, b), (reduction, shape))
    for m in (unspool, torch):
        with pytest.raises(RuntimeError), pytest.warns(UserWarning, match="size"):
            m.nn.functional.mse_loss(m.zeros(2), m.zeros(3), reduction="none")
        with pytest.raises(ValueError, match="average"):
            m.nn.functional.mse_loss(m.zeros(2), m.zeros(2), reduction="average")


# ---- Products ------------------------------------------------------------------------------------

PRODUCTS = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((2, 3), (5, 3, 4)),
    ((2, 1, 2, 3), (4, 3, 2)),
    ((0,), (0,)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 2)),
    ((33, 65), (65, 17)),
    ((2,), (3,)),
    ((2, 3), (2, 3)),
    ((), (3,)),
    ((3,), ()),
    ((2, 2, 3), (3, 3, 2)),
]


@pytest.mark.parametrize(("a", "b"), PRODUCTS, ids=str)
def test_matmul(torch: ModuleType, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = random(a), random(b, seed=1)
    side_by_side(torch, value_and_gradients(lambda m, x, y: x @ y, x, y), (a, b))
    side_by_side(torch, value_and_gradients(lambda m, x, y: m.mm(x, y), x, y), ("mm", a, b))
    if len(a) == len(b) == 2 and a[1] == b[0]:  # the four transposes, and slices of a wider matrix
        program = value_and_gradients(lambda m, x, y: x.t() @ y.t(), np.array(x.T), np.array(y.T))
        side_by_side(torch, program, ("tt", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x.t() @ y, np.array(x.T), y), ("tn", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x @ y.t(), x, np.array(y.T)), ("nt", a, b))
        side_by_side(torch, value_and_gradients(lambda m, x, y: x[::2] @ y[:, ::2], x, y), ("sliced", a, b))


def test_linear(torch: ModuleType) -> None:
    for shape, bias in itertools.product(((3,), (2, 3), (2, 5, 3), (0, 3)), (True, False)):
        arrays = [random(shape), random((4, 3), seed=1), *([random((4,), seed=2)] if bias else [])]
        side_by_side(torch, value_and_gradients(lambda m, *xs: m.nn.functional.linear(*xs), *arrays), (shape, bias))
    for shapes in (((2, 4), (4, 3)), ((2, 3), (3,), (3,)), ((2, 3), (4, 3), (5,))):
        with pytest.raises(RuntimeError):
            unspool.nn.functional.linear(*(unspool.zeros(s) for s in shapes))


# ---- Joins and views -----------------------------------------------------------------------------


def test_cat_and_stack(torch: ModuleType) -> None:
    joined: list[tuple[list[tuple[int, ...]], int]] = [
        ([(2, 3), (4, 3)], 0),
        ([(2, 3), (2, 1)], 1),
        ([(2, 3), (2, 1)], -1),
        ([(2, 3), (0,)], 0),
        ([(0,), (2, 3), (2, 3)], 1),
        ([(0,), (0,)], 0),
        ([(0, 3), (2, 3)], 0),
        ([(2, 3)], 0),
        ([(3,)] * 12, 0),
        ([(2, 3), (3, 2)], 0),
        ([(2, 3), (2,)], 0),
        ([(2, 3)], 2),
        ([(), ()], 0),
        ([], 0),
    ]
    for shapes, dim in joined:
        arrays = [random(s, seed=i) for i, s in enumerate(shapes)]
        for name in ("cat", "stack"):

            def f(m: Any, *xs: Any, name: str = name, dim: int = dim) -> Any:
                return getattr(m, name)(list(xs), dim=dim)

            side_by_side(torch, value_and_gradients(f, *arrays), (name, shapes, dim))
    for a, b in itertools.product(DTYPES, repeat=2):  # an empty vector has a dtype all the same
        side_by_side(
            torch, lambda m, a=a, b=b: m.cat([m.zeros(0).to(getattr(m, a)), m.ones(2, 2).to(getattr(m, b))]), (a, b)
        )


VIEWS: list[tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = [
    (shape, f)
    for shape in ((2, 3, 4), (1, 3, 1), (2, 0, 3), (6,), ())
    for f in (
        lambda m, x: x.view(-1),
        lambda m, x: x.view(2, -1),
        lambda m, x: x.reshape(3, -1),
        lambda m, x: x.reshape(-1, -1),
        lambda m, x: x.reshape(7),
        lambda m, x: x.view(-2),
        lambda m, x: x.flatten(),
        lambda m, x: x.flatten(1),
        lambda m, x: x.flatten(0, 1),
        lambda m, x: x.flatten(1, 0),
        lambda m, x: x.transpose(0, -1),
        lambda m, x: x.transpose(0, 5),
        lambda m, x: x.transpose(0, -1).reshape(-1),
        lambda m, x: x.transpose(0, -1).view(-1),
        lambda m, x: x.t(),
        lambda m, x: x.permute(2, 0, 1),
        lambda m, x: x.permute(0, 0, 1),
        lambda m, x: x.permute(0),
        lambda m, x: x.expand(5, 2, 3, 4),
        lambda m, x: x.expand(2, 3, 4),
        lambda m, x: x.expand(-1, 3, 7),
        lambda m, x: x.squeeze(),
        lambda m, x: x.squeeze(0),
        lambda m, x: x.squeeze(-1),
        lambda m, x: x.squeeze((0, 2)),
        lambda m, x: x.unsqueeze(0),
        lambda m, x: x.unsqueeze(-1),
        lambda m, x: x.unsqueeze(7),
        lambda m, x: x.select(0, 1),
        lambda m, x: x.select(1, -1),
        lambda m, x: x.select(0, 9),
        lambda m, x: x.narrow(0, 1, 1),
        lambda m, x: x.narrow(-1, 0, 2),
        lambda m, x: x.narrow(0, 1, 9),
        lambda m, x: x[0],
        lambda m, x: x[-1],
        lambda m, x: x[1:],
        lambda m, x: x[::2],
        lambda m, x: x[5:2],
        lambda m, x: x[..., 0],
        lambda m, x: x[None],
        lambda m, x: x[:, 1:, ::3],
        lambda m, x: x[0, ..., 1:],
        lambda m, x: x[9],
        lambda m, x: x.T if x.ndim == 2 else x,
        lambda m, x: x.clone(),
        lambda m, x: x.contiguous(),
        lambda m, x: x.double(),
        lambda m, x: x.float(),
    )
]


def strides_of(f: Callable[..., Any], shape: tuple[int, ...], m: Any) -> tuple[int, ...]:
    return tuple(f(m, m.from_numpy(random(shape))).stride())


@pytest.mark.parametrize("shape", sorted({s for s, _ in VIEWS}), ids=str)
def test_views(torch: ModuleType, shape: tuple[int, ...]) -> None:
    for i, f in enumerate(f for s, f in VIEWS if s == shape):
        side_by_side(torch, value_and_gradients(f, random(shape)), (shape, i))
        strides = functools.partial(strides_of, f, shape)
        theirs = outcome(strides, torch)
        if not isinstance(theirs, Exception) and 0 not in shape:
            assert outcome(strides, unspool) == theirs, (shape, i)


def test_where(torch: ModuleType) -> None:
    for c, a, b in (((3,), (3,), (3,)), ((2, 3), (3,), ()), ((1,), (2, 1), (1, 3)), ((0,), (1,), ()), ((), (2,), (2,))):
        condition = random(c, "bool")
        program = value_and_gradients(lambda m, c, x, y: m.where(c, x, y), condition, random(a), random(b, seed=1))
        side_by_side(torch, program, (c, a, b))
    x = np.array([1.0, -2.0])
    side_by_side(torch, value_and_gradients(lambda m, x: m.where(x > 0, x, 0), x), "number")
    side_by_side(torch, value_and_gradients(lambda m, x: m.where(x > 0, 1.5, x), x), "number")
    side_by_side(torch, lambda m: m.where(m.tensor([True, False]), 1, 2), "two numbers")
    side_by_side(torch, lambda m: m.where(m.tensor([True, False]), 1.0, 2), "two numbers")
    side_by_side(torch, lambda m: m.where(m.tensor([1.0, 0.0]), 1.0, 2), "floating condition")


def test_clamp(torch: ModuleType) -> None:
    bounds: list[dict[str, Any]] = [
        {},
        {"min": 0},
        {"max": 1},
        {"min": -1, "max": 1},
        {"min": 1, "max": -1},
        {"min": 0.5},
        {"min": NAN},
        {"max": NAN},
        {"min": -INF, "max": INF},
    ]
    for options, dtype in itertools.product(bounds, ("float32", "float64", "int64", "int32", "uint8")):
        x = np.array(SPECIAL, dtype) if dtype.startswith("float") else np.array([0, 1, 2, 5, 7], dtype)
        same = same_signs if options and dtype.startswith("float") else side_by_side
        same(torch, value_and_gradients(lambda m, x, o=options: m.clamp(x, **o), x, seed=1), (options, dtype))


# ---- Creation ------------------------------------------------------------------------------------


CREATIONS: list[Program] = [
    lambda m: m.zeros(2, 3),
    lambda m: m.zeros((2, 3), dtype=m.int64),
    lambda m: m.zeros(0),
    lambda m: m.zeros(()),
    lambda m: m.ones(2, dtype=m.bool),
    lambda m: m.full((2,), 3),
    lambda m: m.full((2,), 3.5),
    lambda m: m.full((2,), True),
    lambda m: m.full((), 7, dtype=m.float64),
    lambda m: m.zeros_like(m.tensor([1, 2])),
    lambda m: m.ones_like(m.tensor([1.5]), dtype=m.int32),
    lambda m: m.full_like(m.tensor([1.5, 2]), 3),
    lambda m: m.arange(5),
    lambda m: m.arange(2, 5),
    lambda m: m.arange(5, 0, -2),
    lambda m: m.arange(0, 1, 0.1),
    lambda m: m.arange(0, 1, 0.1, dtype=m.float64),
    lambda m: m.arange(3.0),
    lambda m: m.arange(0),
    lambda m: m.arange(1, 5, 0),
    lambda m: m.arange(1, 5, -1),
    lambda m: m.linspace(0, 1, 11),
    lambda m: m.linspace(0, 1, 1),
    lambda m: m.linspace(3, -3, 0),
    lambda m: m.linspace(-10, 10, 7, dtype=m.float64),
    lambda m: m.linspace(0, 1, -1),
    lambda m: m.eye(3),
    lambda m: m.eye(2, 4, dtype=m.float64),
    lambda m: m.eye(0),
    lambda m: m.eye(-1),
    lambda m: m.ones(2, requires_grad=True),
    lambda m: m.ones(2, dtype=m.int64, requires_grad=True),
]


@pytest.mark.parametrize("i", range(len(CREATIONS)))
def test_creation(torch: ModuleType, i: int) -> None:
    side_by_side(torch, CREATIONS[i], i)
