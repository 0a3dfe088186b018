"""Initialisation as a distribution: moments, Kolmogorov-Smirnov, and what He's variance does over 50 ReLU layers.

`test_init.py` holds the same functions to PyTorch's digits; here they are held to their formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import unspool
from unspool.nn import functional as F
from unspool.nn import init

OUT, IN = 400, 600  # fan_out and fan_in of a weight of shape (OUT, IN)
FANS = {"fan_in": IN, "fan_out": OUT, "fan_avg": (IN + OUT) / 2}
GAINS: list[tuple[str, float, float]] = [
    ("relu", 0.0, math.sqrt(2.0)),
    ("leaky_relu", 0.0, math.sqrt(2.0)),
    ("leaky_relu", 0.5, math.sqrt(2.0 / 1.25)),
    ("tanh", 0.0, 5.0 / 3.0),
    ("linear", 0.0, 1.0),
]
# The draws are seeded, so that nothing here is a matter of luck. Over the some 40 cases below the least p-value should
# be near 1/40; 1e-3 leaves room, and `test_the_checks_see_a_wrong_width` shows that 3 % of σ are far beyond it.
LEAST_P = 1e-3


def drawn(fill: Callable[[Any], Any], shape: tuple[int, ...] = (OUT, IN), dtype: Any = None) -> Any:
    unspool.manual_seed(20260)
    return fill(unspool.empty(shape, dtype=dtype)).numpy().astype(np.float64).ravel()


def check(values: Any, mean: float, std: float, family: str) -> None:
    """Moments within five standard errors, then Kolmogorov-Smirnov; neighbours uncorrelated."""
    n = values.size
    z = (values - mean) / std
    kurtosis = {"normal": 3.0, "uniform": 1.8}[family]
    skewness_error = {"normal": math.sqrt(15.0), "uniform": math.sqrt(27.0 / 7.0)}[family]  # √E z⁶
    assert abs(z.mean()) < 5.0 / math.sqrt(n)
    assert abs((z**2).mean() - 1.0) < 5.0 * math.sqrt((kurtosis - 1.0) / n)
    assert abs((z**3).mean()) < 5.0 * skewness_error / math.sqrt(n)
    assert abs((z**4).mean() - kurtosis) < 0.1
    for lag in (1, 2, 8, 16):  # the engine fills 8 or 16 at a time
        assert abs((z[:-lag] * z[lag:]).mean()) < 5.0 / math.sqrt(n)
    if family == "uniform":
        bound = math.sqrt(3.0)
        assert np.abs(z).max() <= bound * (1.0 + 1e-6)
        assert np.abs(z).max() > bound * (1.0 - 50.0 / n)
        cdf = stats.uniform(-bound, 2.0 * bound).cdf
    else:
        cdf = stats.norm.cdf
    assert stats.kstest(z, cdf).pvalue > LEAST_P


@pytest.mark.parametrize("family", ["normal", "uniform"])
@pytest.mark.parametrize("mode", sorted(FANS))
@pytest.mark.parametrize(("nonlinearity", "slope", "gain"), GAINS)
def test_kaiming(family: str, mode: str, nonlinearity: str, slope: float, gain: float) -> None:
    fill = getattr(init, f"kaiming_{family}_")
    values = drawn(lambda t: fill(t, a=slope, mode=mode, nonlinearity=nonlinearity))
    check(values, 0.0, gain / math.sqrt(FANS[mode]), family)


@pytest.mark.parametrize("family", ["normal", "uniform"])
def test_fan_avg_is_the_notes_second_formula(family: str) -> None:
    """σ² = 4 / (D_h + D_h') of a weight matrix that is not square."""
    fill = getattr(init, f"kaiming_{family}_")
    values = drawn(lambda t: fill(t, mode="fan_avg", nonlinearity="relu"))
    check(values, 0.0, math.sqrt(4.0 / (IN + OUT)), family)


@pytest.mark.parametrize("family", ["normal", "uniform"])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_xavier(family: str, gain: float) -> None:
    fill = getattr(init, f"xavier_{family}_")
    values = drawn(lambda t: fill(t, gain=gain))
    check(values, 0.0, gain * math.sqrt(2.0 / (IN + OUT)), family)


@pytest.mark.parametrize("family", ["normal", "uniform"])
def test_trailing_dimensions_count_in_both_fans(family: str) -> None:
    fill = getattr(init, f"kaiming_{family}_")
    shape = (30, 40, 200)
    values = drawn(lambda t: fill(t, nonlinearity="relu"), shape)
    check(values, 0.0, math.sqrt(2.0 / (40 * 200)), family)
    values = drawn(lambda t: fill(t, mode="fan_out", nonlinearity="relu"), shape)
    check(values, 0.0, math.sqrt(2.0 / (30 * 200)), family)


@pytest.mark.parametrize("dtype", [unspool.float32, unspool.float64])
@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-0.3, 0.7), (5.0, 5.5)])
def test_uniform(a: float, b: float, dtype: Any) -> None:
    values = drawn(lambda t: init.uniform_(t, a, b), dtype=dtype)
    check(values, (a + b) / 2.0, (b - a) / math.sqrt(12.0), "uniform")
    assert values.min() >= a
    assert values.max() <= b


@pytest.mark.parametrize("dtype", [unspool.float32, unspool.float64])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-2.0, 0.05)])
def test_normal(mean: float, std: float, dtype: Any) -> None:
    check(drawn(lambda t: init.normal_(t, mean, std), dtype=dtype), mean, std, "normal")


def test_constants() -> None:
    for fill, value in ((init.zeros_, 0.0), (init.ones_, 1.0), (lambda t: init.constant_(t, -0.3), -0.3)):
        assert (drawn(fill, (7, 5)) == np.float32(value)).all()


@pytest.mark.parametrize("family", ["normal", "uniform"])
def test_the_checks_see_a_wrong_width(family: str) -> None:
    fill = getattr(init, f"kaiming_{family}_")
    values = drawn(lambda t: fill(t, nonlinearity="relu"))
    std = math.sqrt(2.0 / IN)
    z = values / std
    limit = math.sqrt(3.0)
    cdf = stats.norm.cdf if family == "normal" else stats.uniform(-limit, 2.0 * limit).cdf
    assert stats.kstest(z * 1.03, cdf).pvalue < 1e-6
    with pytest.raises(AssertionError):
        check(values * 1.03, 0.0, std, family)
    with pytest.raises(AssertionError):
        check(values, 0.0, std, {"normal": "uniform", "uniform": "normal"}[family])


# --- 50 layers -----------------------------------------------------------------------------------------------------

SEEDS, LAYERS, WIDTH = 20, 50, 1024
# How many examples pass through each network. More of them hardly help: ReLU layers pull all inputs towards one
# direction, so that after a few layers the examples of a network tell the same story, and the spread that is left is
# the weights'. For one input the log of a layer's ratio has the variance 5/D_h (E relu⁴ = 3/2, (E relu²)² = 1/4), so
# the log of a 50-layer total spreads by √(50·5/1024) = 0.49 over seeds. Measured over 20 seeds with batches of
# 1, 4, 16, 64 and 256: 0.49, 0.44, 0.37, 0.53, 0.53 (the first layer alone: 0.078, 0.040, 0.023, 0.019, 0.014). The
# bounds 1/8 and 8 are thus four standard deviations away, and the geometric mean, 0.995 to 1.000 in all five, is
# known to 0.49/(50·√20) = 0.002.
BATCH = 64


def variance(f: Any) -> float:
    """Of the pre-activations of a layer, over examples and units."""
    mean: float = f.mean().item()
    square: float = (f * f).mean().item()
    return square - mean * mean


def ratios(fill: Callable[[Any], Any], seeds: int = SEEDS, batch: int = BATCH) -> Any:
    """log Var(f_k) / Var(f_{k-1}) of every seed and layer, f_0 being standard normal."""
    logs = np.empty((seeds, LAYERS))
    weight = unspool.empty(WIDTH, WIDTH)
    with unspool.no_grad():
        for seed in range(seeds):
            unspool.manual_seed(seed)
            f = unspool.randn(batch, WIDTH)
            last = variance(f)
            for k in range(LAYERS):
                f = F.linear(F.relu(f), fill(weight))
                now = variance(f)
                logs[seed, k] = math.log(now / last)
                last = now
    return logs


@pytest.mark.parametrize("family", ["normal", "uniform"])
def test_he_keeps_the_variance(family: str) -> None:
    """σ² = 2/D_h: neither vanishing nor exploding over 50 layers, whatever the seed."""
    fill = getattr(init, f"kaiming_{family}_")
    logs = ratios(lambda w: fill(w, nonlinearity="relu"))
    assert 0.98 <= math.exp(logs.mean()) <= 1.02
    totals = np.exp(logs.sum(axis=1))
    assert totals.shape == (SEEDS,)
    assert totals.min() >= 1.0 / 8.0
    assert totals.max() <= 8.0


@pytest.mark.parametrize(("numerator", "ratio"), [(1.0, 0.5), (4.0, 2.0)])
def test_half_and_double_the_variance(numerator: float, ratio: float) -> None:
    """σ² = 1/D_h halves the variance in each layer (2⁻⁵⁰ at the end: vanishing), 4/D_h doubles it (exploding)."""
    std = math.sqrt(numerator / WIDTH)
    logs = ratios(lambda w: init.normal_(w, 0.0, std))
    assert math.exp(logs.mean()) == pytest.approx(ratio, rel=0.02)
    assert (np.abs(logs.sum(axis=1) - LAYERS * math.log(ratio)) < math.log(8.0)).all()
