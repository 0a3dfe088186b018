"""The Gumbel distribution: the largest of many exponential variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _functions
from unspool.distributions.location_scale import LocationScale

__all__ = ["EULER", "Gumbel"]

EULER = 0.57721566490153286060


class Gumbel(LocationScale):
    """Density exp(-y - exp(-y)) / scale with y = (x - loc) / scale."""

    @property
    def mean(self) -> Any:
        return self.loc + self.scale * EULER

    @property
    def stddev(self) -> Any:
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self) -> Any:
        return self.stddev.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        limits = _functions.finfo(self.loc.dtype)
        u = self.loc.new_empty(self._extended_shape(sample_shape)).uniform_()
        return self.icdf(limits.tiny + u * (1 - limits.eps - limits.tiny))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Any:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Any:
        return self.scale.log() + (1 + EULER)
