"""The normal distribution of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _functions, linalg
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Distribution):
    """N(loc, Σ) of vectors (…, d), Σ given as covariance_matrix, precision_matrix (Σ⁻¹) or scale_tril (Σ = L·Lᵀ).

    Raises:
        ValueError: not exactly one of the three is given, or `loc` is a number.
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {name: m for name, m in matrices.items() if m is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = _functions.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch, *matrix.shape[-2:])))
        self.loc = loc.expand((*batch, loc.shape[-1]))
        super().__init__(batch, self.loc.shape[-1:], validate_args)

    @cached_property
    def scale_tril(self) -> Any:
        """L, the lower triangular root of Σ."""
        return self._root

    @cached_property
    def _root(self) -> Any:
        # not scale_tril itself: the printed form shows what was given or asked for
        given = self.__dict__
        if "scale_tril" in given:
            return self.scale_tril
        return linalg.cholesky(
            given["covariance_matrix"] if "covariance_matrix" in given else linalg.inv(self.precision_matrix)
        )

    @cached_property
    def covariance_matrix(self) -> Any:
        """Σ."""
        if "precision_matrix" in self.__dict__:
            return linalg.inv(self.precision_matrix)
        return self._root @ self._root.transpose(-2, -1)

    @cached_property
    def precision_matrix(self) -> Any:
        """Σ⁻¹."""
        return linalg.inv(self.covariance_matrix)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self._root.pow(2).sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        eps = self.loc.new_empty(self._extended_shape(sample_shape)).normal_()
        return self.loc + (self._root @ eps.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Any:
        return self._root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        shift = (value - self.loc).unsqueeze(-1)
        root = self._root.expand((*shift.shape[:-2], *self._root.shape[-2:]))
        distance = linalg.solve(root, shift).squeeze(-1).pow(2).sum(-1)
        d = self._event_shape[0]
        return -0.5 * (d * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self) -> Any:
        return 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
