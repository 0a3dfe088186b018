"""The normal distribution of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _functions, linalg
from unspool.distributions import constraints
from unspool.distributions._covariance import MATRICES, Covariance, given
from unspool.distributions.distribution import Distribution

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Covariance, Distribution):
    """N(loc, Σ) of vectors (…, d), Σ given as covariance_matrix, precision_matrix (Σ⁻¹) or scale_tril (Σ = L·Lᵀ).

    Raises:
        ValueError: not exactly one of the three is given, or `loc` is a number.
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real_vector, **MATRICES}
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
        name, matrix = given(covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = _functions.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch, *matrix.shape[-2:])))
        self.loc = loc.expand((*batch, loc.shape[-1]))
        super().__init__(batch, self.loc.shape[-1:], validate_args)

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
