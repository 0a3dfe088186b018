"""The Pareto distribution and the generalised one of excesses over a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.constraints import Constraint
from unspool.distributions.distribution import Distribution, broadcast_all
from unspool.distributions.exponential import Exponential
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import AffineTransform, ExpTransform

__all__ = ["GeneralizedPareto", "Pareto"]


class Pareto(TransformedDistribution):
    """Density alpha · scale^alpha / x^(alpha + 1) for x ≥ scale; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {"alpha": constraints.positive, "scale": constraints.positive}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args)
        super().__init__(base, [ExpTransform(), AffineTransform(0, self.scale)], validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        return Pareto(self.scale.expand(batch_shape), self.alpha.expand(batch_shape), False)

    @property
    def mean(self) -> Any:
        a = self.alpha.clamp(min=1)  # infinite up to 1
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        a = self.alpha.clamp(min=2)
        return self.scale.pow(2) * a / ((a - 1).pow(2) * (a - 2))

    @property
    def support(self) -> Constraint:
        """Which values may be drawn."""
        return constraints.greater_than_eq(self.scale)

    def entropy(self) -> Any:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class GeneralizedPareto(Distribution):
    """P(X > x) = (1 + concentration · z)^(-1/concentration), z = (x - loc) / scale, e^-z where concentration is 0."""

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(_core.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def _zero(self) -> Any:
        return self.concentration.abs() <= 1e-8

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero = self._zero()
        c = _core.where(zero, 1.0, self.concentration)
        y = -(1 / c + 1) * (c * z).log1p()
        return _core.where(z >= 0, _core.where(zero, -z, y) - self.scale.log(), -math.inf)

    def log_survival_function(self, value: Any) -> Any:
        """log P(X > value)."""
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero = self._zero()
        c = _core.where(zero, 1.0, self.concentration)
        return _core.where(zero, -z, -(c * z).log1p() / c)

    def log_cdf(self, value: Any) -> Any:
        """log P(X ≤ value)."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Any:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Any:
        zero = self._zero()
        c = _core.where(zero, 1.0, self.concentration)
        tail = -(-value).log1p()
        return self.loc + self.scale * _core.where(zero, tail, (c * tail).expm1() / c)

    @property
    def mean(self) -> Any:
        c = self.concentration
        return _core.where(c < 1, self.loc + self.scale / (1 - c), math.nan)

    @property
    def variance(self) -> Any:
        c = self.concentration
        return _core.where(c < 0.5, self.scale.pow(2) / ((1 - c).pow(2) * (1 - 2 * c)), math.nan)

    @property
    def mode(self) -> Any:
        return self.loc

    def entropy(self) -> Any:
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)

    @property
    def support(self) -> Constraint:
        """Which values may be drawn."""
        c = self.concentration
        end = self.loc - self.scale / _core.where(c < 0, c, 1.0)
        return constraints.interval(self.loc, _core.where(c < 0, end, math.inf))
