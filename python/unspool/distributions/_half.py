"""|x| for x from a distribution that is symmetric about 0: `HalfNormal`, `HalfCauchy`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import AbsTransform

__all__ = ["Half"]


class Half(TransformedDistribution):
    """|x| for x from `whole(0, scale)`."""

    arg_constraints: ClassVar[Any] = {"scale": constraints.positive}
    support = constraints.nonnegative
    _whole: ClassVar[Any]

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._whole(0, scale, False), AbsTransform(), validate_args)

    @property
    def scale(self) -> Any:
        """Of the variable with both signs."""
        return self.base_dist.scale

    @property
    def mode(self) -> Any:
        return _core.zeros_like(self.scale)

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
