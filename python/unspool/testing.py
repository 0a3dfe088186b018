"""`assert_close`, for the tests of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unspool import _core
from unspool._functions import isclose

__all__ = ["assert_close"]

# (relative, absolute)
_TOLERANCES = {
    _core.float16: (1e-3, 1e-5),
    _core.bfloat16: (1.6e-2, 1e-5),
    _core.float32: (1.3e-6, 1e-5),
    _core.float64: (1e-7, 1e-7),
}
_Message = str | Callable[[str], str] | None


class _Mismatch(Exception):
    """What differs, and at which item of the two containers."""

    def __init__(self, text: str, kind: type[Exception] = AssertionError) -> None:
        super().__init__(text)
        self.text, self.kind, self.item = text, kind, ""


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,  # there is one
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: _Message = None,
) -> None:
    """Raise an AssertionError unless |actual - expected| ≤ atol + rtol · |expected| in every element.

    Tensors, arrays, numbers, bools, and sequences and mappings of them. Shapes and, unless the checks are off, dtypes
    must be the same. Tolerances are, unless given, those of the dtype, PyTorch's; of the looser one where two differ.

    Args:
        msg: the message instead, or a function of the message that makes one.

    Raises:
        AssertionError: something differs; the message tells how much, and where most.
        ValueError: only one of the tolerances is given.
        TypeError: two things that can't be compared.
    """
    if (rtol is None) != (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
    bounds = None if rtol is None or atol is None else (rtol, atol)
    try:
        _compare(actual, expected, bounds, equal_nan, check_dtype, check_stride, allow_subclasses)
    except _Mismatch as e:
        text = e.text + (f"\n\nThe failure occurred for item {e.item}" if e.item else "")
        kind = e.kind
    else:
        return
    raise kind(text if msg is None else msg(text) if callable(msg) else msg)


def _compare(a: Any, b: Any, bounds: Any, equal_nan: bool, check_dtype: bool, check_stride: bool, sub: bool) -> None:
    def inner(x: Any, y: Any, key: Any) -> None:
        try:
            _compare(x, y, bounds, equal_nan, check_dtype, check_stride, sub)
        except _Mismatch as e:
            e.item = f"[{key!r}]{e.item}"
            raise

    if a is None or b is None:
        if a is not b:
            raise _Mismatch(f"None mismatch: {a} is not {b}")
    elif isinstance(a, (bool, np.bool_)) and isinstance(b, (bool, np.bool_)):
        if bool(a) is not bool(b):
            raise _Mismatch(f"Booleans mismatch: {a} is not {b}")
    elif _is_number(a) and _is_number(b):
        _compare_numbers(_number(a), _number(b), bounds, equal_nan)
    elif isinstance(a, (_core.Tensor, np.ndarray)) and isinstance(b, (_core.Tensor, np.ndarray)):
        related = isinstance(a, type(b)) or isinstance(b, type(a))
        if not related or not (sub or type(a) is type(b)):
            raise _Mismatch(f"assert_close: no comparison of {type(a).__name__} and {type(b).__name__}", TypeError)
        _compare_tensors(a, b, bounds, equal_nan, check_dtype, check_stride)
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            missing = sorted(b.keys() - a.keys(), key=str)
            extra = sorted(a.keys() - b.keys(), key=str)
            raise _Mismatch(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {missing}\nAdditional keys in the actual mapping: {extra}"
            )
        for key in a:
            inner(a[key], b[key], key)
    elif isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str) and not isinstance(b, str):
        if len(a) != len(b):
            raise _Mismatch(f"The length of the sequences mismatch: {len(a)} != {len(b)}")
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            inner(x, y, i)
    else:
        raise _Mismatch(f"assert_close: no comparison of {type(a).__name__} and {type(b).__name__}", TypeError)


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.number)) and not isinstance(x, bool)


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, np.number) else x


def _compare_numbers(a: Any, b: Any, bounds: Any, equal_nan: bool) -> None:
    rtol, atol = bounds or (_TOLERANCES[_core.float64] if isinstance(a, float) or isinstance(b, float) else (0.0, 0.0))
    if a == b or (equal_nan and a != a and b != b):
        return
    difference = abs(a - b)
    if not np.isfinite(difference) or difference > atol + rtol * abs(b):
        raise _of_scalars(a, b, rtol, atol)


def _of_scalars(a: Any, b: Any, rtol: float, atol: float) -> _Mismatch:
    difference = abs(a - b)
    relative = difference / abs(b) if b else float("inf")
    if rtol == atol == 0:
        rest = f"Absolute difference: {difference}\nRelative difference: {relative}"
        return _Mismatch(f"Scalars are not equal!\n\nExpected {b} but got {a}.\n{rest}")
    rest = f"Absolute difference: {difference} (up to {atol} allowed)\nRelative difference: {relative}"
    return _Mismatch(f"Scalars are not close!\n\nExpected {b} but got {a}.\n{rest} (up to {rtol} allowed)")


def _compare_tensors(a: Any, b: Any, bounds: Any, equal_nan: bool, check_dtype: bool, check_stride: bool) -> None:
    a, b = (x if isinstance(x, _core.Tensor) else _core.as_tensor(x) for x in (a, b))
    attributes = [("shape", a.shape, b.shape)]
    if check_stride:
        attributes.append(("stride()", a.stride(), b.stride()))
    if check_dtype:
        attributes.append(("dtype", a.dtype, b.dtype))
    for name, mine, theirs in attributes:
        if mine != theirs:
            raise _Mismatch(f"The values for attribute '{name}' do not match: {mine} != {theirs}.")
    zero = (0.0, 0.0)
    rtol, atol = bounds or map(max, zip(*(_TOLERANCES.get(x.dtype, zero) for x in (a, b)), strict=True))
    common = _core.promote_types(a.dtype, b.dtype)
    a, b = a.detach().to(common), b.detach().to(common)
    close = isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bool(close.all()):
        return
    if not a.dim():
        raise _of_scalars(a.item(), b.item(), rtol, atol)
    if not common.is_floating_point:
        a, b = a.to(_core.int64), b.to(_core.int64)
    difference = (a - b).abs()
    differences = {"absolute": difference, "relative": difference / b.abs()}
    equality = rtol == atol == 0
    count, total = int((~close).sum()), a.numel()
    text = f"Tensor-likes are not {'equal' if equality else 'close'}!\n\n"
    text += f"Mismatched elements: {count} / {total} ({count / total:.1%})"
    for (what, values), bound in zip(differences.items(), (atol, rtol), strict=True):
        values = values.masked_fill(close, 0).flatten()  # in the tensors' own precision
        where = int(values.argmax())
        index = tuple(int(i) for i in np.unravel_index(where, tuple(a.shape)))
        text += f"\nGreatest {what} difference: {values[where].item()} at index {index}"
        text += "" if equality else f" (up to {bound} allowed)"
    raise _Mismatch(text)
