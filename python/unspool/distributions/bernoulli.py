"""The Bernoulli distribution: 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core
from unspool._functions import bernoulli, finfo
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all, one_of
from unspool.nn.functional import binary_cross_entropy_with_logits

__all__ = ["Bernoulli", "ByProbability", "clamp_probs"]


class ByProbability(Distribution):
    """Distributions of a probability, given itself or as its logit, each a number or a tensor."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name = one_of(probs, logits)
        (given,) = broadcast_all(logits if probs is None else probs)
        setattr(self, name, given)
        super().__init__(given.shape, validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """The probability."""
        return self.logits.sigmoid()

    @cached_property
    def logits(self) -> Any:
        """log(p / (1 - p)), with p kept off 0 and 1 by the dtype's eps."""
        p = clamp_probs(self.probs)
        return p.log() - (-p).log1p()


def clamp_probs(p: Any) -> Any:
    """`p`, kept off 0 and 1 by its dtype's eps."""
    eps = finfo(p.dtype).eps
    return p.clamp(min=eps, max=1 - eps)


class Bernoulli(ByProbability):
    """1 with probability `probs`, given itself or as `logits`, log(p / (1 - p)); a number or a tensor."""

    support = constraints.boolean
    has_enumerate_support = True

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return _core.where(self.probs == 0.5, float("nan"), (self.probs >= 0.5).to(self.probs.dtype))

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Any:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Any:
        values = _core.arange(2, dtype=self.probs.dtype).reshape((-1, *(1 for _ in self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values
