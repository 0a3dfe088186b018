"""The recorded graph from outside: nodes, edges, and where saved tensors are kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, NamedTuple

from unspool._core import Node, Tensor

__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


class GradientEdge(NamedTuple):
    """A call and which of its results is meant."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of a tensor goes.

    Raises:
        RuntimeError: it requires none.
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    node: Any = tensor.grad_fn
    if node is None:
        made: Any = tensor.view_as(tensor).grad_fn
        node = made.next_functions[0][0]
    return GradientEdge(node, tensor.output_nr)


@contextmanager
def save_on_cpu(pin_memory: bool = False, device_type: str = "cuda") -> Any:
    """A scope without effect: what backward needs is in the CPU's memory anyway."""
    yield


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Any:
    """A scope without effect: there are no such hooks."""
    yield


class saved_tensors_hooks:
    """Hooks around what backward needs are not there.

    Raises:
        NotImplementedError: always; `utils.checkpoint` holds memory down instead.
    """

    def __init__(self, pack_hook: Any, unpack_hook: Any) -> None:
        raise NotImplementedError(
            "saved_tensors_hooks: saved tensors stay where they are; utils.checkpoint holds memory down instead"
        )
