"""Dropout of elements, of channels, and the kind that keeps mean and variance; `functional` gives the public names."""

from __future__ import annotations

import math
import warnings
from typing import Any

from unspool import _core

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

# What a dropped unit becomes: the value that selu approaches at -∞ is minus this.
_ALPHA = 1.7580993408473766


def _dropped(name: str, input: Any, p: float, training: bool, inplace: bool, channels: bool, alpha: bool) -> Any:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0 or input.numel() == 0:
        return input
    if channels and input.dim() < 2:
        raise RuntimeError(f"{name}: at least 2 dimensions are needed, (N, C, …), got shape {tuple(input.shape)}")
    if p == 1.0:
        y = input * _core.zeros_like(input, requires_grad=False)
    else:
        if channels:  # one draw for each channel
            kept = _core.empty((*input.shape[:2], *(1,) * (input.dim() - 2)), dtype=input.dtype)
            kept.bernoulli_(1 - p)
        else:
            kept = _core.empty_like(input, requires_grad=False).bernoulli_(1 - p)
        if alpha:
            scale = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
            y = input * (kept * scale) + ((kept - 1) * (_ALPHA * scale) + _ALPHA * scale * p)
        else:
            y = input * kept.div_(1 - p)
    return input.copy_(y) if inplace else y


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Each element 0 with probability p, divided by 1 - p otherwise; the input itself where not training."""
    return _dropped("dropout", input, p, training, inplace, False, False)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input")
    return _batched("dropout1d", input, input.dim() == 3, p, training, inplace)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, H, W). Three dims are (N, C, L), as in PyTorch, with a warning."""
    if input.dim() == 3:
        warnings.warn("dropout2d: a 3-D input is taken as (N, C, L); use dropout1d for it", stacklevel=3)
    elif input.dim() != 4:
        _warn_dims("dropout2d", input, "3-D or 4-D")
    return _dropped("dropout2d", input, p, training, inplace, True, False)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    if input.dim() not in (4, 5):
        _warn_dims("dropout3d", input, "4-D or 5-D")
    return _batched("dropout3d", input, input.dim() == 5, p, training, inplace)


def _warn_dims(name: str, input: Any, expected: str) -> None:
    warnings.warn(f"{name}: received a {input.dim()}-D input, which is deprecated; give it {expected}", stacklevel=4)


def _batched(name: str, input: Any, batched: bool, p: float, training: bool, inplace: bool) -> Any:
    if batched:
        return _dropped(name, input, p, training, inplace, True, False)
    y = _dropped(name, input.unsqueeze(0), p, training, inplace, True, False).squeeze(0)
    return input if inplace else y


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout that keeps mean 0 and variance 1: dropped elements become selu's limit. (Klambauer et al., 2017)"""
    return _dropped("alpha_dropout", input, p, training, inplace, False, True)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """alpha_dropout of whole channels of (N, C, …)."""
    return _dropped("feature_alpha_dropout", input, p, training, inplace, True, True)
