"""What parameters and values of distributions must satisfy: a name, how many last dimensions it looks at, a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unspool import _core, _functions

__all__ = [
    "Constraint", "boolean", "cat", "corr_cholesky", "greater_than", "greater_than_eq", "half_open_interval",
    "independent", "integer_interval", "interval", "less_than", "lower_cholesky", "lower_triangular", "multinomial",
    "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_integer",
    "positive_semidefinite", "real", "real_vector", "simplex", "square", "stack", "symmetric", "unit_interval",
]  # fmt: skip


class Constraint:
    """A condition on a tensor; `check` gives a bool for each event, of `event_dim` last dimensions.

    `name` is its text: PyTorch's, since it stands in error messages; its `kind` is what comes before the bracket.
    `settings` are attributes: bounds, and what a constraint is made of.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[Any], Any],
        event_dim: int = 0,
        is_discrete: bool = False,
        **settings: Any,
    ) -> None:
        self._name = name
        self.kind = name.partition("(")[0]
        self.__dict__.update(settings)
        self.check = check
        self.event_dim = event_dim
        self.is_discrete = is_discrete

    def __repr__(self) -> str:
        return self._name


def _not_nan(x: Any) -> Any:
    return x == x


def greater_than(bound: Any) -> Constraint:
    """Above the bound."""
    return Constraint(f"GreaterThan(lower_bound={bound})", lambda x: x > bound, lower_bound=bound)


def greater_than_eq(bound: Any) -> Constraint:
    """The bound, or above it."""
    return Constraint(f"GreaterThanEq(lower_bound={bound})", lambda x: x >= bound, lower_bound=bound)


def less_than(bound: Any) -> Constraint:
    """Below the bound."""
    return Constraint(f"LessThan(upper_bound={bound})", lambda x: x < bound, upper_bound=bound)


def interval(low: Any, high: Any) -> Constraint:
    """From low to high, both included."""
    return Constraint(
        f"Interval(lower_bound={low}, upper_bound={high})",
        lambda x: (x >= low).logical_and(x <= high),
        lower_bound=low,
        upper_bound=high,
    )


def half_open_interval(low: Any, high: Any) -> Constraint:
    """From low, included, to high."""
    return Constraint(
        f"HalfOpenInterval(lower_bound={low}, upper_bound={high})",
        lambda x: (x >= low).logical_and(x < high),
        lower_bound=low,
        upper_bound=high,
    )


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
        base_constraint=base,
        reinterpreted_batch_ndims=reinterpreted_batch_ndims,
    )


def cat(cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> Constraint:
    """One constraint for each slice, `lengths` long (1), along dim."""
    sizes = [1] * len(cseq) if lengths is None else list(lengths)

    def check(x: Any) -> Any:
        parts = zip(cseq, x.split(sizes, dim), strict=True)
        return _core.cat([c.check(part) for c, part in parts], dim)

    return Constraint(
        "Cat()",
        check,
        max(c.event_dim for c in cseq),
        any(c.is_discrete for c in cseq),
        cseq=list(cseq),
        dim=dim,
        lengths=sizes,
    )


def stack(cseq: Sequence[Constraint], dim: int = 0) -> Constraint:
    """One constraint for each slice of dim."""

    def check(x: Any) -> Any:
        return _core.stack([c.check(part) for c, part in zip(cseq, x.unbind(dim), strict=True)], dim)

    event_dim = max(c.event_dim for c in cseq)
    event_dim += dim + event_dim < 0
    return Constraint("Stack()", check, event_dim, any(c.is_discrete for c in cseq), cseq=list(cseq), dim=dim)


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


def _is_corr_cholesky(x: Any) -> Any:
    limit = _functions.finfo(x.dtype).eps * x.shape[-1] * 10
    lengths = (x * x).sum(-1).sqrt()
    return _is_lower_cholesky(x).logical_and(((lengths - 1).abs() <= limit).all(-1))


def _is_square(x: Any) -> Any:
    return _core.full(x.shape[:-2], x.shape[-2] == x.shape[-1])


def _is_symmetric(x: Any) -> Any:
    if x.shape[-2] != x.shape[-1]:
        return _is_square(x)
    return _functions.isclose(x, x.transpose(-2, -1), atol=1e-6).flatten(-2).all(-1)


def _least_eigenvalue(x: Any) -> Any:
    return _core.tensor(np.linalg.eigvalsh(x.detach().numpy()).min(-1))  # reads one triangle


def _is_positive_definite(x: Any) -> Any:
    return _is_symmetric(x).logical_and(_least_eigenvalue(x) > 0)


real = Constraint("Real()", _not_nan)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0).logical_or(x == 1), is_discrete=True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0).logical_and(x >= 0), is_discrete=True
)
positive_integer = Constraint(
    "IntegerGreaterThan(lower_bound=1)", lambda x: (x % 1 == 0).logical_and(x >= 1), is_discrete=True
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
positive_semidefinite = Constraint(
    "PositiveSemidefinite()", lambda x: _is_symmetric(x).logical_and(_least_eigenvalue(x) >= 0), 2
)
corr_cholesky = Constraint("CorrCholesky()", _is_corr_cholesky, 2)
lower_triangular = Constraint("LowerTriangular()", lambda x: (x.tril() == x).flatten(-2).all(-1), 2)
square = Constraint("Square()", _is_square, 2)
symmetric = Constraint("Symmetric()", _is_symmetric, 2)
