"""The exception types that unspool adds to Python's own; all but `CheckpointError` are made by the native core.

`ShapeError` and `CheckpointError` are both a ValueError and a RuntimeError, `DTypeError` both a TypeError and a
RuntimeError, so that programs written for PyTorch (which raises RuntimeError) and plain Python catch them alike.
"""

from __future__ import annotations

from unspool._core import DTypeError, PlanError, ShapeError

__all__ = ["CheckpointError", "DTypeError", "PlanError", "ShapeError"]


class CheckpointError(ValueError, RuntimeError):
    """A file that `unspool.load` can't read: damaged, cut short, or of another format."""
