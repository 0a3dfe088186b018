"""The relaxed Bernoulli distribution: a number near 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool.distributions import constraints
from unspool.distributions.bernoulli import ByProbability, clamp_probs
from unspool.distributions.distribution import broadcast_all
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import SigmoidTransform

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(ByProbability):
    """The logit of a `RelaxedBernoulli`; C. J. Maddison and others, 2017."""

    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        p = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(_core.rand(shape, dtype=p.dtype))
        return (u.log() - (-u).log1p() + p.log() - (-p).log1p()) / self.temperature

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        return self.temperature.log() + difference - 2 * difference.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """sigmoid((logits + logistic noise) / temperature), by `probs` or `logits`."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args)

    @property
    def temperature(self) -> Any:
        """0 gives 0 and 1, large ones the middle."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Any:
        """The probability of 1."""
        return self.base_dist.probs

    @property
    def logits(self) -> Any:
        """Its logit."""
        return self.base_dist.logits
