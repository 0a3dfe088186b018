"""`unspool.diagnose(…)`: checks its arguments, measures, asks float64 where something is wrong, and reports."""

from __future__ import annotations

import math
import numbers
import time
from contextlib import suppress
from typing import Any

from unspool import _core
from unspool.diagnose.curvature import largest_curvature
from unspool.diagnose.findings import Facts, find
from unspool.diagnose.measure import Measures, measure
from unspool.diagnose.parts import is_linear
from unspool.diagnose.report import Report

__all__ = ["diagnose"]


def _checked_model(model: Any) -> Any:
    from unspool import nn

    if not isinstance(model, nn.Module):
        raise TypeError(f"diagnose: model must be a Module, got {type(model).__name__}")
    model = model._modules.get("_orig_mod") or model  # what compile() made
    name = model._get_name()
    if next(model.parameters(), None) is None:
        raise ValueError(f"diagnose: the model ({name}) has no parameters")
    for path, module in model.named_modules():
        if type(module).__name__.startswith("Lazy"):
            where = repr(path) if path else "the model"
            raise ValueError(
                f"diagnose: {where} ({module._get_name()}) has no parameters yet; run a batch through first"
            )
    if not any(is_linear(m) for m in model.modules()):
        raise ValueError(
            f"diagnose: the model ({name}) has no linear layer, here or below; there is nothing to measure"
        )
    return model


def _checked_inputs(x: Any, y: Any) -> tuple[Any, ...]:
    inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
    for i, value in enumerate(inputs):
        name = f"x[{i}]" if isinstance(x, (tuple, list)) else "x"
        _check_tensor(name, value)
    if not inputs:
        raise ValueError("diagnose: x is an empty tuple; give the model's inputs")
    if y is not None:
        _check_tensor("y", y)
    return tuple(value.detach() for value in inputs)


def _check_tensor(name: str, value: Any) -> None:
    if not _core.is_tensor(value):
        raise TypeError(f"diagnose: {name} must be a tensor, got {type(value).__name__}")
    if value.numel() == 0:
        raise ValueError(f"diagnose: {name} is empty, its shape is {tuple(value.shape)}")
    if value.is_floating_point() and not bool(_core.isfinite(value).all()):
        bad = tuple(int(i) for i in _core.isfinite(value).logical_not().nonzero()[0])
        raise ValueError(f"diagnose: {name} is not finite: {name}[{', '.join(map(str, bad))}] is {float(value[bad])}")


def _is_rate(value: object) -> bool:
    return isinstance(value, numbers.Real) and float(value) > 0


def _needs_confirmation(measures: Measures) -> bool:
    facts = Facts(measures)
    if facts.forward.label != "healthy" or facts.backward.label != "healthy":
        return True
    gone = [s for layer in measures.layers for s in (layer.z, layer.gradient) if s is not None]
    return not measures.broken and (_doubts(measures) or any(not math.isfinite(s.ln_var) for s in gone))


def _doubts(measures: Measures) -> bool:
    """Whether units of equal weights got different gradients: by their readers, or by rounding."""
    return any(layer.told_apart > 0 for layer in measures.layers)


def _shadow(model: Any, inputs: tuple[Any, ...], y: Any, loss: Any, coarse: Measures) -> Measures:
    noise = [layer.told_apart for layer in coarse.layers]
    return measure(model, inputs, y, loss, _core.float64, rank=False, noise=noise)


def diagnose(
    model: Any,
    x: Any,
    y: Any = None,
    loss: Any = None,
    dtype: Any = None,
    *,
    shadow: bool = False,
    curvature: bool = False,
    lr: float | None = None,
) -> Report:
    """What a network's initialisation does to a batch, from one forward and backward pass; nothing of it changes.

    Parameters, buffers, gradients, modes, hooks, attributes and the default generator are afterwards what they were:
    the pass runs on copies of all tensors that the modules hold, in the mode that the model is in.

    Args:
        model: a Module with linear layers (`Linear`, or modules of their own that hold one weight of two dims).
        x: the batch, a tensor; a tuple of tensors is passed on as several arguments.
        y: labels or targets, for `loss(output, y)`.
        loss: a function or module that gives one number. Left out it is cross_entropy for whole-numbered y, mse_loss
            for others; without y a fixed random combination of the outputs.
        dtype: run in this dtype instead of the model's own.
        shadow: run in float64, too. This happens by itself where a chain vanishes or explodes, or leaves the dtype.
        curvature: estimate the largest curvature of the loss, and with it the largest rate that SGD bears.
        lr: a learning rate to hold against the curvature, which it asks for.

    Returns:
        A `Report`: `print` it, ask for `healthy` and `findings`, `plot()`, `save(path)` or `repair(model)`.

    Raises:
        TypeError: model is no Module, x or y no tensor, loss not callable.
        ValueError: no parameters, no linear layers, lazy layers, an empty or non-finite batch, labels that the loss
            needs and didn't get, a loss that gives more than one number.
        RuntimeError: the model or the loss failed; the message names the module by its path.
    """
    model = _checked_model(model)
    inputs = _checked_inputs(x, y)
    if lr is not None and not _is_rate(lr):
        raise ValueError(f"diagnose: lr must be a number above 0, got {lr!r}")
    if dtype is not None and not getattr(dtype, "is_floating_point", False):
        raise TypeError(f"diagnose: dtype must be one of floating point, got {dtype!r}")
    begun = time.perf_counter()
    measures = measure(model, inputs, y, loss, dtype)
    double = None
    if measures.dtype != "float64" and shadow:
        double = _shadow(model, inputs, y, loss, measures)
    elif measures.dtype != "float64" and _needs_confirmation(measures):
        with suppress(RuntimeError):  # of a model that can't run in float64: it goes unconfirmed
            double = _shadow(model, inputs, y, loss, measures)
    elif measures.dtype == "float64" and _doubts(measures):
        with suppress(RuntimeError):
            double = _shadow(model, inputs, y, loss, measure(model, inputs, y, loss, _core.float32, rank=False))
    largest = largest_curvature(model, inputs, y, loss) if curvature or lr is not None else None
    facts = Facts(measures, double, largest, lr)
    return Report(
        model=model._get_name(),
        parameters=sum(p.numel() for p in model.parameters()),
        facts=facts,
        findings=find(facts),
        seconds=time.perf_counter() - begun,
        batch=(inputs, y, loss, dtype),
    )
