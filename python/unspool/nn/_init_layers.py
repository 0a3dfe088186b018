"""What initialisers of whole models share: the layers, one forward pass over a batch, and undoing it where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unspool import _core
from unspool._tree import flatten
from unspool.autograd.grad_mode import no_grad
from unspool.nn.modules import activation as activations
from unspool.nn.modules import batchnorm, normalization
from unspool.nn.modules.attention import MultiheadAttention
from unspool.nn.modules.linear import Linear
from unspool.nn.modules.module import Module
from unspool.nn.modules.sparse import Embedding

__all__ = [
    "ACTIVATIONS", "UNIT", "biases", "forward", "is_layer", "layers", "named_layers", "only_whole", "watched",
    "weights",
]  # fmt: skip

_NORMS = tuple(getattr(m, name) for m in (batchnorm, normalization) for name in m.__all__)
ACTIVATIONS = tuple(getattr(activations, name) for name in activations.__all__)
UNIT = (*_NORMS, Embedding)  # what they give has the second moment 1, whatever comes in
_IN_PROJECTIONS = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def is_layer(module: Any) -> bool:
    """Whether it is one of the layers that are initialised: linear, attention or a convolution (with a kernel_size)."""
    if isinstance(module, (Linear, MultiheadAttention)):
        return True
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() >= 3 and hasattr(module, "kernel_size")


def weights(layer: Any) -> list[tuple[str, Any]]:
    """The weight matrices of a layer, each with its own fans; an attention has four: '.q', '.k', '.v' and '.out'."""
    if not isinstance(layer, MultiheadAttention):
        return [("", layer._parameters["weight"].detach())]
    whole = layer._parameters["in_proj_weight"]
    parts = [layer._parameters[name].detach() for name in _IN_PROJECTIONS] if whole is None else whole.detach().chunk(3)
    named = list(zip((".q", ".k", ".v"), parts, strict=True))
    return [*named, (".out", layer.out_proj._parameters["weight"].detach())]


def biases(layer: Any) -> list[Any]:
    """The biases of a layer, of an attention that of its result last."""
    own = layer._parameters
    found = [own["in_proj_bias"], layer.out_proj.bias] if isinstance(layer, MultiheadAttention) else [own.get("bias")]
    return [bias.detach() for bias in found if bias is not None]


def named_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Path and module of each layer, in the order in which they were registered; an attention counts as one."""
    within = set()
    for path, module in model.named_modules():
        if id(module) not in within and is_layer(module):
            if isinstance(module, MultiheadAttention):
                within.add(id(module.out_proj))
            yield path, module


def layers(model: Any, caller: str) -> dict[str, Any]:
    """The layers by path, as `named_layers` gives them.

    Raises:
        TypeError: it is no Module.
        ValueError: it has none, or one of them has no weight of its own yet.
    """
    if not isinstance(model, Module):
        raise TypeError(f"{caller}: model must be a Module, got {type(model).__name__}")
    found = dict(named_layers(model))
    for path, module in found.items():
        try:
            empty = any(weight.numel() == 0 for _, weight in weights(module))
        except KeyError:
            raise ValueError(
                f"{caller}: the weight of layer {path!r} is parametrized; initialise it before that"
            ) from None
        if empty:
            raise ValueError(f"{caller}: layer {path!r} ({type(module).__name__}) has no weights yet; call it once")
    if not found:
        raise ValueError(f"{caller}: {type(model).__name__} has no linear layer, convolution or attention")
    return found


def forward(model: Any, batch: Any, caller: str) -> Any:
    """model(batch), or model(*batch) of a tuple, on copies of the tensors. Raises for empty and for non-finite ones."""
    args = batch if isinstance(batch, tuple) else (batch,)
    tensors = [arg for arg in flatten(args) if _core.is_tensor(arg)]
    if not tensors:
        raise TypeError(f"{caller}: batch must be a tensor or a tuple with tensors, got {type(batch).__name__}")
    for tensor in tensors:
        shape = tuple(tensor.shape)
        if not tensor.numel():
            raise ValueError(f"{caller}: batch must not be empty, its shape is {shape}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{caller}: batch of shape {shape} must be finite, it holds NaN or infinity")
    return model(*(_watchable(arg) if _core.is_tensor(arg) else arg for arg in args))


def _watchable(tensor: Any) -> Any:
    """A copy; where gradients are recorded, one from which they can be."""
    tensor = tensor.detach()
    return tensor.requires_grad_().clone() if tensor.is_floating_point() else tensor.clone()


@contextmanager
def watched(model: Any) -> Iterator[list[Any]]:
    """A forward pass without dropout that changes no buffer: hooks put into the list are removed behind it.

    Normalisation stays in its mode, so that in training it takes the batch's own statistics.
    """
    modes = [(m, m.training) for m in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    hooks: list[Any] = []
    try:
        for m, _ in modes:
            if not isinstance(m, _NORMS):
                m.training = False
        yield hooks
    finally:
        for hook in hooks:
            hook.remove()
        for m, mode in modes:
            m.training = mode
        _copy_back(buffers)


@contextmanager
def only_whole(model: Any, generator: Any) -> Iterator[None]:
    """All or nothing: what fails leaves the parameters and the generators as they were."""
    parameters = [(p, p.detach().clone()) for p in model.parameters()]
    generators = [g for g in (_core.default_generator, generator) if isinstance(g, _core.Generator)]
    states = [(g, g.get_state()) for g in generators]
    try:
        yield
    except BaseException:
        _copy_back(parameters)
        for g, state in states:
            g.set_state(state)
        raise


def _copy_back(saved: list[tuple[Any, Any]]) -> None:
    with no_grad():
        for tensor, values in saved:
            tensor.copy_(values)
