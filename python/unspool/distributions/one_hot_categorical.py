"""One class of K, as a vector with a 1 in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.categorical import Categorical
from unspool.distributions.distribution import Distribution

__all__ = ["OneHotCategorical", "OneHotCategoricalStraightThrough"]


def _one_hot(index: Any, like: Any) -> Any:
    from unspool.nn.functional import one_hot

    return one_hot(index, like.shape[-1]).to(like.dtype)


class OfCategorical(Distribution):
    """Distributions of vectors that hold a `Categorical`, whose parameters are theirs."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        new = super().expand(batch_shape)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @property
    def probs(self) -> Any:
        """Probabilities (…, K)."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter, batch_shape + (K,)."""
        return self._categorical.param_shape


class OneHotCategorical(OfCategorical):
    """A vector of zeros with one 1, by `probs` (…, K) or `logits`."""

    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return _one_hot(self.probs.argmax(-1), self.probs)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return _one_hot(self._categorical.sample(sample_shape), self.probs)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Any:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Any:
        n = self._event_shape[0]
        values = _core.eye(n, dtype=self.probs.dtype).reshape((n, *(1 for _ in self._batch_shape), n))
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """The same, with draws whose gradient is that of the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return super().sample(sample_shape)
