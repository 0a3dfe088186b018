"""What distributions of loc + scale · (a fixed variable, symmetric about 0) have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["LocationScale"]


class LocationScale(Distribution):
    """Parameters are numbers or tensors that broadcast."""

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc
