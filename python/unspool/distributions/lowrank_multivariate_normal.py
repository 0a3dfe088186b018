"""The normal distribution of vectors whose covariance is diagonal but for a few directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core, _functions, linalg
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """N(loc, W·Wᵀ + D) of vectors (…, d): cov_factor W (…, d, r) and cov_diag, the diagonal of D, (…, d).

    Raises:
        ValueError: shapes that don't fit.
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.shape[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {tuple(event)}")
        try:
            batch = _functions.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            ) from error
        self.loc, self.cov_diag = loc.expand((*batch, *event)), cov_diag.expand((*batch, *event))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        super().__init__(batch, event, validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @cached_property
    def variance(self) -> Any:
        return (self.cov_factor.pow(2).sum(-1) + self.cov_diag).expand(self._batch_shape + self._event_shape)

    @cached_property
    def covariance_matrix(self) -> Any:
        """W·Wᵀ + D."""
        return self.cov_factor @ self.cov_factor.mT + _functions.diag_embed(self.cov_diag)

    @cached_property
    def scale_tril(self) -> Any:
        """The lower triangular root of the covariance."""
        return linalg.cholesky(self.covariance_matrix)

    @cached_property
    def precision_matrix(self) -> Any:
        """The covariance's inverse."""
        return linalg.inv(self.covariance_matrix)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        few = _core.randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=self.loc.dtype)
        each = _core.randn(shape, dtype=self.loc.dtype)
        return self.loc + (self.cov_factor @ few.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * each

    @cached_property
    def _capacitance_root(self) -> Any:
        """The root of I + Wᵀ·D⁻¹·W, which has r rows."""
        small = (self.cov_factor.mT / self.cov_diag.unsqueeze(-2)) @ self.cov_factor  # (r×d)·(d×r) → (r×r)
        return linalg.cholesky(small + _core.eye(small.shape[-1], dtype=small.dtype))

    def _log_det(self) -> Any:
        root = self._capacitance_root
        return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        """By Woodbury's formula and the determinant lemma: products of r × r, none of d × d."""
        self._validate_sample(value)
        shift = value - self.loc
        seen = (self.cov_factor.mT / self.cov_diag.unsqueeze(-2)) @ shift.unsqueeze(-1)  # Wᵀ·D⁻¹·x
        root = self._capacitance_root
        root = root.expand((*seen.shape[:-2], *root.shape[-2:]))
        less = linalg.solve_triangular(root, seen, upper=False).pow(2).sum((-2, -1))
        distance = (shift.pow(2) / self.cov_diag).sum(-1) - less
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self) -> Any:
        h = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return h.expand(self._batch_shape)
