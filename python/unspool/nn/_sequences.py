"""Sequences of different lengths as one padded tensor, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unspool import _core

__all__ = ["pad_sequence", "unpad_sequence"]


def pad_sequence(
    sequences: Iterable[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    """Tensors (L_i, …) as one of shape (longest, how many, …), or (how many, longest, …) with `batch_first`.

    Raises:
        ValueError: no sequences, trailing shapes that differ, or another `padding_side` than 'left' and 'right'.
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    rows = list(sequences)
    if not rows:
        raise _core.ShapeError("pad_sequence: received an empty list of sequences")
    rest = tuple(rows[0].shape[1:])
    for i, row in enumerate(rows):
        if row.dim() == 0 or tuple(row.shape[1:]) != rest:
            raise _core.ShapeError(
                f"pad_sequence: sequence {i} has shape {tuple(row.shape)}; all after the first dimension must be {rest}"
            )
    longest = max(row.shape[0] for row in rows)
    out = rows[0].new_full((len(rows), longest, *rest), padding_value)
    for i, row in enumerate(rows):
        n = row.shape[0]
        out[i, longest - n if padding_side == "left" else 0 : longest if padding_side == "left" else n] = row
    return out if batch_first else out.transpose(0, 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The first `lengths[i]` entries of each sequence of a padded tensor."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows, lengths, strict=True)]
