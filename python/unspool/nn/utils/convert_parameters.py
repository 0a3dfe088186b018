"""All parameters laid end to end as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unspool import _core

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """One 1-d tensor of all entries, in order; it is recorded, so that gradients flow through it."""
    return _core.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Set the parameters' `.data` to consecutive pieces of `vec`.

    Raises:
        TypeError: `vec` is no Tensor.
        ValueError: `vec` has fewer or more entries than the parameters; they are unchanged.
    """
    if not isinstance(vec, _core.Tensor):
        raise TypeError(f"vector_to_parameters: vec must be a Tensor, got {type(vec).__name__}")
    params = list(parameters)
    sizes = [p.numel() for p in params]
    if sum(sizes) != vec.numel():
        raise ValueError(f"vector_to_parameters: vec has {vec.numel()} entries, the parameters {sum(sizes)}")
    start = 0
    for p, n in zip(params, sizes, strict=True):
        p.data = vec[start : start + n].reshape(tuple(p.shape)).data
        start += n
