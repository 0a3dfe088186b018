"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["VonMises"]

# Abramowitz, Stegun, 9.8.1 to 9.8.4: I₀ and I₁ by polynomials of (x / 3.75)², and beyond 3.75 of 3.75 / x.
_SMALL = (
    (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.360768e-1, 0.45813e-2),
    (0.5, 0.87890594, 0.51498869, 0.15084934, 0.2658733e-1, 0.301532e-2, 0.32411e-3),
)
_LARGE = (
    (0.39894228, 0.1328592e-1, 0.225319e-2, -0.157565e-2, 0.916281e-2, -0.2057706e-1, 0.2635537e-1, -0.1647633e-1,
     0.392377e-2),
    (0.39894228, -0.3988024e-1, -0.362018e-2, 0.163801e-2, -0.1031555e-1, 0.2282967e-1, -0.2895312e-1, 0.1787654e-1,
     -0.420059e-2),
)  # fmt: skip


def _polynomial(x: Any, factors: Sequence[float]) -> Any:
    y: Any = factors[-1]
    for factor in reversed(factors[:-1]):
        y = factor + x * y
    return y


def _log_bessel(x: Any, order: int) -> Any:
    """log I(x) for x > 0, of order 0 or 1."""
    small = _polynomial((x / 3.75).pow(2), _SMALL[order])
    small = (x.abs() * small if order else small).log()
    large = x - 0.5 * x.log() + _polynomial(3.75 / x, _LARGE[order]).log()
    return _core.where(x < 3.75, small, large)


class VonMises(Distribution):
    """Density exp(concentration · cos(x - loc)) / (2π I₀(concentration)) of angles from -π to π; numbers or tensors."""

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        k = self.concentration
        return k * (value - self.loc).cos() - math.log(2 * math.pi) - _log_bessel(k, 0)

    @cached_property
    def _proposal_r(self) -> Any:
        k = self.concentration.double()
        tau = 1 + (1 + 4 * k**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        # where k is small the exact form cancels
        return _core.where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws by rejection. (Best, Fisher, 1979)"""
        with no_grad():
            shape = self._extended_shape(sample_shape)
            loc, k, r = (t.expand(shape) for t in (self.loc.double(), self.concentration.double(), self._proposal_r))
            x = _core.empty(shape, dtype=_core.float64)
            done = _core.zeros(shape, dtype=_core.bool)
            while not bool(done.all()):
                u1, u2, u3 = _core.rand((3, *shape), dtype=_core.float64).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                taken = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                x = _core.where(taken, (u3 - 0.5).sign() * f.acos(), x)
                done = done | taken
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @cached_property
    def variance(self) -> Any:
        """The circular one, 1 - I₁ / I₀."""
        k = self.concentration
        return 1 - (_log_bessel(k, 1) - _log_bessel(k, 0)).exp()
