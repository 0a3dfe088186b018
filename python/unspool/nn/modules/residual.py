"""`Residual`, a block around which its input passes. It is unspool's own; PyTorch has none."""

from __future__ import annotations

from typing import Any

from unspool.errors import ShapeError
from unspool.nn.modules.container import Sequential
from unspool.nn.modules.module import Module

__all__ = ["Residual"]


class Residual(Module):
    """shortcut(x) + scale · body(x), where the body is `Sequential(*modules)`. (He et al., 2015)

    Args:
        modules: what the body does, one after the other, or one OrderedDict of names and modules.
        shortcut: a module for the other way, where the body changes the shape; x itself if left out.
        scale: a number, or a Parameter to learn it (begun at 0, the block starts as its shortcut).

    Raises:
        ShapeError: the two ways give different shapes; they are not broadcast.
    """

    def __init__(self, *modules: Any, shortcut: Any = None, scale: Any = 1.0) -> None:
        super().__init__()
        self.body = Sequential(*modules)
        self.add_module("shortcut", shortcut)
        self.scale = scale

    def forward(self, input: Any) -> Any:
        way = self._modules["shortcut"]
        passed = input if way is None else way(input)
        change = self.body(input)
        if passed.shape != change.shape:
            raise ShapeError(
                f"Residual: the body gives shape {tuple(change.shape)}, the shortcut {tuple(passed.shape)}; they are "
                "added, so both must be equal: give a shortcut= that changes the shape as the body does"
            )
        if isinstance(self.scale, (int, float)) and self.scale == 1:
            return passed + change
        return passed + change * self.scale

    def extra_repr(self) -> str:
        return f"scale={self.scale}" if isinstance(self.scale, (int, float)) and self.scale != 1 else ""
