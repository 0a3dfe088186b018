"""What programs ask of `torch.backends`: there is the CPU, and its results are the same on every run."""

from __future__ import annotations

from unspool.backends import cudnn, mps

__all__ = ["cudnn", "mps"]
