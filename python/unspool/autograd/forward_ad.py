"""Tangents by hand: `make_dual` gives a tensor one, operations carry it, `unpack_dual` reads it.

A dual tensor is a leaf of the recorded graph; reading a tangent is one tangent sweep over that graph.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from unspool import _core
from unspool.autograd.grad_mode import enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, None where it has none."""

    primal: Any
    tangent: Any


class _Level:
    """The dual tensors of the running level: (tensor, tangent)."""

    def __init__(self) -> None:
        self.duals: list[tuple[Any, Any]] = []
        self.recording = enable_grad()
        self.recording.__enter__()


_levels: list[_Level] = []


def enter_dual_level() -> int:
    """Begin a level; one at a time.

    Raises:
        RuntimeError: there is one.
    """
    if _levels:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _levels.append(_Level())
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level; its tangents are gone."""
    if not _levels:
        raise RuntimeError("Trying to exit a forward AD level that was not entered")
    _levels.pop().recording.__exit__(None, None, None)


class dual_level:
    """A scope in which tensors may have tangents."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *_: object) -> None:
        exit_dual_level()


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """The tensor with a tangent, of the same shape and dtype.

    Raises:
        RuntimeError: outside of a level, or the two don't fit.
    """
    if not _levels:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if not tensor.is_floating_point():
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if tensor.shape != tangent.shape or tensor.dtype != tangent.dtype:
        raise RuntimeError(
            f"make_dual: the tangent must have the tensor's shape {tuple(tensor.shape)} and dtype {tensor.dtype}, got "
            f"{tuple(tangent.shape)} and {tangent.dtype}"
        )
    dual = tensor.detach().requires_grad_() if not tensor.requires_grad else tensor.view_as(tensor)
    _levels[-1].duals.append((dual, tangent))
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor and its tangent."""
    if not _levels:
        return UnpackedDualTensor(tensor, None)
    duals = _levels[-1].duals
    for dual, tangent in duals:
        if dual is tensor:
            return UnpackedDualTensor(tensor.detach(), tangent)
    if not tensor.requires_grad or not duals:
        return UnpackedDualTensor(tensor, None)
    inputs, tangents = zip(*duals, strict=True)
    (tangent,) = _core.jvp((tensor,), inputs, tangents)
    if not any(d.grad_fn is not None or t.requires_grad for d, t in duals):
        tangent = tangent.detach()  # no graph goes further back than the duals themselves
    return UnpackedDualTensor(tensor.detach(), tangent)
