"""The Dirichlet distribution: positive numbers that sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from unspool import _core
from unspool._functions import xlogy
from unspool._functions._methods import as_array
from unspool._functions.draws import _gammas
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution
from unspool.distributions.gamma import detached

__all__ = ["Dirichlet"]


class Dirichlet(Distribution):
    """Density in proportion to Π xᵢ^(aᵢ - 1), a the concentration (…, K).

    Raises:
        ValueError: the concentration is a number.
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Any:
        from unspool.nn.functional import one_hot

        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        corner = one_hot(mode.argmax(-1), mode.shape[-1]).to(mode.dtype)
        return _core.where((self.concentration < 1).all(-1, True), corner, mode)

    @property
    def variance(self) -> Any:
        a, total = self.concentration, self.concentration.sum(-1, True)
        return a * (total - a) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws, of gamma variables; they have no gradient, and a concentration that requires one raises."""
        a = detached("Dirichlet", self.concentration).expand(self._extended_shape(sample_shape))
        gammas = np.maximum(_gammas(as_array(a).astype(np.float64)), np.finfo(np.float64).tiny)
        shares = gammas / gammas.sum(-1, keepdims=True)
        kind = as_array(a).dtype
        below_1 = np.nextafter(kind.type(1), kind.type(0))
        return _core.tensor(shares.clip(np.finfo(kind).tiny, below_1).astype(kind)).to(a.dtype)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a = self.concentration
        return xlogy(a - 1.0, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Any:
        a, total = self.concentration, self.concentration.sum(-1)
        spread = a.lgamma().sum(-1) - total.lgamma() - (a.shape[-1] - total) * total.digamma()
        return spread - ((a - 1.0) * a.digamma()).sum(-1)
