"""Initialisation by data: in one forward pass each layer's output is measured, and its weights corrected."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn import init
from unspool.nn._init_layers import biases, forward, layers, only_whole, watched, weights
from unspool.nn.modules.attention import MultiheadAttention
from unspool.nn.modules.linear import Linear

__all__ = ["lsuv_", "standardize_"]


def lsuv_(model: Any, batch: Any, *, generator: Any = None) -> Any:
    """Layer-sequential unit variance: orthogonal weights, then each scaled until its layer's output has variance 1.

    The layers are scaled one after the other, in the order of a forward pass over the batch, in which each reads what
    those before it, scaled already, make of it. As the biases are 0 and the output is linear in the weight, one
    division by the standard deviation does it. (Mishkin and Matas, 2015, algorithm 1, which iterates.) Of attention,
    the weight of its result is scaled. A layer that runs several times is scaled in its first run. Dropout is off;
    buffers do not change.

    Args:
        model: a module; its linear layers, convolutions and attention are initialised.
        batch: an input of the model, or a tuple of them; some hundred examples that stand for all.
        generator: draws from it instead of the default one.

    Returns: the model.

    Raises:
        TypeError: the model is no module, or there is no tensor in the batch.
        ValueError: there is no layer, the batch is empty or not finite or does not reach a layer, or a layer's output
            does not vary or is not finite. The model stays as it was.
    """

    def fill(layer: Any) -> None:
        for _, weight in weights(layer):
            init.orthogonal_(weight, 1.0, generator)

    def correct(path: str, layer: Any, output: Any) -> None:
        variance = output.detach().double().var(correction=0).item()
        if not isfinite(variance) or variance <= 0:
            raise ValueError(f"lsuv_: the output of layer {path!r} has variance {variance} on the batch")
        weights(layer)[-1][1].mul_(1.0 / sqrt(variance))

    return _corrected(model, batch, fill, correct, "lsuv_", generator)


def standardize_(model: Any, batch: Any, *, generator: Any = None) -> Any:
    """Normal weights, then each unit's scaled and its bias set so that its output has mean 0 and variance 1.

    As `lsuv_`, but for each unit instead of each layer, and with the mean taken off, where the layer has a bias.
    (Salimans and Kingma, 2016, section 3; Krähenbühl et al., 2015, section 3.1.) Arguments, result and errors are
    those of `lsuv_`.
    """

    def fill(layer: Any) -> None:
        for _, weight in weights(layer):
            init.normal_(weight, 0.0, sqrt(1.0 / init._calculate_correct_fan(weight, "fan_in")), generator)

    def correct(path: str, layer: Any, output: Any) -> None:
        units = output.detach().double()
        if not isinstance(layer, (Linear, MultiheadAttention)):
            units = units.movedim(1, -1)  # the channels of a convolution
        units = units.reshape(-1, units.shape[-1])
        variance, mean = _core.var_mean(units, 0, correction=0)
        usual = (variance > 0) & variance.isfinite()
        if not usual.all():
            unit = int(usual.logical_not().nonzero()[0].item())
            raise ValueError(
                f"standardize_: unit {unit} of layer {path!r} has variance {variance[unit].item()} on the batch"
            )
        weight = weights(layer)[-1][1]
        scale = variance.rsqrt()
        weight.copy_(weight.double() * scale.reshape(-1, *(1,) * (weight.dim() - 1)))
        for bias in biases(layer)[-1:]:
            bias.copy_(-mean * scale)

    return _corrected(model, batch, fill, correct, "standardize_", generator)


def _corrected(
    model: Any,
    batch: Any,
    fill: Callable[[Any], None],
    correct: Callable[[str, Any, Any], None],
    caller: str,
    generator: Any,
) -> Any:
    """`fill` all layers, then `correct` each when it has run for the first time, and go on with its new output."""
    found = layers(model, caller)
    pending = {id(layer): path for path, layer in found.items()}

    def after(layer: Any, args: Any, kwargs: Any, output: Any) -> Any:
        path = pending.pop(id(layer), None)
        if path is None:
            return None
        correct(path, layer, output[0] if isinstance(output, tuple) else output)
        return layer.forward(*args, **kwargs)

    with only_whole(model, generator), watched(model) as hooks, no_grad():
        for layer in found.values():
            fill(layer)
            for bias in biases(layer):
                init.zeros_(bias)
            hooks.append(layer.register_forward_hook(after, with_kwargs=True))
        forward(model, batch, caller)
        if pending:
            path = next(iter(pending.values()))
            raise ValueError(f"{caller}: layer {path!r} takes no part in the forward pass over the batch")
    return model
