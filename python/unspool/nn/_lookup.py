"""Rows of a table by number, one by one or summed in bags; `functional` gives the public names."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._naming import shown_as
from unspool.autograd.grad_mode import no_grad

__all__ = ["embedding", "embedding_bag"]


def _renormalise(weight: Any, numbers: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows that `numbers` names to a norm of at most max_norm, in place."""
    with no_grad():
        used = _core.zeros(weight.shape[0], dtype=_core.bool)
        used[numbers.reshape(-1)] = True
        rows = weight[used]
        norm = rows.norm(norm_type, -1, keepdim=True)
        weight[used] = _core.where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)


def _rows(weight: Any, numbers: Any, padding_idx: int, by_freq: bool) -> Any:
    rows = _core.embedding(weight, numbers, padding_idx)
    if not by_freq or not rows.requires_grad:
        return rows
    flat = numbers.reshape(-1).to(_core.int64)
    count = _core.zeros(weight.shape[0], dtype=weight.dtype).index_add(
        0, flat, _core.ones(flat.shape, dtype=weight.dtype)
    )
    # The second term is 0; its gradient is what each row gets, divided by how often the row occurs.
    return rows.detach() + (rows - rows.detach()) / count[numbers].unsqueeze(-1)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of weight (n, d) at the integers of input (…), as (…, d); row padding_idx gets no gradient.

    Rows longer than `max_norm` are first scaled to it, in place; `scale_grad_by_freq` divides a row's gradient by how
    often the input names it.
    """
    if sparse:
        raise NotImplementedError("embedding: there are no sparse gradients; leave sparse=False")
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {tuple(weight.shape)}")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError(f"embedding: padding_idx must be within num_embeddings {rows}, got {padding_idx}")
        padding_idx %= rows
    if max_norm is not None:
        _core.embedding(weight.detach(), input)  # numbers that are out of range raise before anything changes
        _renormalise(weight, input, max_norm, norm_type)
    return _rows(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq)


def _check_bags(input: Any, offsets: Any, mode: str, weights: Any, weight: Any, by_freq: bool) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and by_freq:
        raise ValueError("embedding_bag: max mode does not support scaling the gradient by the frequency")
    if input.dim() not in (1, 2):
        raise ValueError(f"embedding_bag: input has to be 1D or 2D Tensor, but got shape {tuple(input.shape)}")
    if input.dim() == 2 and offsets is not None:
        raise ValueError("embedding_bag: if input is 2D, then offsets has to be None; its rows are the bags")
    if input.dim() == 1:
        if offsets is None:
            raise ValueError("embedding_bag: offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError(f"embedding_bag: offsets has to be a 1D Tensor, got shape {tuple(offsets.shape)}")
    if weights is None:
        return
    if mode != "sum":
        raise NotImplementedError(f"embedding_bag: per_sample_weights needs mode 'sum', got {mode!r}")
    if weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: per_sample_weights must have the shape of input, {tuple(input.shape)}; "
            f"got {tuple(weights.shape)}"
        )
    if weights.dtype != weight.dtype:
        raise RuntimeError(
            f"embedding_bag: per_sample_weights must have the dtype of weight, {weight.dtype}; got {weights.dtype}"
        )


def _bags(input: Any, offsets: Any, include_last: bool) -> tuple[Any, int]:
    """The number of the bag of each entry, and how many bags there are."""
    if input.dim() == 2:
        n, length = input.shape
        return _core.arange(n).unsqueeze(1).expand(n, length).reshape(-1), n
    total = input.shape[0]
    starts = offsets.tolist()
    if include_last and not starts:
        raise RuntimeError("embedding_bag: include_last_offset: number of offset should be at least 1")
    if starts and starts[0] != 0:
        raise RuntimeError(f"embedding_bag: offsets[0] has to be 0, got {starts[0]}")
    if starts and starts[-1] > total:
        raise RuntimeError(
            f"embedding_bag: offsets[-1] can not be greater than input's length {total}, got {starts[-1]}"
        )
    if include_last:
        starts = starts[:-1]  # the last bag goes on to the end of the input, whatever the last offset says
    ends = [*starts[1:], total]
    if any(a > b for a, b in zip(starts, ends, strict=True)):
        raise RuntimeError(f"embedding_bag: offsets must not decrease, got {offsets.tolist()}")
    sizes = _core.tensor([b - a for a, b in zip(starts, ends, strict=True)], dtype=_core.int64)
    return _core.repeat_interleave(_core.arange(len(starts)), sizes), len(starts)


def _largest(rows: Any, bags: Any, count: Any) -> Any:
    """The largest entry of each column of each bag; of equal ones the first gets the gradient."""
    n, longest = count.shape[0], int(count.max()) if count.numel() else 0
    if longest == 0:
        return _core.zeros((n, rows.shape[1]), dtype=rows.dtype)
    place = _core.arange(bags.shape[0]) - (count.cumsum(0) - count)[bags]
    grid = _core.zeros((n, longest), dtype=_core.int64)
    grid[bags, place] = _core.arange(bags.shape[0])
    there = _core.arange(longest) < count.unsqueeze(1)
    best = _core.where(there.unsqueeze(2), rows[grid], float("-inf")).max(1)[0]
    return _core.where(count.unsqueeze(1) > 0, best, 0.0)


@shown_as("EmbeddingBagBackward0")
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or largest ('max') of the rows of weight that each bag names; an empty bag gives 0.

    Args:
        input: integers; each row of (B, n) is a bag, or (n) with bags that start at `offsets`.
        per_sample_weights: factors of the rows, of the input's shape, for sums.
        include_last_offset: whether `offsets` ends with the end of the last bag.
        padding_idx: a number that doesn't count.
    """
    _check_bags(input, offsets, mode, per_sample_weights, weight, scale_grad_by_freq)
    bags, n = _bags(input, offsets, include_last_offset)
    flat = input.reshape(-1)[: bags.shape[0]]
    factors = None if per_sample_weights is None else per_sample_weights.reshape(-1)[: bags.shape[0]]
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise AssertionError(f"embedding_bag: padding_idx must be within the {rows} rows, got {padding_idx}")
        counted = flat != padding_idx % rows
        flat, bags = flat[counted], bags[counted]
        factors = None if factors is None else factors[counted]
    found = embedding(flat, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    count = _core.zeros(n, dtype=_core.int64).index_add(0, bags, _core.ones(bags.shape, dtype=_core.int64))
    if mode == "max":
        return _largest(found, bags, count)
    if factors is not None:
        found = found * factors.unsqueeze(1)
    total = _core.zeros((n, weight.shape[1]), dtype=weight.dtype).index_add(0, bags, found)
    return total if mode == "sum" else total / count.clamp(min=1).unsqueeze(1)
