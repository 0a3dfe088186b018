"""Helpers around training: `utils.data` holds data sets and loaders, `utils.checkpoint` trades time for memory."""

from __future__ import annotations

from unspool.utils import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
