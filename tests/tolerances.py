"""How close is close: one row per dtype, used by every test that compares numbers.

`rtol`/`atol` are for results of a few rounded operations against a reference in the same dtype; `grad_rtol` and
`grad_atol` for derivatives against central differences (float64 only: elsewhere the differences themselves are
worse); `exact` dtypes are compared by equality. A test that needs a wider bound says why, where it stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    rtol: float
    atol: float
    grad_rtol: float | None = None
    grad_atol: float | None = None  # times max(1, |f|)


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(rtol=2e-6, atol=1e-6),
    "float64": Tolerance(rtol=1e-12, atol=1e-12, grad_rtol=1e-6, grad_atol=1e-8),
    "int64": Tolerance(rtol=0.0, atol=0.0),
    "int32": Tolerance(rtol=0.0, atol=0.0),
    "uint8": Tolerance(rtol=0.0, atol=0.0),
    "bool": Tolerance(rtol=0.0, atol=0.0),
}


def tolerance(dtype: Any) -> Tolerance:
    """The row of a NumPy, unspool or PyTorch dtype (by its name)."""
    name = dtype.name if isinstance(dtype, np.dtype) else str(dtype).rsplit(".", 1)[-1]
    return TOLERANCES[name]


def assert_close(actual: Any, expected: Any, *, what: str = "") -> None:
    """Same shape and, by the row of `actual`'s dtype, the same numbers (NaN equals NaN)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    row = tolerance(actual.dtype)
    np.testing.assert_allclose(actual, expected, rtol=row.rtol, atol=row.atol, err_msg=what)
