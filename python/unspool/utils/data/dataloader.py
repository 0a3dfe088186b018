"""`DataLoader`: batches of a data set, in this process, in PyTorch's order.

Two paths give the same batches: rows of tensors are gathered natively, one call a batch (`_native_batches`);
everything else is fetched sample by sample and collated (`_fetched_batches`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from operator import index
from typing import Any

import numpy as np

from unspool import _core
from unspool.utils.data.collate import default_collate, default_convert
from unspool.utils.data.dataset import IterableDataset, Subset, TensorDataset
from unspool.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    check_count,
    draw_seed,
    fresh_generator,
)

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_FROZEN = frozenset(("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"))
_warned: set[str] = set()


def get_worker_info() -> None:
    """None: data is loaded in the process that iterates, which is no worker."""


class DataLoader:
    """Iterate over `dataset` in batches; every `iter` starts a new epoch.

    Args:
        batch_size: samples a batch; None to get the samples themselves.
        shuffle: a new random order each epoch.
        sampler: indices to read, instead of `shuffle`.
        batch_sampler: lists of indices, instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: accepted with a warning; loading stays in this process.
        collate_fn: makes a batch of a list of samples.
        drop_last: leave out a last batch that is short.
        generator: the random stream to draw from, instead of the global one.
        pin_memory, timeout, worker_init_fn, prefetch_factor, persistent_workers, in_order: without effect.

    Raises:
        ValueError: a size that is not positive, or arguments that exclude each other.
    """

    dataset: Any
    num_workers: int
    prefetch_factor: int | None
    generator: Any
    batch_size: int | None
    drop_last: bool
    sampler: Any
    batch_sampler: Any
    collate_fn: Callable[[Any], Any]
    _ready = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        if generator is not None and not isinstance(generator, _core.Generator):
            raise TypeError(f"DataLoader: generator must be a Generator, got {type(generator).__name__}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler excludes shuffle")
        if isinstance(dataset, IterableDataset) and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: an IterableDataset has its own order; leave out shuffle and samplers")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
            batch_size, drop_last = None, False
        elif batch_size is None:
            if drop_last:
                raise ValueError("DataLoader: batch_size=None gives single samples and excludes drop_last")
        else:
            check_count("DataLoader", "batch_size", batch_size)
        if sampler is None and not isinstance(dataset, IterableDataset):
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        batched = batch_size is not None or batch_sampler is not None
        self.__dict__.update(  # past __setattr__, of which a short fit would see the time
            dataset=dataset,
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            pin_memory=pin_memory,
            pin_memory_device=pin_memory_device,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            generator=generator,
            persistent_workers=persistent_workers,
            in_order=in_order,
            batch_size=batch_size,
            drop_last=drop_last,
            sampler=sampler,
            batch_sampler=batch_sampler,
            collate_fn=collate_fn or (default_collate if batched else default_convert),
            _ready=True,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if self._ready and name in _FROZEN:
            raise ValueError(f"DataLoader: {name} can't be changed after the loader is made; make a new one")
        object.__setattr__(self, name, value)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        # PyTorch draws a base seed for its workers here, also where there are none: the stream must move alike
        draw_seed(self.generator)
        rows = self._rows()
        if rows is not None:
            return self._native_batches(*rows)
        return self._fetched_batches()

    # rows of tensors

    def _rows(self) -> tuple[tuple[Any, ...], Any] | None:
        """(tensors, row numbers or None for all) if batches are rows of tensors in a known order, else None."""
        batches = self.batch_sampler
        if self.collate_fn is not default_collate or type(batches) is not BatchSampler:
            return None
        sampler: Any = batches.sampler
        if type(sampler) is RandomSampler:
            if sampler.replacement or sampler._num_samples is not None:
                return None
        elif type(sampler) is not SequentialSampler:
            return None
        if sampler.data_source is not self.dataset:
            return None
        dataset, picks = self.dataset, None
        while type(dataset) is Subset:
            chosen = np.asarray(dataset.indices)
            if chosen.dtype.kind != "i" or chosen.ndim != 1:
                return None
            chosen = np.where(chosen < 0, chosen + len(dataset.dataset), chosen).astype(np.int64)
            picks = chosen if picks is None else chosen[picks]
            dataset = dataset.dataset
        if type(dataset) is not TensorDataset or any(t.requires_grad for t in dataset.tensors):
            return None
        return dataset.tensors, None if picks is None else _core.from_numpy(picks)

    def _order(self, picks: Any) -> Any:
        """An epoch's row numbers, None for all as they lie. `picks` maps positions in the data set to rows."""
        sampler: Any = self.batch_sampler.sampler
        if type(sampler) is not RandomSampler:
            return picks
        generator = fresh_generator() if sampler.generator is None else sampler.generator
        order = _core.randperm(len(self.dataset), generator=generator)
        return order if picks is None else _core.gather_rows((picks,), order)[0]

    def _draw_empty_pass(self) -> None:
        """RandomSampler's last, empty pass, which comes before a short batch."""
        generator = getattr(self.batch_sampler.sampler, "generator", None)
        if generator is not None:
            _core.randperm(len(self.dataset), generator=generator)

    def _native_batches(self, tensors: tuple[Any, ...], picks: Any) -> Iterator[list[Any]]:
        """One native call a batch."""
        gather, slice_rows = _core.gather_rows, _core.slice_rows
        batches: BatchSampler = self.batch_sampler
        size, n = batches.batch_size, len(self.dataset)
        order = self._order(picks)
        full = n - n % size
        if order is None:
            for start in range(0, full, size):
                yield slice_rows(tensors, start, start + size)
        else:
            for start in range(0, full, size):
                yield gather(tensors, order[start : start + size])
        self._draw_empty_pass()
        if full < n and not batches.drop_last:
            yield slice_rows(tensors, full, n) if order is None else gather(tensors, order[full:n])

    # anything else

    def _fetched_batches(self) -> Iterator[Any]:
        dataset, collate = self.dataset, self.collate_fn
        if isinstance(dataset, IterableDataset):
            yield from self._streamed(iter(dataset))
        elif self.batch_sampler is None:
            for i in self.sampler:
                yield collate(dataset[i])
        elif (
            type(dataset) is TensorDataset
            and collate is default_collate
            and not any(t.requires_grad for t in dataset.tensors)
        ):
            n = len(dataset)
            for batch in self.batch_sampler:
                rows = [index(i) for i in batch]
                yield _core.gather_rows(dataset.tensors, [i + n if i < 0 else i for i in rows])
        else:
            fetch = getattr(dataset, "__getitems__", None)
            for batch in self.batch_sampler:
                yield collate(fetch(batch) if callable(fetch) else [dataset[i] for i in batch])

    def _streamed(self, samples: Iterator[Any]) -> Iterator[Any]:
        collate, size = self.collate_fn, self.batch_size
        if size is None:
            yield from map(collate, samples)
            return
        while batch := list(islice(samples, size)):
            if len(batch) < size and self.drop_last:
                return
            yield collate(batch)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool, context: Any
) -> None:
    for name, value, kind in (("num_workers", num_workers, int), ("timeout", timeout, (int, float))):
        if not isinstance(value, kind):
            raise TypeError(f"DataLoader: {name} must be a number, got {value!r} ({type(value).__name__})")
    if num_workers < 0:
        raise ValueError(f"DataLoader: num_workers must not be negative, got {num_workers}")
    if timeout < 0:
        raise ValueError(f"DataLoader: timeout must not be negative, got {timeout}")
    if num_workers == 0:
        for name, given in (
            ("prefetch_factor", prefetch_factor is not None),
            ("persistent_workers", persistent_workers),
            ("multiprocessing_context", context is not None),
        ):
            if given:
                raise ValueError(f"DataLoader: {name} needs num_workers above 0")
    elif "num_workers" not in _warned:
        _warned.add("num_workers")
        warnings.warn(
            f"DataLoader: num_workers={num_workers} is accepted, but loading stays in this process", stacklevel=3
        )
