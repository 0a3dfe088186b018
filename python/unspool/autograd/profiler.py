"""The older place of `profiler.profile` and `record_function`."""

from __future__ import annotations

from unspool.profiler import profile, record_function

__all__ = ["profile", "record_function"]
