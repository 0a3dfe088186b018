"""Data sets and loaders: the same batches as PyTorch's in the same order, and the same stream afterwards."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import numpy as np
import pytest

import unspool
from unspool.utils import data as ours

torch = pytest.importorskip("torch", reason="PyTorch is the reference for the order of batches")
theirs = pytest.importorskip("torch.utils.data", reason="PyTorch is the reference for the order of batches")


def _plain(value: Any) -> Any:
    """Batches as nested Python values."""
    if isinstance(value, (unspool.Tensor, torch.Tensor)):
        return (str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *[_plain(v) for v in value]]
    return value


def _rows(t: Any, d: Any, n: int) -> Any:
    return d.TensorDataset(t.arange(n * 2, dtype=t.float32).reshape(n, 2), t.arange(n))


def _both(run: Any, seed: int = 3) -> None:
    results = []
    for t, d in ((unspool, ours), (torch, theirs)):
        t.manual_seed(seed)
        got = run(t, d)
        results.append((_plain(got), t.rand(3).tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("n", [1, 2, 7, 10, 33])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 10, 64])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("own_generator", [False, True])
def test_order(n: int, batch_size: int, shuffle: bool, drop_last: bool, own_generator: bool) -> None:
    def run(t: Any, d: Any) -> Any:
        generator = t.Generator().manual_seed(11) if own_generator else None
        loader = d.DataLoader(
            _rows(t, d, n), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, generator=generator
        )
        epochs = [list(loader) for _ in range(3)]
        left = t.rand(2, generator=generator).tolist()
        return [epochs, len(loader), left]

    _both(run)


@pytest.mark.parametrize("taken", range(6))
@pytest.mark.parametrize("n", [10, 12])
def test_the_generator_stands_where_pytorchs_does_after_an_epoch_is_broken_off(taken: int, n: int) -> None:
    def run(t: Any, d: Any) -> Any:
        generator = t.Generator().manual_seed(5)
        loader = d.DataLoader(_rows(t, d, n), batch_size=4, shuffle=True, generator=generator)
        first = list(itertools.islice(iter(loader), taken))
        return [first, t.rand(2, generator=generator).tolist(), list(loader)]

    _both(run)


def test_iterating_moves_the_global_stream_at_iter_and_shuffling_at_the_first_batch() -> None:
    def run(t: Any, d: Any) -> Any:
        loader = d.DataLoader(_rows(t, d, 6), batch_size=4, shuffle=True)
        started = iter(loader)
        between = t.rand(1).tolist()
        return [between, list(started), t.rand(1).tolist()]

    _both(run)


@pytest.mark.parametrize("shuffle", [False, True])
def test_subsets_of_rows(shuffle: bool) -> None:
    def run(t: Any, d: Any) -> Any:
        part = d.Subset(_rows(t, d, 20), [3, 1, 4, 1, 5, 9, -2, 6])
        nested = d.Subset(part, [7, 0, 2, -1])
        return [list(d.DataLoader(s, batch_size=3, shuffle=shuffle)) for s in (part, nested)]

    _both(run)


@pytest.mark.parametrize("lengths", [[5, 5], [3, 7], [0.5, 0.5], [0.33, 0.33, 0.34], [1, 2, 3, 4]])
def test_random_split(lengths: list[float]) -> None:
    def run(t: Any, d: Any) -> Any:
        parts = d.random_split(_rows(t, d, 10), lengths)
        seeded = d.random_split(range(10), lengths, generator=t.Generator().manual_seed(4))
        return [[list(p.indices) for p in parts], [list(p.indices) for p in seeded], list(d.DataLoader(parts[0], 2))]

    _both(run)


def test_samplers() -> None:
    def run(t: Any, d: Any) -> Any:
        source = range(10)
        made = [
            d.SequentialSampler(source),
            d.RandomSampler(source),
            d.RandomSampler(source, num_samples=25),
            d.RandomSampler(source, num_samples=4),
            d.RandomSampler(source, replacement=True, num_samples=70),
            d.RandomSampler(source, generator=t.Generator().manual_seed(1)),
            d.SubsetRandomSampler([4, 8, 15, 16]),
            d.BatchSampler(d.SequentialSampler(source), 3, False),
            d.BatchSampler(d.SequentialSampler(source), 3, True),
            d.BatchSampler([5, 4, 3], 2, False),
        ]
        return [[list(s), len(s)] for s in made]

    _both(run)


def test_loaders_with_samplers_of_ones_own() -> None:
    def run(t: Any, d: Any) -> Any:
        rows = _rows(t, d, 10)
        return [
            list(d.DataLoader(rows, batch_size=4, sampler=[5, 3, 1, -1, 0])),
            list(d.DataLoader(rows, batch_sampler=[[1, 2], [3], [-1, 0, 4]])),
            list(d.DataLoader(rows, batch_size=3, sampler=d.RandomSampler(rows, num_samples=13))),
            list(d.DataLoader(rows, batch_size=3, sampler=d.RandomSampler(range(4)))),
            list(d.DataLoader(rows, batch_size=None)),
            list(d.DataLoader(rows, batch_size=3, collate_fn=len)),
            list(d.DataLoader([{"a": i, "b": (float(i), str(i))} for i in range(5)], batch_size=2, shuffle=True)),
        ]

    _both(run)


def test_data_sets_that_only_iterate() -> None:
    def run(t: Any, d: Any) -> Any:
        class Stream(d.IterableDataset):  # type: ignore[misc]
            def __iter__(self) -> Any:
                return iter(range(7))

        stream = Stream()
        return [
            list(d.DataLoader(stream, batch_size=3)),
            list(d.DataLoader(stream, batch_size=3, drop_last=True)),
            list(d.DataLoader(stream, batch_size=None)),
        ]

    _both(run)


_Pair = collections.namedtuple("_Pair", ["x", "y"])


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2],
        [1.5, 2],
        [True, False],
        ["a", "b"],
        [b"a"],
        [np.float32(1), np.float32(2)],
        [np.float64(1), np.float64(2)],
        [np.ones(2), np.zeros(2)],
        [np.ones((2, 3), np.float32)],
        [{"a": 1, "b": (1, 2)}, {"a": 3, "b": (3, 4)}],
        [[1, 2], [3, 4]],
        [(1, "x", 2.0), (3, "y", 4.0)],
        [_Pair(1, 2.0), _Pair(3, 4.0)],
    ],
)
def test_collate(batch: list[Any]) -> None:
    assert _plain(ours.default_collate(batch)) == _plain(theirs.default_collate(batch))


def test_batches_own_their_memory() -> None:
    x = unspool.arange(6, dtype=unspool.float32)
    for shuffle in (False, True):
        for (batch,) in ours.DataLoader(ours.TensorDataset(x), batch_size=4, shuffle=shuffle):
            batch.zero_()
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_sums_of_data_sets() -> None:
    def run(t: Any, d: Any) -> Any:
        both = _rows(t, d, 3) + _rows(t, d, 4)
        return [len(both), [both[i] for i in (0, 2, 3, 6, -1)], list(d.DataLoader(both, batch_size=3))]

    _both(run)


_BAD: list[tuple[str, Any]] = [
    ("batch_size 0", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_size=0)),
    ("negative batch_size", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_size=-1)),
    ("fractional batch_size", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_size=2.5)),
    ("bool batch_size", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_size=True)),
    ("shuffle and sampler", lambda t, d: d.DataLoader(_rows(t, d, 4), shuffle=True, sampler=[1])),
    ("batch_sampler and shuffle", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_sampler=[[1]], shuffle=True)),
    ("None and drop_last", lambda t, d: d.DataLoader(_rows(t, d, 4), batch_size=None, drop_last=True)),
    ("negative workers", lambda t, d: d.DataLoader(_rows(t, d, 4), num_workers=-1)),
    ("negative timeout", lambda t, d: d.DataLoader(_rows(t, d, 4), timeout=-1)),
    ("prefetch without workers", lambda t, d: d.DataLoader(_rows(t, d, 4), prefetch_factor=2)),
    ("persistent without workers", lambda t, d: d.DataLoader(_rows(t, d, 4), persistent_workers=True)),
    ("changed batch_size", lambda t, d: setattr(d.DataLoader(_rows(t, d, 4)), "batch_size", 2)),
    ("no generator", lambda t, d: list(d.DataLoader(_rows(t, d, 4), generator=3))),
    ("rows differ", lambda t, d: d.TensorDataset(t.ones(2), t.ones(3))),
    ("index", lambda t, d: _rows(t, d, 4)[4]),
    ("index in a sampler", lambda t, d: list(d.DataLoader(_rows(t, d, 4), sampler=[4]))),
    ("split too small", lambda t, d: d.random_split(range(5), [1, 1])),
    ("split fractions", lambda t, d: d.random_split(range(5), [0.5, 0.6])),
    ("shuffled nothing", lambda t, d: d.DataLoader([], shuffle=True)),
    ("no samples", lambda t, d: d.RandomSampler(range(3), num_samples=0)),
    ("replacement", lambda t, d: d.RandomSampler(range(3), replacement=3)),
    ("batch of 0", lambda t, d: d.BatchSampler(range(3), 0, False)),
    ("drop_last", lambda t, d: d.BatchSampler(range(3), 1, 3)),
    ("None in a batch", lambda t, d: d.default_collate([None])),
    ("lengths in a batch", lambda t, d: d.default_collate([(1, 2), (1,)])),
    ("shapes in a batch", lambda t, d: d.default_collate([t.ones(2), t.ones(3)])),
    ("no __getitem__", lambda t, d: d.Dataset()[0]),
    ("no len", lambda t, d: list(d.DataLoader(3))),
]


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch, theirs)
    with pytest.raises(reference.type) as caught:
        call(unspool, ours)
    assert str(caught.value)


def test_workers_are_accepted_with_one_warning() -> None:
    from unspool.utils.data import dataloader

    dataloader._warned.clear()
    with pytest.warns(UserWarning, match="stays in this process"):
        loader = ours.DataLoader(_rows(unspool, ours, 4), batch_size=2, num_workers=2)
    assert len(list(loader)) == 2
    ours.DataLoader(_rows(unspool, ours, 4), num_workers=2)


def test_there_is_no_worker() -> None:
    seen = []

    class Counted(unspool.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            seen.append(unspool.utils.data.get_worker_info())
            yield from range(3)

    assert [b.tolist() for b in unspool.utils.data.DataLoader(Counted(), batch_size=2)] == [[0, 1], [2]]
    assert seen == [None]
