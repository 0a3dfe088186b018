"""The gain of any elementwise nonlinearity, by numerical integration; `init` gives its public name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import isfinite, sqrt
from typing import Any

import numpy as np

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn import functional
from unspool.nn.modules import activation as activations
from unspool.nn.modules.module import Module

__all__ = ["RECORDED", "applied", "integrated_gain", "name_of", "passes_factors", "second_moment", "text_of"]

_STEP, _REACH = 2.0**-11, 12.0  # beyond 12 standard deviations lies 10⁻³² of the normal distribution


# What is recorded where a function, instead of a module, is called: those without a parameter, for a slope or a scale
# does not stand in the record.
RECORDED: dict[str, Callable[[Any], Any]] = {
    "GeluBackward": functional.gelu,
    "HardsigmoidBackward": functional.hardsigmoid,
    "HardswishBackward": functional.hardswish,
    "LogSigmoidBackward": functional.logsigmoid,
    "MishBackward": functional.mish,
    "ReluBackward": functional.relu,
    "SigmoidBackward": functional.sigmoid,
    "SiluBackward": functional.silu,
    "SinBackward": _core.sin,
    "TanhBackward": functional.tanh,
}


@cache
def _points() -> tuple[Any, Any]:
    """z and the weights of a sum that stands for the mean over z ~ N(0, 1).

    The points are the middles of cells, so that kinks and jumps at multiples of the step (of ReLU, Hardtanh, ReLU6,
    Hardshrink) fall between cells, where they cost no accuracy.
    """
    z = np.arange(-_REACH + _STEP / 2, _REACH, _STEP)
    density = np.exp(-(z**2) / 2)
    return z, density / density.sum()


def _leaky(square: float) -> Callable[[Any], Any]:
    """A LeakyReLU that keeps `square` of a negative number's square."""
    return lambda z: functional.leaky_relu(z, sqrt(square))


# Modules that are no fixed function of one number, and a function of the same second moment: of slopes that are learnt
# or random the mean square counts, and GLU gives a · sigmoid(b), where a has the second moment 1.
_STANDS_FOR: dict[type, Callable[[Any], Callable[[Any], Any]]] = {
    activations.PReLU: lambda m: _leaky(m.weight.detach().double().square().mean().item()),
    activations.RReLU: lambda m: _leaky((m.lower**2 + m.lower * m.upper + m.upper**2) / 3),
    activations.GLU: lambda m: _core.sigmoid,
}


def _function_of(phi: Any) -> Callable[[Any], Any]:
    if isinstance(phi, str):
        phi = getattr(functional, phi, phi)
    for kind, stand_in in _STANDS_FOR.items():
        if isinstance(phi, kind):
            return stand_in(phi)
    if not callable(phi):
        raise ValueError(f"integrated_gain: nonlinearity must be a module, a function or its name, got {phi!r}")
    function: Callable[[Any], Any] = phi.forward if isinstance(phi, Module) else phi
    return function


def applied(chain: tuple[Any, ...], z: Any) -> Any:
    """What `chain` makes of the numbers z, one function after the other, in float64."""
    with no_grad():
        y = _core.tensor(z)
        for phi in chain:
            y = _function_of(phi)(y)
            if not _core.is_tensor(y) or tuple(y.shape) != z.shape:
                raise ValueError(f"integrated_gain: nonlinearity must map each number to one, got {phi!r}")
        return y.detach().double().numpy()


def second_moment(chain: tuple[Any, ...], variance: float = 1.0) -> float:
    """E[φ(z)²] for z ~ N(0, variance), where φ applies `chain`, one function after the other."""
    z, weights = _points()
    return float((applied(chain, z * sqrt(variance)) ** 2 * weights).sum())


def integrated_gain(nonlinearity: Any) -> float:
    """1 / √E[φ(z)²] for z ~ N(0, 1): the gain at which pre-activations of variance 1 keep it through φ and a layer.

    It is √2 for ReLU, as `calculate_gain` says, but 1.5925 for tanh, where `calculate_gain` has the empirical 5/3.

    Args:
        nonlinearity: an elementwise module or function, or the name of one in `nn.functional`: 'gelu', 'silu' …

    Raises:
        ValueError: it is neither, not elementwise, or its second moment is 0 or not finite.
    """
    moment = second_moment((nonlinearity,))
    if moment <= 0 or not isfinite(moment):
        raise ValueError(f"integrated_gain: E[φ(z)²] must be positive and finite, it is {moment} of {nonlinearity!r}")
    return 1 / sqrt(moment)


def _slopes(chain: tuple[Any, ...]) -> tuple[float, float] | None:
    """p and q where φ(z) is p·z for positive z and q·z for negative z; None of any other φ."""
    z = np.array([-1e3, -1.0, -1e-3, 1e-3, 1.0, 1e3])
    y = applied(chain, z)
    q, p = -y[1], y[4]
    return (float(p), float(q)) if np.allclose(y, np.where(z > 0, p, q) * z, rtol=1e-12, atol=0) else None


def passes_factors(chain: tuple[Any, ...]) -> bool:
    """Whether φ(c·z) = c·φ(z) for every c > 0, as of ReLU: the scale of z then matters to nothing behind it."""
    return _slopes(chain) is not None


def name_of(chain: tuple[Any, ...]) -> str:
    """'tanh', 'leaky_relu' …; several joined by ∘ as functions are, the last first."""
    names = [str(getattr(phi, "__name__", None) or type(phi).__name__.lower()) for phi in chain]
    return "∘".join(reversed([{"leakyrelu": "leaky_relu"}.get(name, name) for name in names]))


def text_of(chain: tuple[Any, ...]) -> str:
    """Where the gain of `chain` comes from, in a sentence or two."""
    name, slopes = name_of(chain), _slopes(chain)
    if slopes == (1.0, 0.0):
        return (
            f"{name}: z ~ N(0, σ²) is negative half of the time, and {name} makes these halves 0, "
            f"so that E[{name}(z)²] = σ²/2: hence the 2 in Var W = 2 / D."
        )
    if slopes is not None:
        p, q = slopes
        square = p * p + q * q
        return (
            f"{name}: z ~ N(0, σ²) is multiplied by {p:.4g} where positive and by {q:.4g} where negative, each half "
            f"of the time, so that E[{name}(z)²] = ({p:.4g}² + {q:.4g}²)/2 σ² = {square / 2:.6g} σ²: "
            f"hence gain² = 2 / {square:.6g} = {2 / square:.6g}."
        )
    moment = second_moment(chain)
    return (
        f"{name}: E[{name}(z)²] = {moment:.6f} for z ~ N(0, 1), by numerical integration: "
        f"hence gain² = 1 / {moment:.6f} = {1 / moment:.6f}."
    )
