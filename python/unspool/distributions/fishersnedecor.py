"""Fisher's and Snedecor's F distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all
from unspool.distributions.gamma import Gamma

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """(a / df1) / (b / df2) for a and b from χ² distributions of df1 and df2; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return _core.where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)

    @property
    def mode(self) -> Any:
        y = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return _core.where(self.df1 > 2, y, math.nan)

    @property
    def variance(self) -> Any:
        a, b = self.df1, _core.where(self.df2 > 4, self.df2, math.nan)
        return 2 * b.pow(2) * (a + b - 2) / (a * (b - 2).pow(2) * (b - 4))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws; by df1 and df2 they have no gradient, which raises."""
        tiny = _functions.finfo(self.df1.dtype).tiny
        a = Gamma(self.df1 * 0.5, self.df1).rsample(sample_shape)
        b = Gamma(self.df2 * 0.5, self.df2).rsample(sample_shape)
        return (a / b.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a, b = self.df1 * 0.5, self.df2 * 0.5
        ratio = self.df1 / self.df2
        return (
            (a + b).lgamma() - a.lgamma() - b.lgamma() + a * ratio.log() + (a - 1) * value.log()
            - (a + b) * (ratio * value).log1p()
        )  # fmt: skip
