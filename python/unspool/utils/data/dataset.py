"""Data sets: anything with `__getitem__` and `__len__`, rows of tensors, parts and sums of data sets."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import floor, isclose
from typing import Any, Generic, TypeVar

from unspool import _core
from unspool.errors import ShapeError

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset", "TensorDataset",
           "random_split"]  # fmt: skip

_T_co = TypeVar("_T_co", covariant=True)


class RowMismatchError(ShapeError, AssertionError):
    """Tensors of a data set differ in their number of rows; PyTorch raises an AssertionError here."""


class Dataset(Generic[_T_co]):
    """Base class of data sets that are read by index."""

    def __getitem__(self, index: Any) -> _T_co:
        raise NotImplementedError(f"{type(self).__name__} doesn't define __getitem__")

    def __add__(self, other: Any) -> Any:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[_T_co]):
    """Base class of data sets that are only iterated; the loader takes their order as it comes."""

    def __iter__(self) -> Iterator[_T_co]:
        raise NotImplementedError(f"{type(self).__name__} doesn't define __iter__")

    def __add__(self, other: Any) -> Any:
        return ChainDataset([self, other])


class ChainDataset(IterableDataset[Any]):
    """Iterable data sets, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for i, d in enumerate(self.datasets):
            if not isinstance(d, IterableDataset):
                raise TypeError(f"ChainDataset: dataset {i} must be an IterableDataset, got {type(d).__name__}")
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)  # type: ignore[misc]


class StackDataset(Dataset[Any]):
    """Sample i of each data set, as a tuple, or as a dict where they are given by name.

    Raises:
        ValueError: none, both kinds, or different lengths.
    """

    datasets: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                f"StackDataset: takes data sets as `tuple`- (by place) or `dict`-like (by name), got {len(args)} and "
                f"{len(kwargs)}"
            )
        self.datasets = args or kwargs
        sizes = [len(d) for d in (args or kwargs.values())]
        if len(set(sizes)) > 1:
            raise ValueError(f"StackDataset: size mismatch between datasets: {sizes}")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        first = next(iter(self.datasets.values())) if isinstance(self.datasets, dict) else self.datasets[0]
        return len(first)


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Row i of each tensor, as a tuple.

    Raises:
        RowMismatchError: the tensors differ in their first size.
        TypeError: an argument is no Tensor.
    """

    tensors: tuple[Any, ...]

    def __init__(self, *tensors: Any) -> None:
        for i, t in enumerate(tensors):
            if not isinstance(t, _core.Tensor):
                raise TypeError(f"TensorDataset: argument {i} must be a Tensor, got {type(t).__name__}")
            if t.dim() == 0:
                raise RowMismatchError(f"TensorDataset: argument {i} is a tensor with no dimensions, so it has no rows")
        rows = [t.shape[0] for t in tensors]
        if len(set(rows)) > 1:
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            raise RowMismatchError(f"TensorDataset: all tensors need the same number of rows; the shapes are {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        rows: int = self.tensors[0].shape[0]
        return rows


class Subset(Dataset[_T_co]):
    """The entries of `dataset` at `indices`, in that order."""

    dataset: Any
    indices: Sequence[int]

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The entries at all `indices`; a data set may define this to fetch them at once."""
        chosen = [self.indices[i] for i in indices]
        fetch = getattr(self.dataset, "__getitems__", None)
        return fetch(chosen) if callable(fetch) else [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[_T_co]):
    """Data sets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: there must be at least one data set")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: int) -> Any:
        n = len(self)
        if not -n <= idx < n:
            raise IndexError(f"ConcatDataset: index {idx} is out of range for {n} entries")
        idx %= n
        part = bisect_right(self.cumulative_sizes, idx)
        start = self.cumulative_sizes[part - 1] if part else 0
        return self.datasets[part][idx - start]


def _counts(n: int, lengths: Sequence[float]) -> list[int]:
    """Whole lengths; fractions are rounded down and the remainder is dealt out from the first on."""
    if not (isclose(sum(lengths), 1) and sum(lengths) <= 1):
        return list(lengths)  # type: ignore[arg-type]
    for i, share in enumerate(lengths):
        if not 0 <= share <= 1:
            raise ValueError(f"random_split: fraction {i} is {share}; it must lie in [0, 1]")
    counts = [floor(n * share) for share in lengths]
    for i in range(n - sum(counts)):
        counts[i % len(counts)] += 1
    return counts


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset[Any]]:
    """Disjoint random parts of `dataset`, of the given lengths or fractions, drawn by one permutation.

    Raises:
        ValueError: the lengths don't add up to the size of the data set, or one is negative.
        TypeError: a length is neither an int nor part of fractions that add up to 1.
    """
    n = len(dataset)
    counts = _counts(n, lengths)
    if sum(counts) != n:
        raise ValueError(
            f"random_split: the lengths {list(lengths)} add up to {sum(counts)}, the data set has {n} entries"
        )
    for i, count in enumerate(counts):
        if not isinstance(count, int):
            raise TypeError(f"random_split: length {i} is {count!r}; lengths are ints, or fractions that add up to 1")
        if count < 0:
            raise ValueError(f"random_split: length {i} is {count}; it must not be negative")
    for i, count in enumerate(counts):
        if count == 0:
            warnings.warn(f"random_split: part {i} is empty", stacklevel=2)
    order = _core.randperm(n, generator=_core.default_generator if generator is None else generator).tolist()
    ends = list(accumulate(counts))
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)]
