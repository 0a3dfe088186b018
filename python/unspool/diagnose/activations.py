"""What is asked of a nonlinearity: its gain, and where it is flat. Both are read off its curve, so any will do."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LINEAR", "Activation", "of_module", "of_node"]

# The names by which backward knows them (`grad_fn`) → the function of nn.functional.
_NODES = {
    "ReluBackward0": "relu",
    "LeakyReluBackward0": "leaky_relu",
    "EluBackward0": "elu",
    "CeluBackward0": "celu",
    "GeluBackward0": "gelu",
    "SiluBackward0": "silu",
    "MishBackward0": "mish",
    "TanhBackward0": "tanh",
    "SigmoidBackward0": "sigmoid",
    "SoftplusBackward0": "softplus",
    "HardtanhBackward0": "hardtanh",
    "HardswishBackward0": "hardswish",
    "HardsigmoidBackward0": "hardsigmoid",
    "LogSigmoidBackward0": "logsigmoid",
}
# The modules → the same functions, and the settings that they read of their module.
_MODULES: dict[str, tuple[str, ...]] = {
    "ReLU": ("relu",),
    "LeakyReLU": ("leaky_relu", "negative_slope"),
    "PReLU": ("leaky_relu", "weight"),
    "RReLU": ("leaky_relu", "lower"),
    "ELU": ("elu", "alpha"),
    "CELU": ("celu", "alpha"),
    "SELU": ("selu",),
    "GELU": ("gelu",),
    "SiLU": ("silu",),
    "Mish": ("mish",),
    "Tanh": ("tanh",),
    "Sigmoid": ("sigmoid",),
    "Softplus": ("softplus", "beta"),
    "Softsign": ("softsign",),
    "Hardtanh": ("hardtanh", "min_val", "max_val"),
    "ReLU6": ("relu6",),
    "Hardswish": ("hardswish",),
    "Hardsigmoid": ("hardsigmoid",),
    "LogSigmoid": ("logsigmoid",),
}


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
    def is_rectifier(self) -> bool:
        """Whether a unit whose inputs are all positive is linear."""
        return self.name in ("relu", "leaky_relu", "relu6")


LINEAR = Activation("none", 1.0)


def _flat(z: Any, slope: Any, share: float) -> tuple[float, float]:
    steep = np.flatnonzero(slope > share * slope.max())
    first, last = steep[0], steep[-1]
    return (
        -math.inf if first == 0 else round(float(z[first]), 3),
        math.inf if last == len(slope) - 1 else round(float(z[last + 1]), 3),
    )


@functools.lru_cache(maxsize=256)
def _read(name: str, settings: tuple[float, ...]) -> Activation:
    """Integrate and differentiate f on a grid of -12 … 12; the sums are exact to six digits for a kink at 0."""
    from unspool import tensor
    from unspool.nn import functional

    z = np.linspace(-12.0, 12.0, 24001)
    y = getattr(functional, name)(tensor(z), *settings).numpy()
    weight = np.exp(-z * z / 2)
    gain = float(weight.sum() / (weight @ np.square(y)))
    slope = np.abs(np.diff(y))
    low, high = _flat(z, slope, 1e-3)
    near = _flat(z, slope, 0.05)
    return Activation(name, gain, low, high, near if all(map(math.isfinite, near)) else None)


def of_module(module: Any) -> Activation | None:
    """That of a module of nn, with its settings; None where it is none."""
    entry = _MODULES.get(type(module).__name__)
    if entry is None:
        return None
    name, *names = entry
    settings = (getattr(module, key) for key in names)
    return _read(name, tuple(s if isinstance(s, (int, float)) else float(s.detach().mean()) for s in settings))


def of_node(name: str) -> Activation | None:
    """That of a function, by the name of its backward, with its usual settings; None where it is none."""
    return _read(_NODES[name], ()) if name in _NODES else None
