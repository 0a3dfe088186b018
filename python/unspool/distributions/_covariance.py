"""A covariance Σ that is given in one of three forms: of `MultivariateNormal` and `Wishart`."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from unspool import linalg
from unspool.distributions import constraints

__all__ = ["MATRICES", "Covariance", "given"]

MATRICES: dict[str, Any] = {
    "covariance_matrix": constraints.positive_definite,
    "precision_matrix": constraints.positive_definite,
    "scale_tril": constraints.lower_cholesky,
}


def given(*matrices: Any) -> tuple[str, Any]:
    """The name and value of the one of MATRICES that is no None."""
    found = [(name, m) for name, m in zip(MATRICES, matrices, strict=True) if m is not None]
    if len(found) != 1:
        raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    return found[0]


class Covariance:
    """The forms that were not given, made of the one that is an attribute."""

    arg_constraints: ClassVar[Any]

    @cached_property
    def _root(self) -> Any:
        # not scale_tril itself: the printed form shows what was given or asked for
        known = self.__dict__
        if "scale_tril" in known:
            return self.scale_tril
        return linalg.cholesky(
            known["covariance_matrix"] if "covariance_matrix" in known else linalg.inv(self.precision_matrix)
        )

    @cached_property
    def scale_tril(self) -> Any:
        """L, the lower triangular root of Σ."""
        return self._root

    @cached_property
    def covariance_matrix(self) -> Any:
        """Σ."""
        if "precision_matrix" in self.__dict__:
            return linalg.inv(self.precision_matrix)
        return self._root @ self._root.mT

    @cached_property
    def precision_matrix(self) -> Any:
        """Σ⁻¹."""
        return linalg.inv(self.covariance_matrix)
