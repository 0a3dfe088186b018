"""The χ² distribution: the sum of squares of standard normal variables."""

from __future__ import annotations

from typing import Any, ClassVar

from unspool.distributions import constraints
from unspool.distributions.gamma import Gamma

__all__ = ["Chi2"]


class Chi2(Gamma):
    """The sum of `df` squares, which need not be a whole number of them."""

    arg_constraints: ClassVar[Any] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args)

    def expand(self, batch_shape: Any) -> Any:
        new = super().expand(batch_shape)
        new.concentration, new.rate = self.concentration.expand(batch_shape), self.rate.expand(batch_shape)
        return new

    @property
    def df(self) -> Any:
        """Degrees of freedom."""
        return self.concentration * 2
