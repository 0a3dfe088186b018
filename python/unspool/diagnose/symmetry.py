"""Units that training can't tell apart: equal (or opposite) weights, and equal (or opposite) gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["twins"]

_CLOSE = 1e-5  # of the larger gradient's norm; units of equal bits get equal bits where their readers are equal

_SEEN = 32  # entries of a row in the first comparison; the bias is among them


def _rows(weight: Any, bias: Any) -> Any:
    return weight if bias is None else np.concatenate([weight, bias[:, None]], axis=1)


def _signs(rows: Any) -> Any:
    """The sign of each row's first number that isn't 0."""
    first = np.argmax(rows != 0, axis=1)
    signs = np.sign(rows[np.arange(len(rows)), first])
    return np.where(signs == 0, 1.0, signs)


def _alike(rows: Any) -> list[list[int]]:
    """Groups of rows of the same bits, up to one sign. Sums of a few magnitudes sort out nearly all others."""
    _, which, counts = np.unique(np.abs(rows[:, -_SEEN:]).sum(1), return_inverse=True, return_counts=True)
    maybe = np.flatnonzero((counts[which] > 1) & np.isfinite(rows).all(1))
    groups: dict[bytes, list[int]] = {}
    for unit, row in zip(maybe.tolist(), rows[maybe] * _signs(rows[maybe])[:, None] + 0.0, strict=True):  # -0.0 to 0.0
        groups.setdefault(row.tobytes(), []).append(unit)
    return [units for units in groups.values() if len(units) > 1]


def twins(
    weight: Any, bias: Any, weight_gradient: Any, bias_gradient: Any, noise: float = 0.0
) -> tuple[list[list[int]], float]:
    """Groups of units (rows of `weight`, entries of `bias`, matrices of NumPy) that are and stay the same up to sign.

    Rows have the same bits, up to one sign, and gradients (tensors) agree with the same sign. Where gradients are not
    finite, the weights decide.

    Also gives the largest norm of a gradient that told such rows apart. It may be rounding's: what equal classes send
    back cancels, and dropout makes different numbers of what is left. A second run, in float64, then knows by `noise`,
    that norm: it is a difference if it is as large there.
    """
    rows = _rows(weight, bias)
    candidates = _alike(rows)
    if not candidates:
        return [], 0.0
    signs = _signs(rows)
    back = None if bias_gradient is None else bias_gradient.detach().double().numpy()
    gradient = _rows(weight_gradient.detach().double().numpy(), back) * signs[:, None]
    if not np.isfinite(gradient).all():
        return candidates, 0.0
    largest = np.abs(gradient).max()
    gradient = gradient / (largest or 1.0)  # so that squares stay in range
    norms = np.linalg.norm(gradient, axis=1)
    least = _CLOSE * noise / (largest or 1.0)
    groups, told = [], 0.0
    for units in candidates:
        rest = np.array(units)
        while len(rest) > 1:
            apart = np.linalg.norm(gradient[rest] - gradient[rest[0]], axis=1)
            same = apart <= np.maximum(_CLOSE * np.maximum(norms[rest], norms[rest[0]]), least)
            if same.sum() > 1:
                groups.append(rest[same].tolist())
            if not same.all():
                told = max(told, float(norms[rest].max() * largest))
            rest = rest[~same]
    return groups, told
