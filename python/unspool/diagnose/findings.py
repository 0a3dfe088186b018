"""The rules: from measurements to findings, each rule a pure function in the table `RULES`.

A rule yields nothing where all is well. Its thresholds stand beside it, with the reason for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from unspool.diagnose.measure import Layer, Measures
from unspool.diagnose.statistics import Stats
from unspool.diagnose.verdict import TOTAL, Verdict, judge, limit_depths

__all__ = ["FAR", "RULES", "SEVERITIES", "SHIFT", "Facts", "Finding", "find", "unlikely_share"]

SEVERITIES = ("info", "warning", "error")
FAR = 0.5  # root mean square of biases that are not small themselves
SHIFT = 1.5  # in standard deviations, of what a nonlinearity reads behind a normalisation, where gradients explode


@dataclass(frozen=True)
class Finding:
    """`kind` of trouble, `severity` ('info', 'warning', 'error'), the `layer`'s path ('' is the model itself), what is
    the matter in a sentence, `evidence` (names and numbers), and `remedy`, a line that repairs it."""

    kind: str
    severity: str
    layer: str
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What rules look at. `shadow` are the measures of the same pass in float64, where it ran."""

    measures: Measures
    shadow: Measures | None = None
    curvature: float | None = None
    lr: float | None = None

    @property
    def exact(self) -> Measures:
        """The measures in float64 where there are any."""
        return self.shadow or self.measures

    @property
    def chain(self) -> list[Layer]:
        """The layers that the verdicts are about, in the order of their calls: without those aside, and without the
        last. Its variance is the output's, and its gradient the loss's own, at the scale that they choose; the step
        between it and the layer before depends on how many outputs there are: of 256 units and one output, as PyTorch
        draws them, the gradient's variance falls by 1500.
        """
        return [layer for layer in self.exact.layers if not layer.aside][:-1]

    @property
    def forward(self) -> Verdict:
        """On the variances of the pre-activations."""
        return judge([layer.z.ln_var for layer in self.chain])

    @property
    def backward(self) -> Verdict:
        """On the variances of their gradients, from the end to the beginning."""
        return judge([layer.gradient.ln_var for layer in reversed(self.chain) if layer.gradient is not None])


_DRAW_WEIGHTS = "draw each weight from N(0, gain / fan_in): 2 / fan_in before a ReLU"
_SHIFT_NORMS = f"biases of about {SHIFT} in the normalisations before nonlinearities, which undo all that weights do"


def _steepest(layers: list[Layer], values: list[float]) -> Layer:
    """The layer at which ln Var changes most."""
    changes = [abs(b - a) if math.isfinite(a) and math.isfinite(b) else 0.0 for a, b in pairwise(values)]
    return layers[int(np.argmax(changes)) + 1] if changes else layers[0]


def _chain(facts: Facts, what: str, verdict: Verdict, stats: list[Stats], layers: list[Layer]) -> Iterator[Finding]:
    if verdict.label == "healthy":
        return
    depths = limit_depths([s.ln_max for s in stats], verdict)
    measured = [s.ln_var for s in stats]
    signal = "pre-activations" if what == "forward" else "gradients"
    order = "" if what == "forward" else " (from the end)"
    end = "overflow" if verdict.label == "exploding" else "underflow"
    evidence: dict[str, Any] = {
        "slope": verdict.slope,
        "total": verdict.total,
        "factor_per_layer": verdict.factor,
        "first_variance": stats[0].variance,
        "last_variance": stats[-1].variance,
        f"{end}_depth": depths,
        "confirmed_in_float64": facts.shadow is not None,
    }
    ends = ", ".join(f"{name} {depth}" for name, depth in depths.items() if depth is not None)
    normed = 2 * sum(x.norm is not None for x in layers) > len(layers)
    yield Finding(
        f"{verdict.label}_{what}",
        "error",
        _steepest(layers, measured).path,
        f"the variance of {signal} changes by a factor of {verdict.factor:.3g} a layer, "
        f"{math.exp(min(abs(verdict.total), 700)):.3g} {'up' if verdict.total > 0 else 'down'} altogether"
        + (f"; {end} at layer{order}: {ends}" if ends else ""),
        evidence,
        f"report.repair(model), or {_SHIFT_NORMS if normed and what == 'backward' else _DRAW_WEIGHTS}",
    )


def forward_chain(facts: Facts) -> Iterator[Finding]:
    """Pre-activations that vanish or explode."""
    yield from _chain(facts, "forward", facts.forward, [x.z for x in facts.chain], facts.chain)


def backward_chain(facts: Facts) -> Iterator[Finding]:
    """Gradients that vanish or explode on their way from the loss."""
    layers = [x for x in reversed(facts.chain) if x.gradient is not None]
    yield from _chain(facts, "backward", facts.backward, [x.gradient for x in layers if x.gradient], layers)


def not_finite(facts: Facts) -> Iterator[Finding]:
    """Parameters that are inf or NaN, or a layer whose numbers left the dtype's range."""
    m = facts.measures
    for name in m.broken:
        yield Finding(
            "non_finite", "error", name.rpartition(".")[0], f"{name} is not finite", {"parameter": name},
            "draw it again: report.repair(model)",
        )  # fmt: skip
    bad = next((layer for layer in m.layers if not layer.z.finite), None)
    if bad is not None and not m.broken:
        yield Finding(
            "non_finite", "error", bad.path, f"pre-activations leave the range of {m.dtype} here",
            {"layer": m.layers.index(bad) + 1}, "report.repair(model)",
        )  # fmt: skip


def symmetric_units(facts: Facts) -> Iterator[Finding]:
    """Units with the same weights and the same gradients: training gives them the same steps for ever."""
    for layer in facts.exact.layers:
        if layer.twins:
            shared = sum(map(len, layer.twins))
            yield Finding(
                "symmetric_units", "error", layer.path,
                f"{shared} of {layer.fan_out} units have the same weights and gradients, up to sign, as another; no "
                "step of training can tell them apart",
                {"groups": layer.twins, "units": layer.fan_out, "distinct": layer.fan_out - shared + len(layer.twins)},
                f"nn.init.normal_({layer.code[0]}, std={math.sqrt(layer.weight_target):.3g})",
            )  # fmt: skip


def unlikely_share(units: int) -> float:
    """The share that one in a million layers of `units` fair coins passes: in deep ReLU networks all examples come to
    lie in one direction, where each unit is dead for all of them, or on, with a chance of a half."""
    return 0.5 + 2.4 / math.sqrt(units)


def no_gradient(facts: Facts) -> Iterator[Finding]:
    """Layers of which no call gets anything back from the loss. It may leave out one output of several."""
    layers = facts.measures.layers
    reached = {layer.path for layer in layers if layer.gradient is not None}
    cut = list(dict.fromkeys(layer.path for layer in layers if layer.path not in reached))
    if cut:
        more = f", nor on {len(cut) - 1} more layers" if len(cut) > 1 else ""
        yield Finding(
            "no_gradient", "warning" if facts.measures.one_output else "info", cut[0],
            f"the loss does not depend on what it gives{more}: no gradient comes back",
            {"layers": cut},
            "look for detach(), no_grad() or a result that is not used behind it",
        )  # fmt: skip


def passed_over(facts: Facts) -> Iterator[Finding]:
    """Modules of which nothing is known, so that nobody takes the rest's health for theirs."""
    modules = facts.measures.passed_over
    if modules:
        first, kind = next(iter(modules.items()))
        more = f" (nor are {len(modules) - 1} more)" if len(modules) > 1 else ""
        yield Finding(
            "passed_over", "info", first,
            f"{kind} has weights that are in no linear layer, and aren't looked at{more}",
            {"modules": modules},
            "what is said of the other layers holds for them alone",
        )  # fmt: skip


def dead_units(facts: Facts) -> Iterator[Finding]:
    """Units whose nonlinearity is flat for every example: no gradient reaches their weights."""
    some = [x for x in facts.exact.layers if x.z.examples > 1 and x.dead >= 0.1]
    many = [x for x in some if x.dead == 1 or x.dead > unlikely_share(x.fan_out)]
    for layer in many:
        all_dead = layer.dead == 1
        yield Finding(
            "dead_units", "error" if all_dead else "warning", layer.path,
            f"{'all' if all_dead else f'{layer.dead:.0%} of the'} {layer.fan_out} units are dead: "
            f"{layer.activation.name} is flat there for every example",
            {"share": layer.dead, "units": layer.fan_out, "examples": layer.z.examples},
            f"nn.init.zeros_({layer.code[1]}); weights of mean 0: report.repair(model)",
        )  # fmt: skip
    few = [x for x in some if not any(x is y for y in many)]
    if few:
        worst = max(few, key=lambda x: x.dead)
        yield Finding(
            "dead_units", "info", worst.path,
            f"{worst.dead:.0%} of the {worst.fan_out} units are dead for every example, as many as chance makes"
            + (f", and fewer in {len(few) - 1} other layers" if len(few) > 1 else ""),
            {"share": worst.dead, "units": worst.fan_out, "layers": [x.path for x in few]},
            "normalisation, or a nonlinearity that is flat nowhere, such as LeakyReLU",
        )  # fmt: skip


def always_on_units(facts: Facts) -> Iterator[Finding]:
    """Rectified units that are on for every example: the layer is linear."""
    for layer in facts.exact.layers:
        if layer.z.examples > 1 and layer.fan_out > 1 and layer.always_on > min(unlikely_share(layer.fan_out), 0.999):
            yield Finding(
                "always_on_units", "warning", layer.path,
                f"{layer.always_on:.0%} of {layer.fan_out} units are on for every example: the layer is nearly linear",
                {"share": layer.always_on, "units": layer.fan_out},
                f"nn.init.zeros_({layer.code[1]}); weights of mean 0: report.repair(model)",
            )  # fmt: skip


def saturated_units(facts: Facts) -> Iterator[Finding]:
    """More values where the slope is under a twentieth than at Var 1, by 0.3 of the rest. At Var 1 tanh has 0.03 of
    them and hardtanh 0.32; tanh has about 0.28 at Var 4."""
    for layer in facts.exact.layers:
        usual = layer.activation.usually_saturated
        if layer.saturated > usual + 0.3 * (1 - usual):
            yield Finding(
                "saturated_units", "error" if layer.saturated > 0.9 else "warning", layer.path,
                f"{layer.saturated:.0%} of the pre-activations lie where {layer.activation.name} is flat",
                {"share": layer.saturated, "variance": layer.z.variance},
                f"with no_grad(): {layer.code[0]}.mul_({_shrink(layer):.3g})",
            )  # fmt: skip


def _shrink(layer: Layer) -> float:
    return 1 / math.sqrt(max(layer.z.variance + layer.z.mean**2, 1e-300))


def collapsed_linear(facts: Facts) -> Iterator[Finding]:
    """Linear layers one after the other: together they are one matrix. Narrow ones in between limit its rank, which may
    be meant."""
    layers, weights = facts.measures.layers, facts.measures.weights
    reached = {layer.collapses_into for layer in layers}
    for i, layer in enumerate(layers):
        if layer.collapses_into is None or i in reached:
            continue
        chain = [i]
        while (following := layers[chain[-1]].collapses_into) is not None:
            chain.append(following)
        product = weights[i]
        for k in chain[1:]:
            if weights[k].shape[1] != len(product):
                break
            product = weights[k] @ product  # (out×mid)·(mid×in) → (out×in)
        else:
            narrowest = min(layers[k].fan_out for k in chain[:-1])
            meant = narrowest < min(product.shape)
            paths = [layers[k].path for k in chain]
            yield Finding(
                "collapsed_linear", "info" if meant else "warning", layer.path,
                f"{' · '.join(reversed(paths))} have no nonlinearity between them: they are one matrix of "
                f"{product.shape[0]} × {product.shape[1]}" + (f", of rank {narrowest} at most" if meant else ""),
                {"layers": paths, "shape": list(product.shape), "matrix": product},
                f"put a nonlinearity after {layer.path}, or use one Linear({product.shape[1]}, {product.shape[0]})",
            )  # fmt: skip


def residual_growth(facts: Facts) -> Iterator[Finding]:
    """Blocks x + f(x) that multiply the variance, at each block by about the same factor (2, where f keeps it)."""
    blocks = [b for b in facts.exact.blocks if math.isfinite(b.ln_var_in) and math.isfinite(b.ln_var_out)]
    if len(blocks) < 2:
        return
    rates = [b.ln_var_out - b.ln_var_in for b in blocks]
    rate, total = float(np.mean(rates)), float(np.sum(rates))
    if rate > math.log(1.5):
        last = blocks[-1]
        yield Finding(
            "residual_growth", "warning" if total > TOTAL else "info", last.path,
            f"each of {len(blocks)} residual blocks multiplies the variance by {math.exp(rate):.3g}, "
            f"{math.exp(min(total, 700)):.3g} altogether",
            {"factor_per_block": math.exp(rate), "total": total, "blocks": len(blocks)},
            f"scale each branch by 1 / √{len(blocks)}: nn.Residual(…, scale={len(blocks) ** -0.5:.3g}), or normalise",
        )  # fmt: skip


def far_biases(facts: Facts) -> Iterator[Finding]:
    """Biases of three times the size of what they are added to, and not small themselves. The last layer's are as far
    from 0 as the targets are."""
    for layer in facts.measures.layers[:-1]:
        if layer.bias_rms > FAR and layer.bias_rms > 3 * layer.signal_rms:
            yield Finding(
                "far_biases", "warning", layer.path,
                f"the biases are {layer.bias_rms:.3g} (root mean square), the sums that they are added to "
                f"{layer.signal_rms:.3g}: the input hardly matters",
                {"bias_rms": layer.bias_rms, "signal_rms": layer.signal_rms},
                f"nn.init.zeros_({layer.code[1]})",
            )  # fmt: skip


def unscaled_inputs(facts: Facts) -> Iterator[Finding]:
    """Inputs that are the same for all examples, of a size far from 1, or with features of very different sizes."""
    inputs = facts.measures.inputs
    if inputs and all(x.examples > 1 and not x.unit_var.any() for x in inputs):
        yield Finding(
            "unscaled_inputs", "warning", "",
            f"the inputs are the same for all {inputs[0].examples} examples: there is nothing to tell them apart by",
            {"rms": math.sqrt(float(np.square(inputs[0].unit_mean).mean())), "examples": inputs[0].examples},
            "look at how x is made",
        )  # fmt: skip
        return
    for number, x in enumerate(facts.measures.inputs):
        size = math.sqrt(float(np.mean(x.unit_var + np.square(x.unit_mean))))
        widths = np.sqrt(x.unit_var)
        widths = widths[widths > 1e-6 * widths.max()] if widths.size else widths
        spread = float(widths.max() / widths.min()) if widths.size else 1.0
        if size > 10 or 0 < size < 0.01 or spread > 100:
            name = "x" if len(facts.measures.inputs) == 1 else f"x[{number}]"
            yield Finding(
                "unscaled_inputs", "warning", "",
                f"the inputs are {size:.3g} (root mean square), their features' standard deviations differ by a "
                f"factor of {spread:.3g}",
                {"rms": size, "mean": x.mean, "feature_spread": spread, "input": number},
                f"{name} = ({name} - {name}.mean(0)) / ({name}.std(0) + 1e-8)",
            )  # fmt: skip


def start_loss(facts: Facts) -> Iterator[Finding]:
    """A loss far from what a prediction that ignores the input has. Outputs of variance v add about v / 2 to ln C and v
    to Var y, so a few times as much is still an ordinary start."""
    m, expected = facts.measures, facts.measures.uninformed
    if m.loss is None or expected is None:
        return
    squares = m.loss_name in ("MSELoss", "mse_loss")
    limit = 10 * expected if squares else 2 * expected + 1
    if math.isfinite(m.loss) and m.loss <= limit and (squares or m.loss > 0.1 * expected):
        return
    last = m.layers[-1].path
    yield Finding(
        "start_loss", "warning", last,
        f"the loss begins at {m.loss:.4g}; a prediction that ignores the input has {expected:.4g} "
        f"({'Var y' if squares else 'ln C'})",
        {"loss": m.loss, "uninformed": expected, "output_variance": m.output.variance},
        f"smaller weights in {last!r}" + (", its bias at the mean of y, or y standardised" if squares else ""),
    )  # fmt: skip


def _range(values: list[float]) -> str:
    ends = [f"{min(values):.3g}", f"{max(values):.3g}"]
    return " to ".join(dict.fromkeys(ends))


def _is_too_large(layer: Layer) -> bool:
    """Whether the weights' variance is more than three times too large, and so is what they make, which a module may
    scale and biases may centre. PyTorch's draws for ReLU have twice the target before no nonlinearity, and four
    standard deviations of a draw are chance."""
    most = 3 * math.exp(4 * math.sqrt(2 / (layer.fan_in * layer.fan_out)))
    return most < min(layer.weight_var / layer.weight_target, layer.z.variance) < math.inf


def weight_scale(facts: Facts) -> Iterator[Finding]:
    """Weights whose variance is more than four times off the target of their nonlinearity: no fault by itself. Where
    most layers' are too large, outputs are, too, or, behind normalisations, steps are too small to change them."""
    layers = facts.measures.layers
    off = [x for x in layers if _is_too_large(x)]
    large = 2 * len(off) > len(layers)
    if not large:
        off = [x for x in layers if x.weight_var > 0 and not 0.25 <= x.weight_var / x.weight_target <= 4]
    if off:
        ratios = [x.weight_var / x.weight_target for x in off]
        yield Finding(
            "weight_scale", "warning" if large else "info", off[0].path,
            f"{len(off)} of {len(layers)} layers have weights of {_range(ratios)} times the variance gain / fan_in",
            {"layers": [x.path for x in off], "ratios": ratios},
            "report.repair(model)" if large else "nn.init.kaiming_normal_(layer.weight, nonlinearity=…)",
        )  # fmt: skip


def precision(facts: Facts) -> Iterator[Finding]:
    """Variances that differ from those in float64 by more than one in a hundred, where both are finite."""
    if facts.shadow is None:
        return
    for layer, exact in zip(facts.measures.layers, facts.shadow.layers, strict=False):
        off = abs(layer.z.ln_var - exact.z.ln_var)
        if math.isfinite(off) and off > 0.01:
            yield Finding(
                "precision", "info", layer.path,
                f"the variance of the pre-activations is {math.expm1(off):.2g} off its value in float64",
                {"dtype": facts.measures.dtype, "variance": layer.z.variance, "float64": exact.z.variance},
                "a wider dtype",
            )  # fmt: skip
            return


def learning_rate(facts: Facts) -> Iterator[Finding]:
    """Gradient descent diverges along a direction of curvature λ where lr > 2 / λ."""
    if facts.curvature is None or facts.curvature <= 0:
        return
    most = 2 / facts.curvature
    too_large = facts.lr is not None and facts.lr > most
    yield Finding(
        "learning_rate", "warning" if too_large else "info", "",
        f"the largest curvature is about {facts.curvature:.3g}: SGD diverges along it above a rate of {most:.3g}"
        + (f"; {facts.lr:.3g} is larger" if too_large else ""),
        {"curvature": facts.curvature, "largest_rate": most, "lr": facts.lr},
        f"lr={most / 2:.2g} for plain SGD",
    )  # fmt: skip


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    not_finite,
    forward_chain,
    backward_chain,
    symmetric_units,
    no_gradient,
    passed_over,
    dead_units,
    saturated_units,
    collapsed_linear,
    residual_growth,
    always_on_units,
    far_biases,
    unscaled_inputs,
    start_loss,
    learning_rate,
    precision,
    weight_scale,
)


def find(facts: Facts) -> list[Finding]:
    """What all rules find, errors first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda f: -SEVERITIES.index(f.severity))
