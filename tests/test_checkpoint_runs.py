"""How often a checkpointed function runs, and how much memory that saves."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import unspool
import unspool.utils.checkpoint as own
from checkpoint_programs import leaf
from checkpoint_runs import in_checkpoint


def _peak(step: Callable[[], None]) -> int:
    gc.collect()
    unspool.reset_peak_memory_stats()
    before = unspool.memory_stats()["live_bytes"]
    step()
    peak = unspool.memory_stats()["peak_bytes"] - before
    gc.collect()
    return peak


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_deep_chain_needs_less_memory(reentrant: bool) -> None:
    model = unspool.nn.Sequential(
        *(layer for _ in range(64) for layer in (unspool.nn.Linear(32, 32), unspool.nn.Tanh()))
    )
    x = unspool.randn(256, 32, requires_grad=True)
    for p in [x, *model.parameters()]:
        p.grad = unspool.zeros_like(p)

    def step(segments: int) -> None:
        own.checkpoint_sequential(model, segments, x, use_reentrant=reentrant).sum().backward()

    plain, less = _peak(lambda: step(1)), _peak(lambda: step(8))
    assert plain > 64 * 256 * 32 * 4  # an activation a layer
    assert less < plain / 2.5
    live = unspool.memory_stats()["live_bytes"]
    step(8)
    assert unspool.memory_stats()["live_bytes"] == live


@pytest.mark.parametrize("result", ["whole", "view", "chunks"])
def test_what_the_function_saved_is_freed_when_it_returns(result: str) -> None:
    def f(a: Any) -> Any:
        for _ in range(50):
            a = a.tanh()
        return {"whole": lambda: a, "view": lambda: a[:, :10], "chunks": lambda: a.chunk(4, 1)}[result]()

    x = unspool.randn(64, 64, requires_grad=True)
    before = unspool.memory_stats()["live_bytes"]
    y = own.checkpoint(f, x, use_reentrant=False)
    held = unspool.memory_stats()["live_bytes"] - before
    assert held < 3 * 64 * 64 * 4, "the result and little else"
    del y
    assert unspool.memory_stats()["live_bytes"] - before < 64 * 64


def test_a_result_written_into_the_argument_makes_no_cycle() -> None:
    x = unspool.randn(64, 64, requires_grad=True)
    before = unspool.memory_stats()["live_bytes"]
    h = x * 2
    h += own.checkpoint(lambda a: a.exp(), h, use_reentrant=False)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        h.sum().backward()
    del h
    assert unspool.memory_stats()["live_bytes"] - before < 64 * 64


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_function_runs_twice(reentrant: bool) -> None:
    masks = []

    def f(a: Any) -> Any:
        masks.append(unspool.nn.functional.dropout(unspool.ones(50)).tolist())
        return a.exp()

    x = unspool.ones(3, requires_grad=True)
    y = own.checkpoint(f, x, use_reentrant=reentrant).sum()
    state = unspool.get_rng_state()
    assert len(masks) == 1
    y.backward()
    assert len(masks) == 2
    assert masks[0] == masks[1]
    assert (unspool.get_rng_state() == state).all()
    y = own.checkpoint(f, x, use_reentrant=reentrant, preserve_rng_state=False).sum()
    y.backward()
    assert masks[2] != masks[3]
    assert not (unspool.get_rng_state() == state).all()


@pytest.mark.parametrize("t", ["unspool", "torch"])
def test_what_the_function_writes_is_written_twice(t: str) -> None:
    m = pytest.importorskip(t, reason="PyTorch is the reference")
    norm, count = m.nn.BatchNorm1d(3).double(), m.zeros(1)
    y = in_checkpoint(m, False)(lambda a, *, n: norm(a) * n.add_(1).double(), leaf(m, 5, 3), n=count)
    assert [int(norm.num_batches_tracked), count.item()] == [1, 1.0]
    y.sum().backward()
    assert [int(norm.num_batches_tracked), count.item()] == [2, 2.0]


@pytest.mark.parametrize("t", ["unspool", "torch"])
def test_how_often_nested_functions_run(t: str) -> None:
    m = pytest.importorskip(t, reason="PyTorch is the reference")
    run, calls = in_checkpoint(m, False), [0, 0]

    def inner(a: Any) -> Any:
        calls[1] += 1
        return a.exp().sin()

    def outer(a: Any) -> Any:
        calls[0] += 1
        return run(inner, a.sin()).cos()

    x = m.ones(3, requires_grad=True)
    run(outer, x).sum().backward()
    assert calls[0] == 2
    assert calls[1] == 3


def test_contexts_stand_around_the_two_runs() -> None:
    log: list[str] = []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        log.append(f"{name} begins")
        yield
        log.append(f"{name} ends")

    def f(a: Any) -> Any:
        log.append("runs")
        return a.exp()

    x = unspool.ones(3, requires_grad=True)
    y = own.checkpoint(f, x, use_reentrant=False, context_fn=lambda: (noted("forward"), noted("backward")))
    assert log == ["forward begins", "runs", "forward ends"]
    y.sum().backward()
    assert log[3:] == ["backward begins", "runs", "backward ends"]
