"""Student's t-distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.chi2 import Chi2
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["StudentT"]


class StudentT(Distribution):
    """loc + scale · x / √(z / df) for x standard normal and z from χ² with df degrees of freedom."""

    arg_constraints: ClassVar[Any] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return _core.where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        return _core.where(self.df > 2, finite, _core.where(self.df > 1, math.inf, _core.full_like(self.df, math.nan)))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws as a function of loc and scale; of df they have no gradient, which raises."""
        x = self.df.new_empty(self._extended_shape(sample_shape)).normal_()
        z = Chi2(self.df).rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        df = self.df
        y = (value - self.loc) / self.scale
        halves = (0.5 * df).lgamma() - (0.5 * (df + 1.0)).lgamma()
        norm = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + halves
        return -0.5 * (df + 1.0) * (y.square() / df).log1p() - norm

    def entropy(self) -> Any:
        low, high = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = low.lgamma() + math.lgamma(0.5) - high.lgamma()
        return self.scale.log() + high * (high.digamma() - low.digamma()) + 0.5 * self.df.log() + log_beta
