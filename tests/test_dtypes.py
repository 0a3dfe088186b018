"""Promotion, conversions that are allowed, and limits of dtypes: every pair, beside PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for promotion")

NAMES = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def operands(t: Any, name: str) -> list[Any]:
    """A tensor with dims and a 0-d one of that dtype."""
    dtype = getattr(t, name)
    return [t.ones(2, dtype=dtype), t.ones((), dtype=dtype)]


def everything(t: Any) -> list[Any]:
    return [x for name in NAMES for x in operands(t, name)] + [True, 2, 0.5]


@pytest.mark.parametrize("default", ["float32", "float64"])
def test_result_type_of_every_pair(default: str) -> None:
    found = []
    for t in (unspool, torch):
        t.set_default_dtype(getattr(t, default))
        try:
            pairs = itertools.product(everything(t), everything(t))
            found.append([str(t.result_type(a, b)) for a, b in pairs])
        finally:
            t.set_default_dtype(t.float32)
    assert found[0] == found[1]


@pytest.mark.parametrize("op", ["add", "mul", "div", "eq", "floor_divide", "pow", "where", "maximum"])
def test_the_dtype_of_results(op: str) -> None:
    found = []
    for t in (unspool, torch):
        seen = []
        for a, b in itertools.product(everything(t), everything(t)):
            if not isinstance(a, t.Tensor) or (op == "maximum" and not isinstance(b, t.Tensor)):
                continue
            arguments = (t.ones(2) > 0, a, b) if op == "where" else (a, b)
            try:
                seen.append(str(getattr(t, op)(*arguments).dtype))
            except RuntimeError:
                seen.append("RuntimeError")
        found.append(seen)
    assert found[0] == found[1]


@pytest.mark.parametrize("op", ["add_", "mul_", "copy_", "div_"])
def test_what_may_be_written_in_place(op: str) -> None:
    found = []
    for t in (unspool, torch):
        seen = []
        for name, b in itertools.product(NAMES, everything(t)):
            target = operands(t, name)[0]
            if op == "copy_" and not isinstance(b, t.Tensor):
                continue
            try:
                getattr(target, op)(b)
                seen.append(target.tolist())
            except RuntimeError:
                seen.append("RuntimeError")
        found.append(seen)
    assert found[0] == found[1]


def test_promote_types_and_can_cast() -> None:
    for a, b in itertools.product(NAMES, NAMES):
        ours, theirs = (getattr(unspool, a), getattr(unspool, b)), (getattr(torch, a), getattr(torch, b))
        assert str(unspool.promote_types(*ours)) == str(torch.promote_types(*theirs)), (a, b)
        assert unspool.can_cast(*ours) == torch.can_cast(*theirs), (a, b)


def test_limits() -> None:
    for name in ("float32", "float64"):
        a, b = unspool.finfo(getattr(unspool, name)), torch.finfo(getattr(torch, name))
        assert repr(a) == repr(b)
        for part in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            assert getattr(a, part) == getattr(b, part), part
    for name in ("uint8", "int32", "int64"):
        c, d = unspool.iinfo(getattr(unspool, name)), torch.iinfo(getattr(torch, name))
        assert repr(c) == repr(d)
        assert (c.bits, c.max, c.min, c.dtype) == (d.bits, d.max, d.min, d.dtype)


@pytest.mark.parametrize(
    "op", ["bitwise_left_shift", "bitwise_right_shift", "gcd", "lcm", "bitwise_and", "bitwise_xor"]
)
@pytest.mark.parametrize("name", ["uint8", "int32", "int64"])
def test_integers(op: str, name: str) -> None:
    numbers = [0, 1, 2, 3, 7, 31, 63, 64, 100, 255] + ([] if name == "uint8" else [-1, -2, -7, -100])
    found = []
    for t in (unspool, torch):
        a = t.tensor(numbers, dtype=getattr(t, name)).reshape(-1, 1)
        b = t.tensor(numbers, dtype=getattr(t, name))
        written = (a + b * 0).clone()
        getattr(written, f"{op}_")(b) if hasattr(written, f"{op}_") else written.copy_(getattr(t, op)(a, b))
        found.append((getattr(t, op)(a, b).tolist(), written.tolist()))
    assert found[0] == found[1]


def test_integer_operators() -> None:
    for t in (unspool, torch):
        x = t.tensor([1, 6])
        y = x
        y <<= 2
        y |= 1
        y &= 13
        y ^= 8
        y >>= 1
        assert y is x
        assert x.tolist() == [((((n << 2) | 1) & 13) ^ 8) >> 1 for n in (1, 6)]
        assert (2 << t.tensor([1, 2])).tolist() == [4, 8]


@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_other_devices_are_refused_everywhere(device: str) -> None:
    x = unspool.ones(2)
    for make in (
        lambda: x.new_zeros(2, device=device),
        lambda: x.new_full((2,), 1, device=device),
        lambda: x.new_tensor([1], device=device),
        lambda: x.new_empty_strided((2,), (1,), device=device),
        lambda: unspool.empty_strided((2,), (1,), device=device),
        lambda: unspool.scalar_tensor(1, device=device),
        lambda: unspool.logspace(0, 1, 2, device=device),
        lambda: unspool.asarray([1], device=device),
        lambda: unspool.randint_like(x, 3, device=device),
        lambda: unspool.tril_indices(2, 2, device=device),
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match=device):
            make()
    with pytest.raises(TypeError):
        x.new_zeros(2, dytpe=unspool.int64)


def test_an_op_made_of_others_sees_one_dtype_in_place_too() -> None:
    """Its inputs were read as what they were not: a Python int as a float32."""
    found = []
    for t in (unspool, torch):
        rows = []
        for name in ("float32", "float64"):
            x = t.tensor([5.5, -7.25, 3.0], dtype=getattr(t, name))
            rows += [x.clone().fmod_(2).tolist(), x.clone().fmod_(t.tensor([2, 3, 2])).tolist()]
            other = t.tensor([1.1, 2.7, 0.3], dtype=t.float64 if name == "float32" else t.float32)
            rows += [t.addcmul(x.double(), other, other).tolist(), t.addcdiv(x.double(), other, other * 3).tolist()]
            rows += [x.double().addcmul_(other, other).tolist(), x.double().addcdiv_(other, other * 3).tolist()]
        found.append(rows)
    for mine, theirs in zip(*found, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12, abs=1e-14)


def test_comparisons_and_losses_of_integers_do_not_wrap() -> None:
    found = []
    for t in (unspool, torch):
        a, b = t.tensor([1, 3, 250], dtype=t.uint8), t.tensor([3, 1, 5], dtype=t.uint8)
        rows: list[Any] = [t.isclose(a, b, rtol=1.0).tolist(), t.isclose(b, a, rtol=0.5).tolist()]
        x = t.tensor([0.5, 0.25, -1.0], dtype=t.float64)
        rows += [t.nn.functional.soft_margin_loss(x, a).item(), t.logit(x.abs() / 2, 0.75).tolist()]
        wide = t.tensor([[0.0], [1.0]], dtype=t.float64)
        rows.append(t.nn.functional.multilabel_soft_margin_loss(x[:1], wide, wide + 1).item())
        found.append(rows)
    assert found[0][:2] == found[1][:2]
    for mine, theirs in zip(found[0][2:], found[1][2:], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)
