"""Helpers around training; `utils.data` holds data sets and loaders."""

from __future__ import annotations

from unspool.utils import data, dlpack

__all__ = ["data", "dlpack"]
