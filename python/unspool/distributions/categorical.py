"""The categorical distribution: one of K classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool._functions import finfo, multinomial
from unspool.distributions import constraints
from unspool.distributions.constraints import Constraint
from unspool.distributions.distribution import Distribution, one_of

__all__ = ["Categorical"]


class Categorical(Distribution):
    """An index from 0 to K-1, by `probs` (…, K), which are normalised, or by `logits`, their logarithms."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name = one_of(probs, logits)
        given: Any = logits if probs is None else probs
        if given.dim() < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        given = given - given.logsumexp(-1, keepdim=True) if probs is None else given / given.sum(-1, keepdim=True)
        setattr(self, name, given)
        self._num_events: int = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """Probabilities (…, K)."""
        return self.logits.softmax(-1)

    @cached_property
    def logits(self) -> Any:
        """Logarithms of the probabilities (…, K), which are kept off 0 and 1 by the dtype's eps."""
        eps = finfo(self.probs.dtype).eps
        return self.probs.clamp(min=eps, max=1 - eps).log()

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter, batch_shape + (K,)."""
        return _core.Size((*self._batch_shape, self._num_events))

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Any:
        return _core.full(self._batch_shape, math.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Any:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Any:
        return self.mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        rows = self.probs.detach().reshape((-1, self._num_events))
        drawn = multinomial(rows, math.prod(sample_shape), True).T
        return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        index, table = _functions.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return table.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Any:
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)  # 0·(-inf) is 0 here
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        values = _core.arange(self._num_events).reshape((-1, *(1 for _ in self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values
