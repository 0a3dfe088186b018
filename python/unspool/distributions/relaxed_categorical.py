"""The concrete distribution: a point of the simplex near one of its corners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.bernoulli import clamp_probs
from unspool.distributions.distribution import broadcast_all
from unspool.distributions.one_hot_categorical import OfCategorical
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import ExpTransform

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(OfCategorical):
    """The logarithm of a `RelaxedOneHotCategorical`; C. J. Maddison and others, 2017."""

    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        u = clamp_probs(_core.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, keepdim=True)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        k = self._event_shape[0]
        logits, value = broadcast_all(self.logits, value)
        scale = _core.full_like(self.temperature, float(k)).lgamma() + self.temperature.log() * (k - 1)
        score = logits - value * self.temperature
        return (score - score.logsumexp(-1, keepdim=True)).sum(-1) + scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """softmax((logits + Gumbel noise) / temperature), by `probs` (…, K) or `logits`."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(
            ExpRelaxedCategorical(temperature, probs, logits, validate_args), ExpTransform(), validate_args
        )

    @property
    def temperature(self) -> Any:
        """0 gives corners, large ones the middle."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Any:
        """Probabilities of the corners."""
        return self.base_dist.probs

    @property
    def logits(self) -> Any:
        """Their logarithms."""
        return self.base_dist.logits
