"""A mixture of distributions of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.distributions.categorical import Categorical
from unspool.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """Component k, the last dimension of the components' batch, is drawn with the k-th probability of the mixture.

    Raises:
        ValueError: the mixture is no Categorical, the components no Distribution, or their shapes don't fit.
    """

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                f"MixtureSameFamily: the mixture must be a Categorical, got {type(mixture_distribution).__name__}"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                f"MixtureSameFamily: the components must be a Distribution, got {type(component_distribution).__name__}"
            )
        batch = component_distribution.batch_shape
        shape = mixture_distribution.logits.shape  # asked for here as in PyTorch, so that both print it
        fits = all(i == j or 1 in (i, j) for i, j in zip(reversed(shape), reversed(batch), strict=False))
        if not fits or shape[-1] != batch[-1]:
            raise ValueError(
                f"MixtureSameFamily: the mixture has probabilities of shape {tuple(shape)}, which doesn't fit "
                f"components of batch_shape {tuple(batch)}"
            )
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        k = self.mixture_distribution.param_shape[-1]
        return type(self)(
            self.mixture_distribution.expand(batch_shape),
            self.component_distribution.expand((*batch_shape, k)),
            self._validate_args,
        )

    @property
    def support(self) -> Any:
        return self.component_distribution.support if not self._event_shape else None

    def _weights(self) -> Any:
        """Probabilities that broadcast with the components' moments."""
        p = self.mixture_distribution.probs
        return p.reshape((*p.shape, *(1 for _ in self._event_shape)))

    @property
    def mean(self) -> Any:
        return (self._weights() * self.component_distribution.mean).sum(self._dim)

    @property
    def variance(self) -> Any:
        components = self.component_distribution
        spread = (components.mean - self.mean.unsqueeze(self._dim)).pow(2)
        return (self._weights() * components.variance).sum(self._dim) + (self._weights() * spread).sum(self._dim)

    @property
    def _dim(self) -> int:
        """Where components stand, counted from the end."""
        return -1 - len(self._event_shape)

    def cdf(self, value: Any) -> Any:
        below = self.component_distribution.cdf(value.unsqueeze(self._dim))
        return (below * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        inside = self.component_distribution.log_prob(value.unsqueeze(self._dim))
        return (inside + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            chosen = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            dim = drawn.dim() + self._dim
            index = chosen.reshape((*chosen.shape, *(1 for _ in range(drawn.dim() - chosen.dim()))))
            index = index.expand((*drawn.shape[:dim], 1, *self._event_shape))
            return _core.gather(drawn, dim, index).squeeze(dim)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
