"""The negative binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core
from unspool._functions import poisson
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all, one_of
from unspool.distributions.gamma import Gamma

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Distribution):
    """How many trials of probability `probs` succeed before total_count fail; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name = one_of(probs, logits)
        self.total_count, given = broadcast_all(total_count, logits if probs is None else probs)
        self.total_count = self.total_count.type_as(given)
        setattr(self, name, given)
        super().__init__(given.shape, validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """Of a success."""
        return self.logits.sigmoid()

    @cached_property
    def logits(self) -> Any:
        """log(probs / (1 - probs))."""
        return self.probs.log() - (-self.probs).log1p()

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return poisson(Gamma(self.total_count, (-self.logits).exp(), False).sample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        from unspool.nn.functional import logsigmoid

        self._validate_sample(value)
        n = self.total_count
        likely = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        ways = -(n + value).lgamma() + (1.0 + value).lgamma() + n.lgamma()
        return likely - _core.where(n + value == 0.0, 0.0, ways)
