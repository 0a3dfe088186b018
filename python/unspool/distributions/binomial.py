"""The binomial distribution of successes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool._functions import binomial
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.bernoulli import ByProbability
from unspool.distributions.distribution import broadcast_all, one_of

__all__ = ["Binomial"]


class Binomial(ByProbability):
    """How many of `total_count` trials succeed, each with probability `probs`, or by its `logits`."""

    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name = one_of(probs, logits)
        count, given = broadcast_all(total_count, logits if probs is None else probs)
        self.total_count = count.to(given.dtype)
        super().__init__(**{name: given}, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Which values may be drawn."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        above = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2  # max(logits, 0), of slope 1/2 at 0
        # the terms in PyTorch's order: they are large, and cancel
        norm = n * above + n * (-logits.abs()).exp().log1p() - (n + 1).lgamma()
        return value * logits - (value + 1).lgamma() - (n - value + 1).lgamma() - norm

    def _count(self, op: str) -> int:
        count = int(self.total_count.max())
        if int(self.total_count.min()) != count:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{op}`.")
        return count

    def entropy(self) -> Any:
        self._count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Any:
        count = self._count("enumerate_support")
        values = _core.arange(1 + count, dtype=self.total_count.dtype)
        values = values.reshape((-1, *(1 for _ in self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values
