"""What is done about findings: weights drawn anew, biases set to 0, layers scaled, by rule and then on the batch.

The first round gives weights the variance gain / fan_in. Where that isn't enough, the next ones scale as LSUV does
(Mishkin and Matas 2016; without its orthogonal start), in one pass: each layer's output is divided by its standard
deviation as it passes, so that the next layer reads what it will read afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.diagnose.guard import stand_ins
from unspool.diagnose.measure import Layer
from unspool.diagnose.statistics import as_matrix

__all__ = ["repair"]

_ROUNDS = 4
_REDRAWN = {"symmetric_units", "non_finite"}
_CHAINS = {
    "vanishing_forward", "exploding_forward", "vanishing_backward", "exploding_backward", "residual_growth",
    "symmetric_units", "non_finite",
}  # fmt: skip
_LOCAL = {"dead_units", "always_on_units", "saturated_units"}
_BIASES = {"far_biases", *_LOCAL}


def _owns_weight(module: Any) -> bool:
    """Whether the weight is a parameter, and not made of others (nn.utils.parametrize)."""
    return module._parameters.get("weight") is not None


def _has_bias(module: Any) -> bool:
    return module._parameters.get("bias") is not None


def _checked(report: Any, model: Any) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    for layer in report.layers:
        try:
            shape = tuple(model.get_submodule(layer.path).weight.shape)
        except AttributeError as error:
            raise ValueError(f"repair: the model has no layer {layer.path!r}, which the report speaks of") from error
        if shape != (layer.fan_out, layer.fan_in):
            expected = (layer.fan_out, layer.fan_in)
            raise ValueError(f"repair: {layer.path!r} has a weight of shape {shape}; the report's has {expected}")
        layers.setdefault(layer.path, layer)
    return layers


@contextmanager
def _all_or_nothing(model: Any) -> Iterator[Callable[[], None]]:
    """Gives a function that puts the values of all parameters and buffers back; an exception within calls it."""
    kept = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]

    def put_back() -> None:
        with no_grad():
            for t, before in kept:
                t.copy_(before)

    try:
        yield put_back
    except BaseException:
        put_back()
        raise


def _is_off_centre(w: Any) -> bool:
    """Whether draws of mean 0 would hardly have this mean, or there is nothing to scale."""
    spread = float(w.std())
    return not math.isfinite(spread) or spread == 0 or abs(float(w.mean())) > 5 * spread / math.sqrt(w.size)


def _redraw(module: Any, layer: Layer) -> str:
    std = math.sqrt(layer.weight_target)
    module.weight.normal_(0.0, std)
    if _has_bias(module):
        module.bias.zero_()
    aim = "" if layer.activation.name == "none" else f" for {layer.activation.name}"
    return f"{layer.path or '(model)'}: weight drawn from N(0, {std:.3g}²){aim}, bias 0"


def _reset_broken(report: Any, model: Any, layers: dict[str, Layer]) -> Iterator[str]:
    """Parameters that are not finite, of modules that are no linear layers."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in report.facts.measures.broken)
    for path in paths:
        module = model.get_submodule(path)
        if path not in layers and hasattr(module, "reset_parameters"):
            module.reset_parameters()
            yield f"{path}: reset_parameters()"


def _batch_factors(model: Any, batch: tuple[Any, ...], paths: list[str]) -> dict[str, float]:
    """What to multiply each weight by, so that in one pass every layer's output without its bias has variance 1."""
    inputs = batch[0]
    factors: dict[str, float] = {}

    def passed(path: str, module: Any, out: Any) -> Any:
        bias = module.bias if getattr(module, "bias", None) is not None else 0.0
        sums = out - bias
        if path not in factors:
            spread = float(as_matrix(sums).std())
            factors[path] = 1 / spread if math.isfinite(spread) and spread > 0 else 1.0
        return sums * factors[path] + bias

    with stand_ins(model), no_grad():
        for path in paths:
            model.get_submodule(path).register_forward_hook(lambda m, args, out, path=path: passed(path, m, out))
        model(*inputs)
    return factors


def _target_factors(model: Any, layers: dict[str, Layer], paths: list[str]) -> dict[str, float]:
    """What to multiply each weight by, so that it has the variance gain / fan_in."""
    spreads = {path: float(as_matrix(model.get_submodule(path).weight).std()) for path in paths}
    return {path: math.sqrt(layers[path].weight_target) / s for path, s in spreads.items() if 0 < s < math.inf}


def _scale(model: Any, batch: tuple[Any, ...], layers: dict[str, Layer], by_batch: bool) -> Iterator[str]:
    paths = [path for path in layers if _owns_weight(model.get_submodule(path))]
    factors = _batch_factors(model, batch, paths) if by_batch else _target_factors(model, layers, paths)
    if all(abs(factor - 1) < 1e-3 for factor in factors.values()):
        return
    for path, factor in factors.items():
        model.get_submodule(path).weight.mul_(factor)
    low, high = min(factors.values()), max(factors.values())
    aim = "for pre-activations of variance 1 on the batch" if by_batch else "for the variance gain / fan_in"
    yield f"{len(factors)} layers: weights times {low:.3g} … {high:.3g}, {aim}"


def _settle_loss(report: Any, model: Any, layer: Layer) -> Iterator[str]:
    """The last layer, so that the loss begins where an uninformed prediction has it: small outputs around y's mean."""
    module, measures = model.get_submodule(layer.path), report.facts.measures
    if not _owns_weight(module) or not measures.output.finite:
        return
    aim, centre = 1.0, None
    if measures.labels is not None and measures.loss_name in ("MSELoss", "mse_loss"):
        labels = measures.labels.unit_mean
        aim = float(np.sqrt(measures.labels.unit_var.mean()))
        centre = labels if len(labels) == layer.fan_out else None
    spread = math.sqrt(measures.output.variance)
    if spread > aim > 0:
        module.weight.mul_(aim / spread)
        yield f"{layer.path or '(model)'}: weight times {aim / spread:.3g}, for a start near {measures.uninformed:.3g}"
    if centre is not None and _has_bias(module):
        module.bias.copy_(_core.tensor(centre).to(module.bias.dtype))
        yield f"{layer.path or '(model)'}: bias set to the mean of y"


def _bad(report: Any) -> list[Any]:
    return [f for f in report.findings if f.severity != "info"]


def _round(report: Any, model: Any, layers: dict[str, Layer], by_batch: bool) -> list[str]:
    """One pass over the findings; a line for each thing done."""
    found = _bad(report)
    kinds = {f.kind for f in found}
    done: list[str] = []
    zeroed: list[str] = []
    chains = bool(kinds & _CHAINS)
    redraw = {f.layer for f in found if f.kind in _REDRAWN}
    freed = {f.layer for f in found if f.kind in _BIASES}
    if "non_finite" in kinds:
        done += _reset_broken(report, model, layers)
    for path, layer in layers.items():
        module = model.get_submodule(path)
        hit = chains or path in freed
        off_centre = _owns_weight(module) and hit and _is_off_centre(as_matrix(module.weight))
        if off_centre or (_owns_weight(module) and path in redraw):
            done.append(_redraw(module, layer))
        elif hit and _has_bias(module) and bool((module.bias != 0).any()):
            module.bias.zero_()
            zeroed.append(path or "(model)")
    if zeroed:
        done.append(f"{zeroed[0]}{f' and {len(zeroed) - 1} more layers' if len(zeroed) > 1 else ''}: bias 0")
    if chains or kinds & _LOCAL:
        done += _scale(model, report.batch, layers, by_batch)
    if "start_loss" in kinds and not chains and not kinds & _LOCAL:
        done += _settle_loss(report, model, layers[report.layers[-1].path])
    return done


def repair(report: Any, model: Any) -> list[str]:
    """See `Report.repair`."""
    from unspool.diagnose._diagnose import diagnose

    model = model._modules.get("_orig_mod") or model
    layers = _checked(report, model)
    inputs, y, loss, dtype = report.batch
    done: list[str] = []
    with _all_or_nothing(model) as put_back, no_grad():
        now = report
        for number in range(_ROUNDS):
            step = [] if now.healthy else _round(now, model, layers, by_batch=number > 0)
            if not step and number > 0:
                break
            done += step
            now = diagnose(model, inputs, y, loss, dtype) if step else now
        if done and {f.kind for f in _bad(report)} <= {f.kind for f in _bad(now)}:  # it didn't help
            put_back()
            done, now = [], report
    return done + [_left(f) for f in _bad(now)]


def _left(finding: Any) -> str:
    """What weights can't mend, and what else would."""
    where = f" at {finding.layer}" if finding.layer else ""
    other = "normalisation, residual blocks or another nonlinearity" if finding.kind in _CHAINS else finding.remedy
    return f"left: {finding.kind}{where}: {other}"
