"""`fixup_`: weights of residual branches, scaled so that they train without normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unspool.autograd.grad_mode import no_grad
from unspool.nn import init
from unspool.nn._init_he import he_
from unspool.nn._init_layers import layers, named_layers, only_whole, weights
from unspool.nn.modules.module import Module
from unspool.nn.modules.residual import Residual

__all__ = ["fixup_"]


def fixup_(
    model: Any, batch: Any = None, *, branches: Iterable[Any] | None = None, head: bool = True, generator: Any = None
) -> Any:
    """He's initialisation, scaled in residual branches so that the network's output moves by Θ(η) in a step of rate η.

    With L branches of m weights each, all weights of a branch but its last are multiplied by L^(-1/(2m-2)); the last
    becomes 0, so that every block starts as its shortcut, and so does the network's last layer. (Zhang, Dauphin and Ma,
    2019, rules 1 and 2. Their rule 3, a learnt scale of each branch, is `nn.Residual(…, scale=nn.Parameter(…))`.)
    Attention counts as two weights, of its values and of its result.

    Args:
        model: a module.
        batch: an input, or a tuple of them, where `he_` needs one to follow the model's layers.
        branches: the modules, or lists of layers in their order, that are added to their input; the bodies of all
            `nn.Residual` where left out.
        head: whether the last layer becomes 0, unless it is a branch's.
        generator: draws from it instead of the default one.

    Returns: the model.

    Raises:
        TypeError: a branch is neither a module nor a list of modules.
        ValueError: there is no branch, or one without layers or with layers that are not the model's; or what `he_`
            raises. The model stays as it was.
    """
    order = [id(layer) for layer in layers(model, "fixup_").values()]
    bodies = [module.body for module in model.modules() if isinstance(module, Residual)]
    own = _own_layers([_layers_of(branch) for branch in branches] if branches is not None else map(_within, bodies))
    if not own:
        raise ValueError(f"fixup_: {type(model).__name__} has no nn.Residual with layers; name the branches= in it")
    inside = {id(layer) for branch in own for layer in branch}
    if not inside <= set(order):
        raise ValueError("fixup_: branches must be made of the model's layers; one holds a layer that is not")
    with only_whole(model, generator), no_grad():
        he_(model, batch, generator=generator)
        for branch in own:
            chain = [weight for layer in branch for part, weight in weights(layer) if part not in (".q", ".k")]
            for weight in chain[:-1]:
                weight.mul_(len(own) ** (-1 / (2 * len(chain) - 2)))
            init.zeros_(chain[-1])
        if head and order[-1] not in inside:
            last = next(layer for _, layer in named_layers(model) if id(layer) == order[-1])
            init.zeros_(weights(last)[-1][1])
    return model


def _within(module: Any) -> list[Any]:
    return [layer for _, layer in named_layers(module)]


def _layers_of(branch: Any) -> list[Any]:
    """The layers of a branch that was named: a module, or modules in a list."""
    modules = [branch] if isinstance(branch, Module) else branch
    if not isinstance(modules, (list, tuple)) or not all(isinstance(module, Module) for module in modules):
        raise TypeError(f"fixup_: branches must be modules or lists of modules, got {branch!r:.60}")
    found = [layer for module in modules for layer in _within(module)]
    if not found:
        raise ValueError(f"fixup_: branches must have layers, got {branch!r:.60}")
    return found


def _own_layers(branches: Iterable[list[Any]]) -> list[list[Any]]:
    """Each branch without the layers of smaller branches within it; those that are left with none are left out."""
    found = list(branches)
    claimed: set[int] = set()
    own: dict[int, list[Any]] = {}
    for i in sorted(range(len(found)), key=lambda i: len(found[i])):
        own[i] = [layer for layer in found[i] if id(layer) not in claimed]
        claimed.update(map(id, own[i]))
    return [own[i] for i in range(len(found)) if own[i]]
