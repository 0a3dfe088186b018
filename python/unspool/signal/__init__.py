"""Signals: `windows`."""

from unspool.signal import windows as windows

__all__ = ["windows"]
