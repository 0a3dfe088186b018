"""The Kumaraswamy distribution on (0, 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool.distributions import constraints
from unspool.distributions.distribution import broadcast_all
from unspool.distributions.gumbel import EULER
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import AffineTransform, PowerTransform
from unspool.distributions.uniform import Uniform

__all__ = ["Kumaraswamy"]


def _moment(a: Any, b: Any, n: int) -> Any:
    first = 1 + n / a
    return (b.log() + first.lgamma() + b.lgamma() - (first + b).lgamma()).exp()


class Kumaraswamy(TransformedDistribution):
    """P(X ≤ x) = 1 - (1 - x^a)^b, a and b being concentration1 and concentration0; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        eps = _functions.finfo(self.concentration0.dtype).eps
        full = _core.full_like(self.concentration0, 1.0 - 2 * eps, requires_grad=False)
        base = Uniform(_core.full_like(full, eps), full + eps, validate_args)
        maps = [
            PowerTransform(self.concentration0.reciprocal()),
            AffineTransform(1.0, -1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]
        super().__init__(base, maps, validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        return Kumaraswamy(self.concentration1.expand(batch_shape), self.concentration0.expand(batch_shape), False)

    @property
    def mean(self) -> Any:
        return _moment(self.concentration1, self.concentration0, 1)

    @property
    def mode(self) -> Any:
        a, b = self.concentration1, self.concentration0
        y = a.reciprocal() * (-b).log1p() - a.reciprocal() * (-a * b).log1p()
        return _core.where((a < 1) | (b < 1), math.nan, y.exp())

    @property
    def variance(self) -> Any:
        return _moment(self.concentration1, self.concentration0, 2) - self.mean.pow(2)

    def entropy(self) -> Any:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + EULER
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()
