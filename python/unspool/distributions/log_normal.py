"""The log-normal distribution: exp of a normal variable."""

from __future__ import annotations

from typing import Any, ClassVar

from unspool.distributions import constraints
from unspool.distributions.normal import Normal
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import ExpTransform

__all__ = ["LogNormal"]


class LogNormal(TransformedDistribution):
    """exp(x) for x from N(loc, scale²)."""

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Any:
        """Of the normal variable."""
        return self.base_dist.loc

    @property
    def scale(self) -> Any:
        """Of the normal variable."""
        return self.base_dist.scale

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale.pow(2) / 2).exp()

    @property
    def mode(self) -> Any:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Any:
        square = self.scale.pow(2)
        return square.expm1() * (2 * self.loc + square).exp()

    def entropy(self) -> Any:
        return self.base_dist.entropy() + self.loc
