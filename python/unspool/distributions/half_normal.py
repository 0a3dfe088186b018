"""The half-normal distribution: the size of a normal variable with mean 0."""

from __future__ import annotations

import math
from typing import Any

from unspool.distributions._half import Half
from unspool.distributions.normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Half):
    """|x| for x from N(0, scale²)."""

    _whole = Normal

    @property
    def mean(self) -> Any:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Any:
        return self.scale.pow(2) * (1 - 2 / math.pi)
