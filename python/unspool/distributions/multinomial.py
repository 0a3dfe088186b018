"""The multinomial distribution of counts by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.binomial import Binomial
from unspool.distributions.distribution import broadcast_all
from unspool.distributions.one_hot_categorical import OfCategorical

__all__ = ["Multinomial"]


class Multinomial(OfCategorical):
    """How often each of K classes occurs in `total_count` draws, by `probs` (…, K) or `logits`.

    Raises:
        NotImplementedError: `total_count` is no int.
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> Any:
        """Which values may be drawn."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = _core.zeros(self._extended_shape(sample_shape), dtype=_core.int64)
        counts.scatter_add_(-1, drawn, _core.ones_like(drawn))
        return counts.to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0).logical_and(logits == -math.inf), 0)
        return (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1) + (logits * value).sum(-1)

    def entropy(self) -> Any:
        n = self.total_count
        binomial = Binomial(n, self.probs)
        some = binomial.enumerate_support(expand=False)[1:]
        repeated = (binomial.log_prob(some).exp() * (some + 1).lgamma()).sum([0, -1])
        return n * self._categorical.entropy() - math.lgamma(n + 1) + repeated
