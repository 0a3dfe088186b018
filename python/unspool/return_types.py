"""The named tuples that functions with several results return: `max`, `sort`, `topk`, …"""

from __future__ import annotations

from unspool import _core, _functions

globals().update(_core._return_types)
__all__ = sorted(_core._return_types)
del _functions  # it has added its own
