"""What parameters and values of distributions must satisfy: a name, how many last dimensions it looks at, a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unspool import _core, _functions

__all__ = [
    "Constraint", "boolean", "greater_than", "independent", "integer_interval", "interval", "less_than",
    "lower_cholesky", "multinomial", "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite",
    "real", "real_vector", "simplex", "unit_interval",
]  # fmt: skip


class Constraint:
    """A condition on a tensor; `check` gives a bool for each event, of `event_dim` last dimensions.

    `name` is its text: PyTorch's, since it stands in error messages.
    """

    def __init__(self, name: str, check: Callable[[Any], Any], event_dim: int = 0, is_discrete: bool = False) -> None:
        self._name = name
        self.check = check
        self.event_dim = event_dim
        self.is_discrete = is_discrete

    def __repr__(self) -> str:
        return self._name


def _not_nan(x: Any) -> Any:
    return x == x


def greater_than(bound: Any) -> Constraint:
    """Above the bound."""
    return Constraint(f"GreaterThan(lower_bound={bound})", lambda x: x > bound)


def less_than(bound: Any) -> Constraint:
    """Below the bound."""
    return Constraint(f"LessThan(upper_bound={bound})", lambda x: x < bound)


def interval(low: Any, high: Any) -> Constraint:
    """From low to high, both included."""
    return Constraint(f"Interval(lower_bound={low}, upper_bound={high})", lambda x: (x >= low).logical_and(x <= high))


def integer_interval(low: int, high: int) -> Constraint:
    """Whole numbers from low to high, both included."""
    return Constraint(
        f"IntegerInterval(lower_bound={low}, upper_bound={high})",
        lambda x: (x % 1 == 0).logical_and(x >= low).logical_and(x <= high),
        is_discrete=True,
    )


def independent(base: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """The base's condition on all entries of that many last dimensions."""

    def check(x: Any) -> Any:
        fits = base.check(x)
        return fits.reshape((*fits.shape[: fits.dim() - reinterpreted_batch_ndims], -1)).all(-1)

    return Constraint(
        f"IndependentConstraint({base}, {reinterpreted_batch_ndims})",
        check,
        base.event_dim + reinterpreted_batch_ndims,
        base.is_discrete,
    )


def multinomial(upper_bound: int) -> Constraint:
    """Whole numbers that are not negative, at most `upper_bound` together."""
    return Constraint(
        "Multinomial()", lambda x: (x >= 0).all(-1).logical_and(x.sum(-1) <= upper_bound), 1, is_discrete=True
    )


def _is_simplex(x: Any) -> Any:
    return (x >= 0).all(-1).logical_and((x.sum(-1) - 1).abs() < 1e-6)


def _is_lower_cholesky(x: Any) -> Any:
    lower = (x.tril() == x).flatten(-2).all(-1)
    return lower.logical_and((x.diagonal(dim1=-2, dim2=-1) > 0).all(-1))


def _is_positive_definite(x: Any) -> Any:
    symmetric = _functions.isclose(x, x.transpose(-2, -1), atol=1e-6).flatten(-2).all(-1)
    values = np.linalg.eigvalsh(x.detach().numpy()).min(-1)  # reads one triangle
    return symmetric.logical_and(_core.tensor(values > 0))


real = Constraint("Real()", _not_nan)
positive = Constraint("GreaterThan(lower_bound=0.0)", lambda x: x > 0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0).logical_or(x == 1), is_discrete=True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0).logical_and(x >= 0), is_discrete=True
)
one_hot = Constraint(
    "OneHot()",
    lambda x: (x == 0).logical_or(x == 1).all(-1).logical_and(x.sum(-1) == 1),
    1,
    is_discrete=True,
)
simplex = Constraint("Simplex()", _is_simplex, 1)
real_vector = independent(real, 1)
lower_cholesky = Constraint("LowerCholesky()", _is_lower_cholesky, 2)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, 2)
