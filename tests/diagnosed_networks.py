"""Networks whose diagnosis is known: drawn from a grid, and run forward and backward in NumPy, in float64.

The verdict here shares no line with unspool's: `truth` has its own forward, its own derivatives and its own fit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

import unspool
from unspool import nn

SLOPE, TOTAL = 0.25, math.log(1e3)
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
DEPTHS = (2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
SCALES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.8, 1.0, 1.0, 1.25, 2.0, 4.0, 8.0, 16.0)

Curve = Callable[[Any], Any]


def _selu(z: Any) -> Any:
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))


def _selu_slope(z: Any) -> Any:
    return SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0)))


def _gelu_slope(z: Any) -> Any:
    return 0.5 * (1 + erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


# name → module, f, f', and the gain that keeps the variance (for tanh PyTorch's, squared)
CURVES: dict[str, tuple[Any, Curve, Curve, float]] = {
    "relu": (nn.ReLU, lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0, 2.0),
    "leaky": (
        lambda: nn.LeakyReLU(0.1), lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1.0, 0.1), 2 / 1.01
    ),
    "tanh": (nn.Tanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2, 25 / 9),
    "selu": (nn.SELU, _selu, _selu_slope, 1.0),
    "gelu": (nn.GELU, lambda z: 0.5 * z * (1 + erf(z / math.sqrt(2))), _gelu_slope, 1 / 0.425),
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """One network of the grid: `depth` linear layers of `width`, drawn with `scale` times the right variance."""

    depth: int
    width: int
    curve: str
    scale: float
    uniform: bool
    residual: bool
    norm: str  # "", "layer" or "batch"
    seed: int


def grid(count: int, most_work: float = math.inf) -> list[Spec]:
    """`count` networks of the grid, the same ones each time; depth·width² is at most `most_work`."""
    r = random.Random(5)
    specs: list[Spec] = []
    while len(specs) < count:
        spec = Spec(
            r.choice(DEPTHS),
            r.choice(WIDTHS),
            r.choice(list(CURVES)),
            r.choice(SCALES),
            r.random() < 0.5,
            r.random() < 0.3,
            r.choice(("", "", "layer", "batch")),
            len(specs),
        )
        if spec.depth * spec.width**2 <= most_work:
            specs.append(spec)
    return specs


def _linear(spec: Spec, gain: float) -> Any:
    made = nn.Linear(spec.width, spec.width)
    std = math.sqrt(gain * spec.scale / spec.width)
    if spec.uniform:
        nn.init.uniform_(made.weight, -math.sqrt(3) * std, math.sqrt(3) * std)
    else:
        nn.init.normal_(made.weight, 0.0, std)
    nn.init.zeros_(made.bias)
    return made


def build(spec: Spec) -> Any:
    """The network of unspool. Residual blocks are x + W₂·f(norm(W₁·x)); others norm, then f, after each layer."""
    unspool.manual_seed(spec.seed)
    module, _, _, gain = CURVES[spec.curve]
    norms = {"layer": [lambda: nn.LayerNorm(spec.width)], "batch": [lambda: nn.BatchNorm1d(spec.width)]}
    norm = norms.get(spec.norm, [])
    parts: list[Any] = []
    left = spec.depth - 1
    if spec.residual:
        parts.append(_linear(spec, 1.0))
        left -= 1
        while left >= 2:
            parts.append(nn.Residual(_linear(spec, gain), *(n() for n in norm), module(), _linear(spec, 1.0)))
            left -= 2
    while left > 0:
        parts += [_linear(spec, gain), *(n() for n in norm), module()]
        left -= 1
    return nn.Sequential(*parts, _linear(spec, 1.0))


class _Tape:
    """Forward in NumPy; the variances of pre-activations, and closures that walk back."""

    def __init__(self, f: Curve, slope: Curve) -> None:
        self.f, self.slope = f, slope
        self.forward: list[float] = []
        self.backward: list[float] = []

    def run(self, modules: list[Any], x: Any) -> tuple[Any, list[Any]]:
        back: list[Any] = []
        for m in modules:
            if isinstance(m, nn.Residual):
                change, inner = self.run(list(m.body), x)
                x = x + change
                back.append(lambda g, inner=inner: g + self.walk(inner, g))
            elif isinstance(m, nn.Linear):
                w = m.weight.detach().numpy().astype(np.float64)
                x = x @ w.T + m.bias.detach().numpy()
                self.forward.append(x.var())
                back.append(lambda g, w=w: self.noted(g) @ w)
            elif isinstance(m, (nn.LayerNorm, nn.BatchNorm1d)):
                axis = 1 if isinstance(m, nn.LayerNorm) else 0
                centred = x - x.mean(axis, keepdims=True)
                spread = np.sqrt((centred**2).mean(axis, keepdims=True) + m.eps)
                x = y = centred / spread
                back.append(
                    lambda g, y=y, spread=spread, axis=axis: (
                        (g - g.mean(axis, keepdims=True) - y * (g * y).mean(axis, keepdims=True)) / spread
                    )
                )
            else:
                back.append(lambda g, z=x: g * self.slope(z))
                x = self.f(x)
        return x, back

    def noted(self, g: Any) -> Any:
        self.backward.append(g.var())
        return g

    def walk(self, back: list[Any], g: Any) -> Any:
        for step in reversed(back):
            g = step(g)
        return g


def label(variances: list[float]) -> tuple[str, bool]:
    """The verdict on all layers of a chain, and whether it lies within a tenth of a limit."""
    logs = np.log(variances)
    slope, total = float(np.polyfit(np.arange(len(logs)), logs, 1)[0]), float(logs[-1] - logs[0])
    near = any(abs(abs(v) / limit - 1) <= 0.1 for v, limit in ((slope, SLOPE), (total, TOTAL)))
    if abs(slope) > SLOPE and abs(total) > TOTAL:
        return ("exploding" if slope > 0 else "vanishing"), near
    return "healthy", near


def truth(spec: Spec, model: Any, batch: int = 256) -> dict[str, tuple[str, bool]] | None:
    """{'forward': (label, near a limit), 'backward': …} on a batch of its own; None where a layer is wholly dead."""
    r = np.random.default_rng(spec.seed + 77)
    _, f, slope, _ = CURVES[spec.curve]
    tape = _Tape(f, slope)
    out, back = tape.run(list(model), r.standard_normal((batch, spec.width)))
    tape.walk(back, r.standard_normal(out.shape))
    hidden = len(tape.forward) - 1 if len(tape.forward) > 2 else len(tape.forward)
    forward, backward = tape.forward[:hidden], tape.backward[::-1][:hidden][::-1]
    if min(forward) <= 0 or min(backward) <= 0:
        return None
    return {"forward": label(forward), "backward": label(backward)}
