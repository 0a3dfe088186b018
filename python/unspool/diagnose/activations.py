"""What is asked of a nonlinearity: its gain, and where it is flat. Both are read off its curve, so any will do."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unspool.nn import functional
from unspool.nn._init_gain import RECORDED, applied, name_of, second_moment
from unspool.nn._init_layers import ACTIVATIONS

__all__ = ["LINEAR", "Activation", "of_module", "of_node"]

# By the names of their backward. Of those that have settings, which the record doesn't tell, the usual ones are taken.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **RECORDED,
    "CeluBackward": functional.celu,
    "EluBackward": functional.elu,
    "HardtanhBackward": functional.hardtanh,
    "LeakyReluBackward": functional.leaky_relu,
    "SoftplusBackward": functional.softplus,
}
_known: dict[str, Activation] = {}  # by the text of a module, which tells its settings


@dataclass(frozen=True)
class Activation:
    """`gain` is 1 / E[f(z)²] for z ~ N(0, 1), the factor that makes good what f takes from the variance.

    Below `low` and above `high` the slope is under a thousandth of its largest: a unit that stays there learns nothing.
    `near` is the same for a twentieth, None unless f is flat on both sides.
    """

    name: str
    gain: float
    low: float = -math.inf
    high: float = math.inf
    near: tuple[float, float] | None = None

    @property
    def usually_saturated(self) -> float:
        """The share of N(0, 1) that lies beyond `near`."""
        if self.near is None:
            return 0.0
        below, above = (0.5 * math.erfc(z / math.sqrt(2)) for z in (-self.near[0], self.near[1]))
        return below + above

    @property
    def is_rectifier(self) -> bool:
        """Whether a unit whose inputs are all positive is linear."""
        return self.name in ("relu", "leaky_relu", "prelu", "rrelu", "relu6")


LINEAR = Activation("none", 1.0)


def _flat(z: Any, slope: Any, share: float) -> tuple[float, float]:
    steep = np.flatnonzero(slope > share * slope.max())
    first, last = steep[0], steep[-1]
    return (
        -math.inf if first == 0 else round(float(z[first]), 3),
        math.inf if last == len(slope) - 1 else round(float(z[last + 1]), 3),
    )


def _read(phi: Any) -> Activation:
    """Integrate and differentiate f between -12 and 12."""
    z = np.linspace(-12.0, 12.0, 24001)
    slope = np.abs(np.diff(applied((phi,), z)))
    slope = np.minimum(slope, np.quantile(slope, 0.999))  # a jump is no slope
    low, high = _flat(z, slope, 1e-3)
    near = _flat(z, slope, 0.05)
    return Activation(
        name_of((phi,)), 1 / second_moment((phi,)), low, high, near if all(map(math.isfinite, near)) else None
    )


def of_module(module: Any) -> Activation | None:
    """That of a module of nn, with its settings; None where it is none."""
    if type(module) not in ACTIVATIONS:
        return None
    if module._parameters:  # slopes that are learnt
        return _read(module)
    key = repr(module)
    if key not in _known:
        _known[key] = _read(module)
    return _known[key]


@functools.cache
def of_node(name: str) -> Activation | None:
    """That of a function, by the name of its backward, with its usual settings; None where it is none."""
    phi = _FUNCTIONS.get(name.rstrip("0123456789"))
    return None if phi is None else _read(phi)
