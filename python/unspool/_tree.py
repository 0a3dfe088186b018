"""Nested tuples, lists and dicts of tensors: take them apart into a flat list and put them together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["flatten", "rebuild_with"]


def flatten(tree: Any) -> list[Any]:
    """The leaves of `tree`, dicts in the order of their keys' insertion."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in flatten(value)]
    if isinstance(tree, (tuple, list)):
        return [leaf for value in tree for leaf in flatten(value)]
    return [tree]


def rebuild_with(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree shaped like `tree` whose leaves are taken from `leaves` in `flatten`'s order."""
    if isinstance(tree, dict):
        return type(tree)((key, rebuild_with(value, leaves)) for key, value in tree.items())
    if isinstance(tree, (tuple, list)):
        made: Any = [rebuild_with(value, leaves) for value in tree]
        if hasattr(tree, "_fields"):
            make: Callable[..., Any] = type(tree)
            return make(*made)
        return type(tree)(made)
    return next(leaves)
