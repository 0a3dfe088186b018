"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core
from unspool._functions import finfo, igamma, xlogy
from unspool._functions.draws import _standard_gamma
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["Gamma"]


def detached(name: str, parameter: Any) -> Any:
    """The parameter of a draw by rejection; NotImplementedError where a gradient of the draw is asked for."""
    if parameter.requires_grad and _core.is_grad_enabled():
        raise NotImplementedError(f"{name}: draws have no gradient by the concentration here; use sample")
    return parameter.detach()


class Gamma(Distribution):
    """Density rate^a · x^(a-1) · exp(-rate · x) / Γ(a) for x ≥ 0, a the concentration; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws as a function of the rate; of the concentration they have no gradient, which raises."""
        shape = self._extended_shape(sample_shape)
        drawn = _standard_gamma(detached("Gamma", self.concentration).expand(shape)) / self.rate.expand(shape)
        drawn.detach().clamp_(min=finfo(drawn.dtype).tiny)
        return drawn

    def log_prob(self, value: Any) -> Any:
        value = _core.as_tensor(value, dtype=self.rate.dtype)
        self._validate_sample(value)
        a = self.concentration
        return xlogy(a, self.rate) + xlogy(a - 1, value) - self.rate * value - a.lgamma()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return igamma(self.concentration, self.rate * value)

    def entropy(self) -> Any:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()
