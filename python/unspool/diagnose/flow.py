"""What follows what, read off the graph that a forward pass recorded: nonlinearities, residual sums, products.

Nodes are `grad_fn`s. Functional code is seen as modules are, as long as the linear layers are modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unspool.diagnose import activations

__all__ = ["Flow", "adds_its_input"]

# They leave the next linear map what it was, or scale it: views, dropout's mask, a constant.
_TRANSPARENT = {
    "ViewBackward0", "TransposeBackward0", "PermuteBackward0", "TBackward0", "UnsqueezeBackward0", "SqueezeBackward0",
    "ExpandBackward0", "CloneBackward0", "ToCopyBackward0", "MulBackward0", "DivBackward0", "AddBackward0",
    "SubBackward0", "NegBackward0", "SelectBackward0",
}  # fmt: skip
_NORMS = {"NativeLayerNormBackward0", "NativeBatchNormBackward0", "NativeGroupNormBackward0", "FusedRmsNormBackward0"}
_LEAF = "torch::autograd::AccumulateGrad"
_MOST_STEPS = 32


def _inputs(node: Any) -> list[Any]:
    """The nodes that a node reads and that have a history themselves."""
    return [n for n, _ in node.next_functions if n is not None and n.name() != _LEAF]


def adds_its_input(x: Any, y: Any, surely: bool) -> bool:
    """Whether y is x + something, maybe with a function of one input after it.

    An x without a history can't be told from a constant; there `surely` answers.
    """
    node = y.grad_fn
    for _ in range(4):
        if node is None:
            return False
        entries = [n for n, _ in node.next_functions]
        if node.name() == "AddBackward0" and len(entries) == 2:
            if x.grad_fn is None:
                return surely
            if any(n is not None and n == x.grad_fn for n in entries):
                return True
        before = _inputs(node)
        if len(before) != 1:
            return False
        node = before[0]
    return False


class Flow:
    """Who reads whose result. `linear` are the nodes of the linear layers' outputs, by number."""

    def __init__(self, outputs: Iterable[Any], linear: dict[Any, int], modules: dict[Any, Any]) -> None:
        self._linear, self._modules = linear, modules
        self._readers: dict[Any, list[Any]] = {}
        seen: set[Any] = set()
        todo = [t.grad_fn for t in outputs if t.grad_fn is not None]
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            for before in _inputs(node):
                self._readers.setdefault(before, []).append(node)
                todo.append(before)
        self._signal: set[Any] = set()  # what depends on a linear layer, unlike a view of a parameter
        todo = list(linear)
        while todo:
            node = todo.pop()
            if node not in self._signal:
                self._signal.add(node)
                todo += self._readers.get(node, [])

    def _read(self, node: Any) -> list[Any]:
        return [n for n in _inputs(node) if n in self._signal]

    def _activation(self, node: Any) -> activations.Activation | None:
        module = self._modules.get(node)
        found = None if module is None else activations.of_module(module)
        return found or activations.of_node(node.name())

    def after(self, node: Any) -> tuple[activations.Activation, Any, int | None]:
        """What a linear layer's output meets: (nonlinearity, the node that it reads, None), or (LINEAR, node, the
        number of the next linear layer), or (LINEAR, node, None) where it goes several ways, or out."""
        normed = False
        for _ in range(_MOST_STEPS):
            readers = self._readers.get(node, [])
            if len(readers) != 1:
                break
            reader = readers[0]
            if reader in self._linear:
                return activations.LINEAR, node, None if normed else self._linear[reader]
            found = self._activation(reader)
            if found is not None:
                return found, node, None
            normed = normed or reader.name() in _NORMS
            if len(self._read(reader)) != 1 or reader.name() not in _TRANSPARENT | _NORMS:
                break
            node = reader
        return activations.LINEAR, node, None

    def source(self, node: Any) -> Any:
        """The node of the nonlinearity or linear layer behind what a linear layer reads, views and dropout aside."""
        for _ in range(_MOST_STEPS):
            if node is None or node in self._linear or self._activation(node) is not None:
                break
            before = self._read(node)
            if len(before) != 1:
                break
            node = before[0]
        return node

    def reader_of(self, node: Any) -> Any:
        """The one node that reads this one's result, else None."""
        readers = self._readers.get(node, [])
        return readers[0] if len(readers) == 1 else None
