"""Integrated gains against closed forms and adaptive quadrature of formulas written here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from scipy.integrate import quad

import unspool
from unspool import nn
from unspool.nn import init
from unspool.nn._init_gain import passes_factors

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805

# the square's mean over z ~ N(0, 1), where a formula is known
CLOSED: list[tuple[Any, float]] = [
    (nn.Identity(), 1.0),
    (nn.ReLU(), 1 / 2),
    (nn.ReLU(inplace=True), 1 / 2),
    (nn.LeakyReLU(0.3), (1 + 0.3**2) / 2),
    (nn.PReLU(init=0.25), (1 + 0.25**2) / 2),
    (nn.PReLU(3, init=0.5), (1 + 0.5**2) / 2),
    (nn.RReLU(0.1, 0.4), (1 + (0.01 + 0.04 + 0.16) / 3) / 2),  # E[a²] of a ~ U(0.1, 0.4)
    (nn.SELU(), 1.0),
    # z Φ(z): E[z² Φ(z)²] = 1/3 + 1/(2 π √3)
    (nn.GELU(), 1 / 3 + 1 / (2 * math.pi * math.sqrt(3))),
    # z² within [-1, 1], 1 outside
    (nn.Hardtanh(), (2 * stats.norm.cdf(1) - 1) - 2 * stats.norm.pdf(1) + 2 * stats.norm.sf(1)),
    # z² outside of [-1/2, 1/2]: a jump
    (nn.Hardshrink(0.5), 2 * (0.5 * stats.norm.pdf(0.5) + stats.norm.sf(0.5))),
    (unspool.sin, (1 - math.exp(-2)) / 2),
    (unspool.exp, math.exp(2)),
    (lambda z: z + 1.0, 2.0),
]


@pytest.mark.parametrize(("phi", "moment"), CLOSED, ids=[getattr(phi, "__name__", str(phi)) for phi, _ in CLOSED])
def test_closed_forms(phi: Any, moment: float) -> None:
    assert init.integrated_gain(phi) ** -2 == pytest.approx(moment, rel=2e-7)


INTEGRATED: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "sigmoid": special.expit,
    "silu": lambda z: z * special.expit(z),
    "mish": lambda z: z * math.tanh(math.log1p(math.exp(z))),
    "softplus": lambda z: math.log1p(math.exp(z)),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "selu": lambda z: SCALE * (z if z > 0 else ALPHA * math.expm1(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "hardswish": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "relu6": lambda z: min(max(z, 0), 6),
}


@pytest.mark.parametrize("name", sorted(INTEGRATED))
def test_quadrature(name: str) -> None:
    def integrand(z: float) -> float:
        return float(INTEGRATED[name](z) ** 2 * stats.norm.pdf(z))

    moment = sum(quad(integrand, a, b, epsabs=1e-13)[0] for a, b in ((-12, -3), (-3, 0), (0, 3), (3, 6), (6, 12)))
    assert init.integrated_gain(name) ** -2 == pytest.approx(moment, rel=1e-9)


def test_of_a_gate_the_sigmoid_counts() -> None:
    """GLU gives a · sigmoid(b), and E[a²] = 1."""
    unspool.manual_seed(0)
    z = unspool.randn(1000, 1000, dtype=unspool.float64)
    square = (nn.GLU()(z).numpy() ** 2).mean()
    assert init.integrated_gain(nn.GLU()) ** -2 == pytest.approx(square, rel=0.01)


def test_the_known_gains_agree() -> None:
    """`calculate_gain` has the same for ReLU and LeakyReLU, an empirical one for tanh."""
    assert init.integrated_gain(nn.ReLU()) == pytest.approx(init.calculate_gain("relu"), rel=1e-12)
    assert init.integrated_gain(nn.LeakyReLU(0.2)) == pytest.approx(init.calculate_gain("leaky_relu", 0.2), rel=1e-12)
    assert init.integrated_gain(nn.Tanh()) == pytest.approx(1.5925, abs=1e-4)


def test_nothing_is_drawn_or_recorded() -> None:
    unspool.manual_seed(1)
    state = unspool.get_rng_state()
    slopes = nn.PReLU()
    init.integrated_gain(nn.RReLU())
    init.integrated_gain(slopes)
    assert (unspool.get_rng_state() == state).all()
    assert slopes.weight.grad is None


PASSING = [nn.Identity(), nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(), unspool.abs]
OTHERS = [nn.ReLU6(), nn.GELU(), nn.SELU(), nn.Hardshrink(), nn.Tanh(), nn.Softplus()]


@pytest.mark.parametrize(("phi", "factor"), [*((p, True) for p in PASSING), *((p, False) for p in OTHERS)])
def test_which_pass_a_factor_on(phi: Any, factor: bool) -> None:
    assert passes_factors((phi,)) is factor


@pytest.mark.parametrize(
    ("phi", "said"),
    [
        (3, "got 3"),
        ("swoosh", "got 'swoosh'"),
        (nn.Flatten(0, 0).forward, None),
        (lambda z: z.sum(), "map each number to one"),
        (lambda z: 1.0, "map each number to one"),
        (lambda z: z * 0, "it is 0.0"),
        (lambda z: z / 0, "it is inf"),
        (lambda z: z * float("nan"), "it is nan"),
    ],
)
def test_bad_input(phi: Any, said: str | None) -> None:
    if said is None:  # it moves numbers only
        assert init.integrated_gain(phi) == pytest.approx(1.0)
        return
    with pytest.raises(ValueError, match="integrated_gain") as caught:
        init.integrated_gain(phi)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "slope"), [("tanh", 0.461), ("elu", 0.891), ("silu", 1.173)])
def test_one_layer_keeps_a_unit_variance_and_what_it_does_to_others(name: str, slope: float) -> None:
    """NumPy in float64. Of tanh and ELU a variance beside 1 comes back in the next layers, of SiLU it goes away."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((2000, 2000)) * (init.integrated_gain(name) / math.sqrt(2000))
    z = rng.standard_normal((100, 2000))
    phi = np.vectorize(INTEGRATED[name])
    variances = [((phi(math.sqrt(v) * z) @ w) ** 2).mean() for v in (0.98, 1.0, 1.02)]
    assert variances[1] == pytest.approx(1.0, rel=0.02)
    assert (variances[2] - variances[0]) / 0.04 == pytest.approx(slope, rel=0.03)
