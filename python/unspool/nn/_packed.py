"""`PackedSequence`: sequences of several lengths, step by step, without the padding; how they are packed and padded."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from unspool import _core
from unspool.nn._sequences import pad_sequence, unpad_sequence

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "unpack_sequence",
]  # fmt: skip


class _Packed(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(_Packed):
    """Sequences sorted by falling length: `data` holds the first steps of all, then the second steps, and so on.

    `batch_sizes[t]` counts the sequences that reach step t; `sorted_indices` tells where each stood before.
    """

    def __new__(
        cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("PackedSequence: batch_sizes is missing")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With the data converted, as Tensor.to does."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def cpu(self) -> PackedSequence:
        """Itself."""
        return self

    def float(self) -> PackedSequence:
        """With data of float32."""
        return self.to(_core.float32)

    def double(self) -> PackedSequence:
        """With data of float64."""
        return self.to(_core.float64)

    @property
    def is_cuda(self) -> bool:
        """False."""
        return False


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes another; None for None."""
    if permutation is None:
        return None
    return _core.empty_like(permutation).scatter_(0, permutation, _core.arange(permutation.numel()))


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences (T, B, …), or (B, T, …) with batch_first, packed by their lengths.

    Raises:
        RuntimeError: lengths that are not positive, more than T or not one a sequence; or that don't fall, where
            `enforce_sorted` says that they do.
    """
    op = "pack_padded_sequence"
    counts = [int(n) for n in (lengths.tolist() if isinstance(lengths, _core.Tensor) else lengths)]
    order = None
    if not enforce_sorted:
        sorted_lengths, order = _core.tensor(counts, dtype=_core.int64).sort(descending=True)
        counts = sorted_lengths.tolist()
        input = input.index_select(0 if batch_first else 1, order)
    steps = input.transpose(0, 1) if batch_first else input
    if len(counts) != steps.shape[1]:
        raise RuntimeError(f"{op}: Expected `len(lengths)` to be equal to batch_size, but got {len(counts)}")
    if any(n <= 0 for n in counts):
        raise RuntimeError(f"{op}: Length of all samples has to be greater than 0, but got lengths {counts}")
    if any(a < b for a, b in pairwise(counts)):
        raise RuntimeError(
            f"{op}: `lengths` array must be sorted in decreasing order when `enforce_sorted` is True, got {counts}. "
            "You can pass `enforce_sorted=False` to have them sorted"
        )
    if counts[0] > steps.shape[0]:
        raise RuntimeError(f"{op}: Expected lengths of at most {steps.shape[0]}, the input's, got {counts[0]}")
    reached = [sum(n > t for n in counts) for t in range(counts[0])]
    data = _core.cat([steps[t, :b] for t, b in enumerate(reached)])
    return PackedSequence(data, _core.tensor(reached, dtype=_core.int64), order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Any]:
    """The sequences padded to the longest, or to total_length, and their lengths, int64, in the original order."""
    reached = sequence.batch_sizes.tolist()
    longest = len(reached)
    if total_length is not None and total_length < longest:
        raise ValueError(
            f"pad_packed_sequence: total_length must be at least the length of the longest sequence, got "
            f"{total_length} and {longest}"
        )
    rest = tuple(sequence.data.shape[1:])
    steps = []
    for part, b in zip(sequence.data.split(reached), reached, strict=True):
        blank = part.new_full((reached[0] - b, *rest), padding_value)
        steps.append(_core.cat([part, blank]) if b < reached[0] else part)
    blank = sequence.data.new_full((reached[0], *rest), padding_value)
    padded = _core.stack(steps + [blank] * ((total_length or longest) - longest))
    lengths = _core.tensor([sum(b > i for b in reached) for i in range(reached[0])], dtype=_core.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pack_sequence(sequences: Iterable[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (L_i, …), packed."""
    rows = list(sequences)
    lengths = [row.shape[0] for row in rows]
    return pack_padded_sequence(pad_sequence(rows), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The tensors that `pack_sequence` packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
