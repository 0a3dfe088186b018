"""What each layer of a model reads, the data or an activation's numbers: by module order, or by a forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

from unspool import _core
from unspool._tree import flatten
from unspool.autograd.grad_mode import enable_grad
from unspool.nn._init_gain import RECORDED
from unspool.nn._init_layers import ACTIVATIONS, UNIT, forward, is_layer, layers, watched
from unspool.nn.modules.container import ModuleDict, ModuleList, Sequential
from unspool.nn.modules.module import Module
from unspool.nn.modules.residual import Residual
from unspool.nn.modules.transformer import TransformerDecoder, TransformerEncoder, _Layer
from unspool.nn.parameter import Parameter

__all__ = ["Input", "Read", "by_order", "traced"]


class Input(NamedTuple):
    """A tensor in the middle of a model: what the functions in `chain`, one after the other, make of something."""

    chain: tuple[Any, ...] = ()
    of: str = "unit"  # 'data', 'unit', 'sum' or 'unknown'


class Read(NamedTuple):
    """A layer, and what it reads."""

    path: str
    layer: Any
    input: Input


# --- by module order ---------------------------------------------------------------------------------------------


def by_order(model: Any, caller: str) -> tuple[list[Read], Input]:
    """The layers in the order in which Sequentials run them, and what the model gives.

    Raises ValueError for a module whose own forward decides the order.
    """
    layers(model, caller)
    found: list[Read] = []
    return found, _visited(model, "", Input(of="data"), found, caller)


def _visited(module: Any, path: str, x: Input, found: list[Read], caller: str) -> Input:
    """What `module` makes of x; the layers in it are added to `found`."""
    if is_layer(module):
        if all(module is not read.layer for read in found):
            found.append(Read(path, module, x))
        return Input()
    if isinstance(module, UNIT):
        return Input()
    if isinstance(module, ACTIVATIONS):
        return Input((*x.chain, module), x.of)
    inside = f"{path}." if path else ""
    if isinstance(module, Residual):
        for name, child in module.named_children():
            _visited(child, inside + name, x, found, caller)
        return Input(of="sum")
    if isinstance(module, _Layer):
        for name, child in module.named_children():
            if is_layer(child):
                read = Input((module.activation,)) if name == "linear2" else Input()
                _visited(child, inside + name, read, found, caller)
        return Input(of="sum" if module.norm_first else "unit")
    for name, child in _parts(module, path, caller):
        x = _visited(child, inside + name, x, found, caller)
    return x


def _parts(module: Any, path: str, caller: str) -> list[tuple[str, Any]]:
    """The children in the order in which they run, as far as it can be known."""
    if isinstance(module, (TransformerEncoder, TransformerDecoder)):
        parts = [(f"layers.{name}", layer) for name, layer in module.layers.named_children()]
        return parts if module.norm is None else [*parts, ("norm", module.norm)]
    children = list(module.named_children())
    if type(module).__module__.startswith("unspool.nn.modules") or type(module).forward is Sequential.forward:
        if not isinstance(module, (ModuleDict, ModuleList)):
            return children
    else:
        relevant = [(name, child) for name, child in children if any(map(_matters, child.modules()))]
        if len(relevant) == 1 and not is_layer(relevant[0][1]):
            return relevant
    where = f"module {path!r}" if path else "the model"
    raise ValueError(
        f"{caller}: the forward of {where} ({type(module).__name__}) decides what its layers read; "
        "give a batch= for it to be followed"
    )


def _matters(module: Any) -> bool:
    return is_layer(module) or isinstance(module, (*UNIT, *ACTIVATIONS))


# --- by a forward pass ---------------------------------------------------------------------------------------------

# What only moves numbers.
_MOVES = frozenset(
    (
        "CloneBackward", "PermuteBackward", "SqueezeBackward", "TransposeBackward", "UnsqueezeBackward",
        "ViewBackward",
    )
)  # fmt: skip


def _first_tensor(args: Any, kwargs: Any = None) -> Any:
    return next((leaf for leaf in flatten((args, kwargs or {})) if _core.is_tensor(leaf)), None)


def _input(tensor: Any, made: dict[Any, Any], caller: str) -> Input:
    """Follow the record of `tensor` back to what is known: a module's output, the data."""
    chain: list[Any] = []
    node = tensor.grad_fn
    while node is not None:
        module, source = made.get(node, (None, None))
        name = node.name().rstrip("0123456789")
        if isinstance(module, ACTIVATIONS):
            chain.append(module)
            node = source
        elif module is not None:
            return Input(tuple(chain[::-1]))
        elif name.endswith("AccumulateGrad"):
            return Input(of="unknown") if isinstance(node.variable, Parameter) else Input(tuple(chain[::-1]), "data")
        elif name in RECORDED:
            chain.append(RECORDED[name])
            node = node.next_functions[0][0]
        elif name in _MOVES:
            node = node.next_functions[0][0]
        else:
            break
    return Input(of="unknown")


def traced(model: Any, batch: Any, caller: str) -> tuple[list[Read], Input]:
    """The layers in the order of a forward pass, and what the model gives.

    Raises ValueError where a layer takes no part in it.
    """
    expected = layers(model, caller)
    paths = {id(layer): path for path, layer in expected.items()}
    found: list[Read] = []
    made: dict[Any, Any] = {}  # the record of what a module gave → the module, and the record of what it took
    within: list[Module] = []

    def before(module: Any, args: Any, kwargs: Any) -> None:
        x = _first_tensor(args, kwargs)
        within.append(x.grad_fn)
        if id(module) in paths and all(module is not read.layer for read in found):
            found.append(Read(paths[id(module)], module, _input(x, made, caller)))

    def after(module: Any, args: Any, kwargs: Any, result: Any) -> None:
        source = within.pop()
        node = _first_tensor(result).grad_fn
        if node is not None and node != source:
            made[node] = (module, source)

    with watched(model) as hooks, enable_grad():
        for module in model.modules():
            if _matters(module):
                hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
                hooks.append(module.register_forward_hook(after, with_kwargs=True))
        result = _first_tensor(forward(model, batch, caller))
    idle = [path for path, layer in expected.items() if all(layer is not read.layer for read in found)]
    if idle:
        raise ValueError(f"{caller}: layer {idle[0]!r} takes no part in the forward pass over the batch")
    return found, Input() if result is None else _input(result, made, caller)
