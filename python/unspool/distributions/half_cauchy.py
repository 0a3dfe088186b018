"""The half-Cauchy distribution: the size of a Cauchy variable with median 0."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool.distributions._half import Half
from unspool.distributions.cauchy import Cauchy

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """|x| for x from Cauchy(0, scale)."""

    _whole = Cauchy

    @property
    def mean(self) -> Any:
        return _core.full(self._extended_shape(), math.inf, dtype=self.scale.dtype)

    @property
    def variance(self) -> Any:
        return self.base_dist.variance
