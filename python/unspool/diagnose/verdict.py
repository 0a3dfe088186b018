"""The verdict on a chain of variances: does it vanish, explode, or neither; and where a dtype would end.

g is the least-squares slope of ln Var over the layers, T the change from the first to the last. A chain is sick where
|g| > 0.25 and |T| > ln 1000: a factor of 1.28 a layer, and of 1000 altogether.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LIMITS", "SLOPE", "TOTAL", "Verdict", "judge", "limit_depths"]

SLOPE = 0.25
TOTAL = math.log(1000.0)

# ln of the largest finite and of the smallest normal number
LIMITS: dict[str, tuple[float, float]] = {
    "float32": (math.log(2.0) * 128, math.log(2.0) * -126),
    "bfloat16": (math.log(2.0) * 128 + math.log1p(-(2.0**-8)), math.log(2.0) * -126),
    "float16": (math.log(65504.0), math.log(2.0) * -14),
}


@dataclass(frozen=True)
class Verdict:
    """`label` is 'healthy', 'vanishing' or 'exploding'; `slope` and `total` are g and T, `layers` how many counted."""

    label: str
    slope: float
    total: float
    layers: int

    @property
    def factor(self) -> float:
        """By which the variance changes from a layer to the next, on the whole."""
        return math.exp(min(self.slope, 700.0))


def judge(ln_vars: Sequence[float]) -> Verdict:
    """The verdict on ln Var of each layer, in the order in which the signal passes.

    What comes after a layer without a finite variance (all units dead, or overflow) isn't counted.
    """
    chain: list[float] = []
    for value in ln_vars:
        if not math.isfinite(value):
            break
        chain.append(value)
    if len(chain) < 2:
        return Verdict("healthy", 0.0, 0.0, len(chain))
    at = np.arange(len(chain)) - (len(chain) - 1) / 2
    slope = float(at @ np.asarray(chain) / (at @ at))
    total = chain[-1] - chain[0]
    if abs(slope) <= SLOPE or abs(total) <= TOTAL:
        return Verdict("healthy", slope, total, len(chain))
    return Verdict("exploding" if slope > 0 else "vanishing", slope, total, len(chain))


def limit_depths(ln_max: Sequence[float], verdict: Verdict) -> dict[str, int | None]:
    """The layer, counted from 1, at which each dtype would overflow (exploding) or underflow (vanishing).

    `ln_max` is the logarithm of each layer's largest magnitude. Overflow: it is above the largest finite number.
    Underflow: it is below the smallest normal one, so that every number loses digits. Beyond the last layer the
    slope is followed on; None where the chain never comes there.
    """
    depths: dict[str, int | None] = {}
    sign = 1 if verdict.slope > 0 else -1
    for name, (top, bottom) in LIMITS.items():
        limit = top if sign > 0 else bottom
        passed = [i for i, value in enumerate(ln_max, 1) if sign * value > sign * limit]
        if passed:
            depths[name] = passed[0]
        elif verdict.label == "healthy" or not math.isfinite(ln_max[-1]):
            depths[name] = None
        else:  # the magnitude is the variance's root
            depths[name] = len(ln_max) + math.ceil((limit - ln_max[-1]) / (verdict.slope / 2))
    return depths
