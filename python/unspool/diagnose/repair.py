"""What is done about findings: weights drawn anew, biases set to 0, layers scaled, by rule and then on the batch.

The first round gives weights the variance gain / fan_in. Where that isn't enough, the next two scale as LSUV does
(Mishkin and Matas 2016; without its orthogonal start), in one pass: each layer's output is divided by its standard
deviation as it passes, so that the next layer reads what it will read afterwards. Another takes each unit's mean
off, too: a nonlinearity whose values lie around another number than 0, as those of sigmoid and softplus do, gives
layers that vary by what little its values vary, and gradients that vanish however large the weights are. Where
gradients explode, as those of a deep hardtanh do at variance 1, smaller weights are tried, and behind
normalisations, which undo those, other biases in these. The best of all rounds stays. At last the outputs are made
small, where the loss says how small: what a network gives before it has learnt anything is an error to be unlearnt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.diagnose.findings import FAR, SHIFT
from unspool.diagnose.guard import stand_ins
from unspool.diagnose.measure import Layer
from unspool.diagnose.parts import Part, linear_maps, parts
from unspool.diagnose.statistics import as_matrix

__all__ = ["repair"]

_ROUNDS = ("rule", "batch", "batch", "units", "less", "less", "shift")
_FROM_BEST = {"units", "less", "shift"}
_AGAINST_EXPLOSION = {"less", "shift"}
_START = 0.1  # variance of outputs, as a part of the targets', that a start is to have
_REDRAWN = {"symmetric_units", "non_finite"}
_CHAINS = {
    "vanishing_forward", "exploding_forward", "vanishing_backward", "exploding_backward", "residual_growth",
    "symmetric_units", "non_finite",
}  # fmt: skip
_LOCAL = {"dead_units", "always_on_units", "saturated_units"}
_SCALES = {"weight_scale", *_CHAINS, *_LOCAL}
_BIASES = {"far_biases", *_LOCAL}
_LAST = {"start_loss", *_SCALES}


@dataclass(frozen=True)
class _Place:
    """A layer of the report, and where it is in the model."""

    layer: Layer
    part: Part


def _checked(report: Any, model: Any) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    found = parts(model)
    for layer in report.layers:
        if layer.path not in found:
            raise ValueError(f"repair: the model has no layer {layer.path!r}, which the report speaks of")
        shape = tuple(found[layer.path].matrix.shape)
        if shape != (layer.fan_out, layer.fan_in):
            expected = (layer.fan_out, layer.fan_in)
            raise ValueError(f"repair: {layer.path!r} has a weight of shape {shape}; the report's has {expected}")
        places.setdefault(layer.path, _Place(layer, found[layer.path]))
    return places


def _values(model: Any) -> list[tuple[Any, Any]]:
    return [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]


def _restore(kept: list[tuple[Any, Any]]) -> None:
    with no_grad():
        for t, before in kept:
            t.copy_(before)


@contextmanager
def _all_or_nothing(model: Any) -> Iterator[Callable[[], None]]:
    """Gives a function that puts the values of all parameters and buffers back; an exception within calls it."""
    kept = _values(model)
    try:
        yield lambda: _restore(kept)
    except BaseException:
        _restore(kept)
        raise


def _is_off_centre(w: Any) -> bool:
    """Whether draws of mean 0 would hardly have this mean, or there is nothing to scale."""
    spread = float(w.std())
    return not math.isfinite(spread) or spread == 0 or abs(float(w.mean())) > 5 * spread / math.sqrt(w.size)


def _redraw(place: _Place) -> str:
    layer, part = place.layer, place.part
    std = math.sqrt(layer.weight_target)
    part.weight.normal_(0.0, std)
    if part.owns_bias:
        part.bias.zero_()
    aim = "" if layer.activation.name == "none" else f" for {layer.activation.name}"
    return f"{layer.path or '(model)'}: weight drawn from N(0, {std:.3g}²){aim}, bias 0"


def _reset_broken(report: Any, model: Any, places: dict[str, _Place]) -> Iterator[str]:
    """Parameters that are not finite, of modules that are no linear layers."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in report.facts.measures.broken)
    for path in paths:
        module = model.get_submodule(path)
        if path not in places and hasattr(module, "reset_parameters"):
            module.reset_parameters()
            yield f"{path}: reset_parameters()"


def _batch_factors(
    model: Any, batch: tuple[Any, ...], places: dict[str, _Place], centred: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """What to multiply each weight by, so that in one pass every layer's output without its bias has variance 1; and
    where `centred`, the biases that give its units the mean 0."""
    inputs = batch[0]
    factors: dict[str, float] = {}
    shifts: dict[str, Any] = {}

    def passed(path: str, part: Part, x: Any, out: Any) -> Any:
        if path not in places:
            return out
        bias = 0.0 if part.bias is None else part.along_units(part.bias)
        sums = out - bias
        if path not in factors:
            seen = as_matrix(sums, part.axis)
            means = seen.mean(0) if centred and part.owns_bias else 0.0
            spread = float((seen - means).std())
            factors[path] = 1 / spread if math.isfinite(spread) and spread > 0 else 1.0
            if part.owns_bias and centred:
                shifts[path] = _core.tensor(-means * factors[path]).to(out.dtype)
        return sums * factors[path] + (part.along_units(shifts[path]) if path in shifts else bias)

    with stand_ins(model), no_grad(), linear_maps(model, passed):
        model(*inputs)
    return factors, shifts


def _target_factors(places: dict[str, _Place]) -> dict[str, float]:
    """What to multiply each weight by, so that it has the variance gain / fan_in."""
    spreads = {path: float(as_matrix(place.part.matrix).std()) for path, place in places.items()}
    return {path: math.sqrt(places[path].layer.weight_target) / s for path, s in spreads.items() if 0 < s < math.inf}


_AIMS = {
    "rule": "for the variance gain / fan_in",
    "batch": "for pre-activations of variance 1 on the batch",
    "less": "against gradients that explode",
    "units": "and biases set, for units of mean 0 and layers of variance 1 on the batch",
}


def _scale(report: Any, model: Any, places: dict[str, _Place], how: str) -> Iterator[str]:
    places = {path: place for path, place in places.items() if place.part.owns_weight}
    shifts: dict[str, Any] = {}
    if how == "rule":
        factors = _target_factors(places)
    elif how == "less":
        factors = dict.fromkeys(places, math.exp(-0.4 * report.backward.slope))
    else:
        factors, shifts = _batch_factors(model, report.batch, places, how == "units")
    if not shifts and all(abs(factor - 1) < 1e-3 for factor in factors.values()):
        return
    for path, factor in factors.items():
        places[path].part.weight.mul_(factor)
    for path, shift in shifts.items():
        places[path].part.bias.copy_(shift)
    low, high = min(factors.values()), max(factors.values())
    yield f"{len(factors)} layers: weights times {low:.3g} … {high:.3g}, {_AIMS[how]}"


def _is_affine(parameters: dict[str, Any]) -> bool:
    weight, bias = parameters.get("weight"), parameters.get("bias")
    return weight is not None and bias is not None and weight.shape == bias.shape


def _shift_norms(report: Any, model: Any) -> Iterator[str]:
    """Biases of the normalisations before nonlinearities, so that most of what those read lies on one side.

    Batch normalisation takes the mean of what it reads off, so from layer to layer gradients grow by
    E[f'(z + s)²] / Var f(z + s) for z ~ N(0, 1) and a bias s, whatever the weights are: for ReLU by 1.47 where s is 0,
    and by 1.05 where it is 1.5 (the mean-field limit of wide layers; Yang et al. 2019).
    """
    found = {layer.norm: model.get_submodule(layer.norm) for layer in report.layers if layer.norm is not None}
    norms = {path: p for path, p in ((path, norm._parameters) for path, norm in found.items()) if _is_affine(p)}
    for p in norms.values():
        p["bias"].copy_(SHIFT * p["weight"].abs())
    if norms:
        first, more = next(iter(norms)), len(norms) - 1
        yield f"{first}{f' and {more} more normalisations' if more else ''}: bias {SHIFT} times the weight"


def _settle_loss(report: Any, place: _Place) -> Iterator[str]:
    """The last layer, so that the loss begins where an uninformed prediction has it: small outputs around y's mean."""
    layer, part, measures = report.layers[-1], place.part, report.facts.measures
    if measures.uninformed is None or not part.owns_weight or not measures.output.finite:
        return
    is_output = math.isclose(layer.z.ln_var, measures.output.ln_var, abs_tol=1e-3)
    if not is_output and all(f.kind != "start_loss" for f in report.findings):
        return
    aim, centre = math.sqrt(_START), None
    if measures.labels is not None and measures.loss_name in ("MSELoss", "mse_loss"):
        labels, width = measures.labels.unit_mean, float(np.sqrt(measures.labels.unit_var.mean()))
        aim *= width
        centre = labels if len(labels) == layer.fan_out else None
    spread = layer.signal_rms if is_output else math.sqrt(measures.output.variance)
    if spread > aim > 0:
        part.weight.mul_(aim / spread)
        yield f"{layer.path or '(model)'}: weight times {aim / spread:.3g}, for a start near {measures.uninformed:.3g}"
    if centre is not None and part.owns_bias and np.abs(part.bias.double().numpy() - centre).max() > aim:
        part.bias.copy_(_core.tensor(centre).to(part.bias.dtype))
        yield f"{layer.path or '(model)'}: bias set to the mean of y"
    elif "start_loss" in _kinds(report) and centre is None and part.owns_bias and layer.bias_rms > aim:
        part.bias.zero_()
        yield f"{layer.path or '(model)'}: bias 0"


def _bad(report: Any) -> list[Any]:
    return [f for f in report.findings if f.severity != "info"]


def _kinds(report: Any) -> set[str]:
    return {f.kind for f in _bad(report)}


def _badness(report: Any, start: bool) -> tuple[int, int, int, int]:
    """What no step of training undoes, other errors, warnings; `start`: with that of the loss at the start. At last the
    layers of weights that are too large: behind a normalisation that shows nowhere else, and makes steps small."""
    found = [f for f in _bad(report) if start or f.kind != "start_loss"]
    severities = [f.severity for f in found]
    lasting = sum(f.kind in _REDRAWN for f in found)
    large = sum(layer.weight_var > 2 * layer.weight_target for layer in report.layers)
    return lasting, severities.count("error") - lasting, severities.count("warning"), large


def _round(report: Any, model: Any, places: dict[str, _Place], how: str) -> list[str]:
    """One pass over the findings; a line for each thing done."""
    found = _bad(report)
    kinds = {f.kind for f in found}
    done: list[str] = []
    zeroed: list[str] = []
    chains, far = bool(kinds & _CHAINS), "far_biases" in kinds
    redraw = {f.layer for f in found if f.kind in _REDRAWN}
    freed = {f.layer for f in found if f.kind in _BIASES}
    if "non_finite" in kinds:
        done += _reset_broken(report, model, places)
    last = report.layers[-1].path
    for path, place in places.items():
        part = place.part
        # one layer's far biases may be hidden by those of others
        hit = chains or path in freed or (far and path != last and place.layer.bias_rms > FAR)
        off_centre = part.owns_weight and hit and _is_off_centre(as_matrix(part.matrix))
        if off_centre or (part.owns_weight and path in redraw):
            done.append(_redraw(place))
        elif hit and part.owns_bias and bool((part.bias != 0).any()):
            part.bias.zero_()
            zeroed.append(path or "(model)")
    if zeroed:
        done.append(f"{zeroed[0]}{f' and {len(zeroed) - 1} more layers' if len(zeroed) > 1 else ''}: bias 0")
    if kinds & _SCALES:
        done += _scale(report, model, places, how)
    return done


def repair(report: Any, model: Any) -> list[str]:
    """See `Report.repair`."""
    from unspool.diagnose._diagnose import diagnose

    model = model._modules.get("_orig_mod") or model
    places = _checked(report, model)
    inputs, y, loss, dtype = report.batch
    done: list[str] = []

    def again() -> Any:
        return diagnose(model, inputs, y, loss, dtype)

    with _all_or_nothing(model) as put_back, no_grad():
        now, best, kept, said = report, report, _values(model), list[str]()
        for how in _ROUNDS:
            if how in _FROM_BEST and now is not best:
                _restore(kept)
                now, done = best, list(said)
            if now.healthy or (how in _AGAINST_EXPLOSION and now.backward.label != "exploding"):
                continue
            step = list(_shift_norms(now, model)) if how == "shift" else _round(now, model, places, how)
            if not step:
                continue
            done += step
            now = again()
            if _badness(now, False) < _badness(best, False):
                best, kept, said = now, _values(model), list(done)
        if now is not best:
            _restore(kept)
        if _kinds(report) & _LAST:
            step = list(_settle_loss(best, places[best.layers[-1].path]))
            now = again() if step else best
            if _badness(now, True) > _badness(best, True):  # what reaches the layers before is too little then
                _restore(kept)
            else:
                best, said = now, said + step
        if said and _badness(best, True) >= _badness(report, True):  # it didn't help
            put_back()
            best, said = report, []
    return said + [_left(f) for f in _bad(best)]


def _left(finding: Any) -> str:
    """What weights can't mend, and what else would."""
    where = f" at {finding.layer}" if finding.layer else ""
    other = "normalisation, residual blocks or another nonlinearity" if finding.kind in _CHAINS else finding.remedy
    return f"left: {finding.kind}{where}: {other}"
