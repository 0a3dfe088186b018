"""The version, and that no GPU's library belongs to it."""

from __future__ import annotations

from unspool import __version__

__all__ = ["__version__", "cuda", "debug", "hip", "xpu"]

debug = False
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
