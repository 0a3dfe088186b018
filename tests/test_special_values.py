"""Zeros with signs, infinities, NaN, subnormals and the largest numbers, through every unary and binary map.

The maps are those of PyTorch's own list that unspool has. NaN and infinity must stand where PyTorch has them, zeros
must have its sign, finite results its value; and an element must get the same bits at each place of a long tensor.
Where PyTorch's vector code gives 0 for a subnormal result, its float64 result, rounded, is as good.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import unspool
from test_torch_samples import DIFFERENT, named, op_db, ours, reference, tensors

try:
    from torch.testing._internal.opinfo.core import BinaryUfuncInfo, UnaryUfuncInfo
except ImportError:
    BinaryUfuncInfo = UnaryUfuncInfo = type(None)

FLOATS = ("float32", "float64")
# Ulps between two good implementations of one function: PyTorch's own are good to 1 to 4.
ULPS = 16
# Near a zero of digamma, and where a rounded product is squared and exponentiated, PyTorch's own are not as good.
LOOSE_ULPS = {"digamma": 128, "polygamma": 128, "special.polygamma": 128, "special.ndtr": 64}
# The limit at infinity, 0, where PyTorch gives NaN.
LIMIT_AT_INFINITY = {"polygamma", "special.polygamma"}
# a / b overflows although the remainder exists: PyTorch gives NaN, NumPy and unspool the remainder.
QUOTIENT_OVERFLOWS = {"remainder", "__rmod__", "fmod"}
# Of a zero and a zero of the other sign, either is the bound.
EITHER_ZERO = {"clamp_min", "clamp_max"}
# prelu has a second argument, and rrelu draws. Of subnormal and huge arguments PyTorch's incomplete gamma functions
# give 0, 1 or NaN where there is a value; test_dialect_gaps has them beside SciPy's.
OTHERWISE = {"nn.functional.prelu", "nn.functional.rrelu", "bfloat16", "igamma", "igammac"}
# Two tensors, which test_dialect_gaps.py compares; polynomials, of which a degree of 1e18 is refused.
OTHERWISE |= {"frexp", *(f"special.{name}" for name in unspool.special.__all__ if "polynomial" in name)}


def values(dtype: str) -> Any:
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.tiny / 2, info.tiny, 1e-20, 0.5, 1.0, 1.5, 2.5, 3.0, 88.0, 100.0,
                1e4, float(2**24 + 1), 1e18, info.max, np.inf]  # fmt: skip
    return np.array([*positive, *(-x for x in positive), np.nan]).astype(dtype)


def maps(kind: type) -> list[Any]:
    return [
        pytest.param(op, dtype, id=f"{named(op)}-{dtype}")
        for op in op_db
        if isinstance(op, kind) and ours(op) is not None and named(op) not in {*DIFFERENT, *OTHERWISE}
        for dtype in FLOATS
        if getattr(reference, dtype) in op.dtypes
    ]


def agree(op: Any, inputs: list[Any], keywords: tuple[Any, Any] = ({}, {})) -> None:
    mine = ours(op)(*map(unspool.from_numpy, inputs), **keywords[0])
    theirs = op.op(*map(reference.from_numpy, inputs), **keywords[0])
    exact = op.op(*(reference.from_numpy(x).double() for x in inputs), **keywords[0])
    for a, b, c in zip(tensors(mine), tensors(theirs), tensors(exact), strict=True):
        check(op.name, inputs, a.numpy(), b.numpy(), c.to(b.dtype).numpy())


def check(name: str, inputs: list[Any], got: Any, wanted: Any, exact: Any) -> None:
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted, name)
        return
    info = np.finfo(wanted.dtype)

    def close(to: Any) -> Any:
        with np.errstate(all="ignore"):
            near = np.abs(got - to) <= LOOSE_ULPS.get(name, ULPS) * np.maximum(
                info.eps * np.abs(to), 16 * info.smallest_subnormal
            )
        return (got == to) | (np.isnan(got) & np.isnan(to)) | near

    subnormal = np.abs(got) < info.tiny
    zeros = (got == 0) & (wanted == 0) & (name not in EITHER_ZERO)
    wrong = ~(close(wanted) | (subnormal & close(exact))) | (zeros & (np.signbit(got) != np.signbit(wanted)))
    if name in QUOTIENT_OVERFLOWS:
        wrong &= ~(np.isnan(wanted) & np.isfinite(got))
    if name in LIMIT_AT_INFINITY:
        wrong &= ~np.isposinf(inputs[0])
    cases = [
        f"({', '.join(str(x[i]) for x in inputs)}) -> {got[i]}, PyTorch {wanted[i]}" for i in np.flatnonzero(wrong)
    ]
    assert not cases, f"{name}: " + "; ".join(cases[:12])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("op", "dtype"), maps(UnaryUfuncInfo))
def test_special_values_of_a_unary_map(op: Any, dtype: str) -> None:
    agree(op, [values(dtype)], op.sample_kwargs("cpu", getattr(reference, dtype), None))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("op", "dtype"), maps(BinaryUfuncInfo))
def test_special_values_of_a_binary_map(op: Any, dtype: str) -> None:
    pairs = np.array(list(itertools.product(values(dtype), repeat=2)), dtype)
    agree(op, [pairs[:, 0].copy(), pairs[:, 1].copy()])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("op", "dtype"), maps(UnaryUfuncInfo))
def test_an_element_has_the_same_bits_at_each_place(op: Any, dtype: str) -> None:
    x = np.resize(values(dtype), 211)
    keywords = op.sample_kwargs("cpu", reference.float32, None)[0]
    whole = ours(op)(unspool.from_numpy(x), **keywords).numpy()
    for i in range(0, len(x), 5):
        one = ours(op)(unspool.from_numpy(x[i : i + 1].copy()), **keywords).numpy()
        assert one.tobytes() == whole[i : i + 1].tobytes(), (op.name, x[i])
