"""The Poisson distribution of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool._functions import poisson
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["Poisson"]


class Poisson(Distribution):
    """k with probability rate^k · exp(-rate) / k!; the rate is a number or a tensor."""

    arg_constraints: ClassVar[Any] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.rate

    @property
    def mode(self) -> Any:
        return self.rate.floor()

    @property
    def variance(self) -> Any:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - (value + 1).lgamma()
