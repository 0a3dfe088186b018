"""The half-Cauchy distribution: the size of a Cauchy variable with median 0."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.cauchy import Cauchy
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import AbsTransform

__all__ = ["HalfCauchy"]


class HalfCauchy(TransformedDistribution):
    """|x| for x from Cauchy(0, scale)."""

    arg_constraints: ClassVar[Any] = {"scale": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0, scale, False), AbsTransform(), validate_args)

    @property
    def scale(self) -> Any:
        """Of the Cauchy variable."""
        return self.base_dist.scale

    @property
    def mean(self) -> Any:
        return _core.full(self._extended_shape(), math.inf, dtype=self.scale.dtype)

    @property
    def mode(self) -> Any:
        return _core.zeros_like(self.scale)

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value = _core.as_tensor(value, dtype=self.scale.dtype)
        return _core.where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Any) -> Any:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Any:
        return self.base_dist.entropy() - math.log(2)
