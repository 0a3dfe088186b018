"""Where a model's linear maps are: modules with one weight, convolutions among them, and the three within an
attention's `in_proj_weight`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from unspool.nn._multihead import watcher

__all__ = ["Part", "is_linear", "linear_maps", "parts", "passed_over"]


def is_linear(module: Any) -> bool:
    """Whether a module is a `Linear`, a convolution or computes a linear map.

    Such a one has no modules below, and a weight of two dims that is no table (Embedding) and no scale (LayerNorm).
    """
    from unspool import nn

    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return True
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)) or module._modules:
        return False
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 2


@dataclass(frozen=True)
class Part:
    """A linear map of `module`, which is at the path `at`: its weight and bias by name, and which rows, where not all.

    `aside` says that what it gives only weighs what others give, as an attention's queries and keys do.
    """

    at: str
    module: Any
    weight_name: str = "weight"
    weight_rows: slice | None = None
    bias_name: str = "bias"
    bias_rows: slice | None = None
    aside: bool = False

    @property
    def weight(self) -> Any:
        """The weight, or a view of its rows."""
        return _rows(getattr(self.module, self.weight_name), self.weight_rows)

    @property
    def matrix(self) -> Any:
        """The weight as a matrix of units × fan_in: a convolution's units are its channels."""
        return self.weight.flatten(1)

    @property
    def axis(self) -> int:
        """The dim of inputs and outputs along which the units lie."""
        dims: int = self.weight.dim()
        return min(-1, 1 - dims)

    @property
    def bias(self) -> Any:
        """The bias, or a view of its entries; None where there is none."""
        return _rows(getattr(self.module, self.bias_name, None), self.bias_rows)

    @property
    def owns_weight(self) -> bool:
        """Whether the weight is a parameter, and not made of others (nn.utils.parametrize)."""
        return self.module._parameters.get(self.weight_name) is not None

    @property
    def owns_bias(self) -> bool:
        """Whether there is a bias, and it is a parameter."""
        return self.module._parameters.get(self.bias_name) is not None

    @property
    def matrix_grad(self) -> Any:
        """What backward() left in the weight's `grad`, as a matrix; None where it left nothing."""
        return _flat(_rows(getattr(self.module, self.weight_name).grad, self.weight_rows))

    def gradients(self, of: dict[int, Any]) -> tuple[Any, Any]:
        """Of the matrix and of the bias, from those of parameters by their ids; None where there is none."""
        weight, bias = (of.get(id(getattr(self.module, name, None))) for name in (self.weight_name, self.bias_name))
        return _flat(_rows(weight, self.weight_rows)), _rows(bias, self.bias_rows)

    def along_units(self, t: Any) -> Any:
        """A number for each unit, in the shape in which it is added to the outputs."""
        return t.reshape(-1, *(1,) * (-self.axis - 1))

    @property
    def code(self) -> tuple[str, str]:
        """Python for the weight and for the bias of the `model`."""
        weight, bias = (
            f"model.get_submodule({self.at!r}).{name}"
            + ("" if rows is None else f".detach()[{rows.start}:{rows.stop}]")
            for name, rows in ((self.weight_name, self.weight_rows), (self.bias_name, self.bias_rows))
        )
        return weight, bias


def _rows(t: Any, rows: slice | None) -> Any:
    return t if t is None or rows is None else t[rows]


def _flat(t: Any) -> Any:
    return None if t is None else t.flatten(1)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _of_attention(path: str, module: Any) -> dict[str, Part]:
    """By the names that `watcher` gives them; the last is a module of its own."""
    made, size = {}, module.embed_dim
    for i, name in enumerate("qkv"):
        third = slice(i * size, (i + 1) * size)
        same = module._qkv_same_embed_dim
        made[name] = Part(
            path,
            module,
            "in_proj_weight" if same else f"{name}_proj_weight",
            third if same else None,
            "in_proj_bias",
            third,
            aside=name != "v",
        )
    return {**made, "out_proj": Part(_joined(path, "out_proj"), module.out_proj)}


def parts(model: Any) -> dict[str, Part]:
    """All of a model's, by path; those of an attention at 'attention' are 'attention.q', '.k', '.v' and '.out_proj'."""
    from unspool import nn

    found = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            found.update({_joined(path, name): part for name, part in _of_attention(path, module).items()})
        elif is_linear(module):
            found[path] = Part(path, module)
    return found


def passed_over(model: Any) -> dict[str, Any]:
    """The modules that have matrices and are no linear layer or table, by path: recurrent ones, say."""
    from unspool import nn

    known = {id(below) for part in parts(model).values() for below in part.module.modules()}
    return {
        path: module
        for path, module in model.named_modules()
        if id(module) not in known
        and not isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm))
        and any(p is not None and p.dim() > 1 for p in module._parameters.values())
    }


@contextmanager
def linear_maps(model: Any, see: Callable[[str, Part, Any, Any], Any]) -> Iterator[None]:
    """Within the block each linear map that runs is shown to `see(path, part, x, y)`, which may return another y.

    x is None where it came by name. The hooks stay: within `stand_ins` they go with it.
    """
    from unspool import nn

    running: list[tuple[str, dict[str, Part]]] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            of = path, _of_attention(path, module)
            module.register_forward_pre_hook(lambda m, args, of=of: running.append(of))
            module.register_forward_hook(lambda m, args, y: running.clear())
        elif is_linear(module):
            part = Part(path, module)
            module.register_forward_hook(
                lambda m, args, y, path=path, part=part: see(path, part, args[0] if args else None, y)
            )

    def attended(name: str, x: Any, y: Any) -> Any:
        if not running:  # a function's call, whose parameters are anyone's
            return y
        path, found = running[-1]
        other = see(_joined(path, name), found[name], x, y)
        return y if other is None else other

    token = watcher.set(attended)
    try:
        yield
    finally:
        watcher.reset(token)
