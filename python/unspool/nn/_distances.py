"""Distances and similarities between vectors; `functional` gives them their public names."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool.autograd.grad_mode import no_grad
from unspool.errors import DTypeError, ShapeError

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


def _at_least(norm: Any, eps: float) -> Any:
    """A norm raised to eps where it is less; its gradient stays the norm's, as in PyTorch."""
    norm = norm.clone()
    with no_grad():
        norm.clamp_(min=eps)
    return norm


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """x / max(norm_p(x), eps) along dim."""
    y = input / input.norm(p, dim, keepdim=True).clamp(min=eps).expand_as(input)
    return y if out is None else out.copy_(y)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1·x2 / (max(|x1|, eps) max(|x2|, eps)) along dim; the two broadcast."""
    if not (x1.is_floating_point() or x2.is_floating_point()):
        raise DTypeError(f"cosine_similarity: a floating dtype is needed, got {x1.dtype} and {x2.dtype}")
    shape = (x1.detach() + x2.detach()).shape
    x1, x2 = x1.expand(shape), x2.expand(shape)
    unit1, unit2 = (x / _at_least(x.norm(2, dim, keepdim=True), eps) for x in (x1, x2))
    return (unit1 * unit2).sum(dim)


@shown_as("NormBackward1")
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """norm_p(x1 - x2 + eps) over the last dim; the two broadcast."""
    return _core.norm(x1 - x2 + eps, p, -1, keepdim)


@shown_as("PdistBackward0")
def pdist(input: Any, p: float = 2.0) -> Any:
    """norm_p of the difference of every two rows of (n, d), as (n(n - 1)/2): row 0 with the others, row 1, …"""
    if input.dim() != 2:
        raise ShapeError(f"pdist: only supports 2D tensors, got shape {tuple(input.shape)}")
    if p < 0:
        raise RuntimeError(f"pdist: only supports non-negative p values, got {p}")
    n = input.shape[0]
    a, b = _core.ones(n, n).triu(1).nonzero().unbind(1)
    return (input[a] - input[b]).norm(p, 1)
