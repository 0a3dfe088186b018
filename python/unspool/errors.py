"""The exception types that unspool adds to Python's own; they are made by the native core.

`ShapeError` is both a ValueError and a RuntimeError, `DTypeError` both a TypeError and a RuntimeError, so that
programs written for PyTorch (which raises RuntimeError) and plain Python catch them alike.
"""

from __future__ import annotations

from unspool._core import DTypeError, PlanError, ShapeError

__all__ = ["DTypeError", "PlanError", "ShapeError"]
