"""The geometric distribution of failures before a success."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._functions import finfo
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.bernoulli import ByProbability
from unspool.distributions.distribution import broadcast_all
from unspool.nn.functional import binary_cross_entropy_with_logits

__all__ = ["Geometric"]


class Geometric(ByProbability):
    """k with probability (1 - p)^k · p; p is given as `probs` or by its `logits`.

    Raises:
        ValueError: p is 0.
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            raise ValueError(
                f"Expected parameter probs ({type(self.probs).__name__} of shape {tuple(self.probs.shape)}) of "
                f"distribution {self!r} to be positive but found invalid values:\n{self.probs[self.probs <= 0]}"
            )

    @property
    def mean(self) -> Any:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        return _core.zeros_like(self.probs)

    @property
    def variance(self) -> Any:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            u = self.probs.new_empty(self._extended_shape(sample_shape)).uniform_(finfo(self.probs.dtype).tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        sure = (probs == 1).logical_and(value == 0)  # 0 · log 0 is 0 here
        return value * (-probs.masked_fill(sure, 0)).log1p() + self.probs.log()

    def entropy(self) -> Any:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
