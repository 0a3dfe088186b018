"""What is kept of a tensor that passes by: moments, extremes, a sample, effective rank. NumPy in float64.

Sizes are kept as logarithms, of numbers divided by the largest first, so that 1e-200 and 1e200 have a variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unspool import _core

__all__ = ["Stats", "as_matrix", "effective_rank", "norm_of", "stats_of"]

_SAMPLE = 4096  # elements that histograms and shares of saturated ones are made of
_RANK_ROWS = 512  # rows of the Gram matrix at most


@dataclass(frozen=True)
class Stats:
    """Of one tensor, seen as a matrix of examples × units.

    `variance` is over all elements; `ln_var` its logarithm (-inf where all are equal), `ln_max` that of the largest
    magnitude; both are NaN where not all are finite. `unit_*` have a number for each unit.
    """

    mean: float
    ln_var: float
    ln_max: float
    finite: bool
    examples: int
    unit_mean: Any = field(repr=False)
    unit_var: Any = field(repr=False)
    unit_min: Any = field(repr=False)
    unit_max: Any = field(repr=False)
    sample: Any = field(repr=False)
    rank: float | None = None

    @property
    def variance(self) -> float:
        """Over all elements; inf where float64 can't hold it."""
        return math.exp(self.ln_var) if self.ln_var < 709 else math.nan if math.isnan(self.ln_var) else math.inf


def as_matrix(t: Any, axis: int = -1) -> Any:
    """A tensor as a NumPy matrix in float64: (examples and all other dims) × (the units of dim `axis`)."""
    a = np.asarray(t.detach().double().numpy())
    if a.ndim == 0:
        return a.reshape(1, 1)
    if a.ndim == 1:
        return a.reshape(-1, 1)
    return np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])


def effective_rank(a: Any) -> float:
    """(tr G)² / tr(G²) of the Gram matrix G of `a`: r for r equal singular values, 1 for a matrix of rank 1.

    The smaller of a·aᵀ and aᵀ·a is taken, of evenly spread rows where there are more than 512. 0 for zeros.
    """
    if len(a) > _RANK_ROWS:
        a = a[np.linspace(0, len(a) - 1, _RANK_ROWS).astype(int)]
    t = _core.tensor(
        a.astype(np.float32)
    )  # the engine's product: NumPy's threads and its own would be in each other's way
    g = (t @ t.t() if len(a) <= a.shape[1] else t.t() @ t).numpy().astype(np.float64)
    square = float(np.square(g).sum())
    return float(np.trace(g)) ** 2 / square if square > 0 else 0.0


def stats_of(t: Any, axis: int = -1, rank: bool = False) -> Stats:
    """Stats of a tensor whose units lie along the dim `axis`; `rank` asks for the effective rank, too."""
    a = as_matrix(t, axis)
    low, high = a.min(0), a.max(0)
    largest = float(max(abs(low).max(), abs(high).max()))
    sample = a.ravel()[:: max(1, a.size // _SAMPLE)].copy()
    if not math.isfinite(largest):
        nan = np.full(a.shape[1], np.nan)
        return Stats(math.nan, math.nan, math.nan, False, len(a), nan, nan, low, high, sample)
    scale = largest or 1.0
    a = a / scale
    unit_mean = a.mean(0)
    mean = float(unit_mean.mean())
    unit_var = np.square(a - unit_mean).mean(0)
    variance = float(unit_var.mean() + np.square(unit_mean - mean).mean())
    with np.errstate(over="ignore", under="ignore"):
        in_units = unit_mean * scale, unit_var * scale * scale
    return Stats(
        mean * scale,
        math.log(variance) + 2 * math.log(scale) if variance > 1e-30 else -math.inf,
        math.log(scale) if largest else -math.inf,
        True,
        len(a),
        *in_units,
        low,
        high,
        sample,
        effective_rank(a) if rank else None,
    )


def norm_of(t: Any) -> float:
    """The root of the sum of squares, of a tensor or array; NaN of None."""
    if t is None:
        return math.nan
    a = t if isinstance(t, np.ndarray) else t.detach().double().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        return math.sqrt(float(np.square(a).sum()))
