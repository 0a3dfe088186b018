"""The continuous Bernoulli distribution on [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all, one_of

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Distribution):
    """Density proportional to p^x · (1 - p)^(1 - x) for x in [0, 1]. (Loaiza-Ganem, Cunningham, 2019)

    Near p = 1/2, within `lims`, Taylor series stand for what would be 0 / 0.
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        name = one_of(probs, logits)
        (given,) = broadcast_all(logits if probs is None else probs)
        if name == "probs":
            if (self._validate_args if validate_args is None else validate_args) and not bool(
                self.arg_constraints["probs"].check(given).all()
            ):
                raise ValueError("The parameter probs has invalid values")
            eps = _functions.finfo(given.dtype).eps
            given = given.clamp(min=eps, max=1 - eps)
        setattr(self, name, given)
        self._lims = lims
        super().__init__(given.shape, validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """p."""
        eps = _functions.finfo(self.logits.dtype).eps
        return self.logits.sigmoid().clamp(min=eps, max=1 - eps)

    @cached_property
    def logits(self) -> Any:
        """log(p / (1 - p))."""
        return self.probs.log() - (-self.probs).log1p()

    def _outside(self) -> Any:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Any:
        return _core.where(self._outside(), self.probs, self._lims[0])

    def _log_norm(self) -> Any:
        cut = self._cut()
        low = _core.where(cut <= 0.5, cut, 0.0)
        high = _core.where(cut >= 0.5, cut, 1.0)
        apart = ((-cut).log1p() - cut.log()).abs().log()
        exact = apart - _core.where(cut <= 0.5, (-2.0 * low).log1p(), (2.0 * high - 1.0).log())
        x = (self.probs - 0.5).pow(2)
        return _core.where(self._outside(), exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Any:
        cut, x = self._cut(), self.probs - 0.5
        exact = cut / (2.0 * cut - 1.0) + 1.0 / ((-cut).log1p() - cut.log())
        return _core.where(self._outside(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def variance(self) -> Any:
        cut, x = self._cut(), (self.probs - 0.5).pow(2)
        exact = cut * (cut - 1.0) / (1.0 - 2.0 * cut).pow(2) + 1.0 / ((-cut).log1p() - cut.log()).pow(2)
        return _core.where(self._outside(), exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    @property
    def stddev(self) -> Any:
        return self.variance.sqrt()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(_core.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Any) -> Any:
        from unspool.nn.functional import binary_cross_entropy_with_logits

        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_norm()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        cut = self._cut()
        y = (cut.pow(value) * (1.0 - cut).pow(1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        inner = _core.where(self._outside(), y, value)
        return _core.where(value <= 0.0, 0.0, _core.where(value >= 1.0, 1.0, inner))

    def icdf(self, value: Any) -> Any:
        cut = self._cut()
        y = ((-cut + value * (2.0 * cut - 1.0)).log1p() - (-cut).log1p()) / (cut.log() - (-cut).log1p())
        return _core.where(self._outside(), y, value)

    def entropy(self) -> Any:
        return self.mean * ((-self.probs).log1p() - self.probs.log()) - self._log_norm() - (-self.probs).log1p()
