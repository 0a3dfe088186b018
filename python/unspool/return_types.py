"""The named tuples of functions with several results: `return_types.max`, with `values` and `indices`, and so on."""

from __future__ import annotations

from typing import Any

from unspool import _core


def __getattr__(name: str) -> Any:
    found = _core._return_types().get(name)
    if found is None:
        raise AttributeError(f"module 'unspool.return_types' has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted(_core._return_types())
