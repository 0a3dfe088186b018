"""`utils.checkpoint`: the bits of the program without checkpoints, PyTorch's values and refusals, and less memory.

The programs stand in checkpoint_programs.py.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.utils.checkpoint as own
from checkpoint_programs import (
    BOTH,
    NOT_REENTRANT,
    ROUNDED_OTHERWISE,
    Case,
    Run,
    data,
    grads,
    leaf,
    plain,
    uses_inside_and_outside,
)


def _in_checkpoint(t: Any, use_reentrant: bool) -> Run:
    from importlib import import_module

    found = import_module(f"{t.__name__}.utils.checkpoint").checkpoint

    def run(function: Any, *args: Any, **kwargs: Any) -> Any:
        return found(function, *args, use_reentrant=use_reentrant, **kwargs)

    return run


def _numbers(value: Any) -> Any:
    if hasattr(value, "detach"):
        return value.detach().numpy().copy()
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(v) for v in value]
    return value


def _same(mine: Any, theirs: Any, exactly: bool, where: str = "") -> None:
    assert type(mine) is type(theirs), where
    if isinstance(theirs, np.ndarray):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), where
        if exactly:
            assert mine.tobytes() == theirs.tobytes(), where
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11, err_msg=where)
    elif isinstance(theirs, (list, dict)):
        assert len(mine) == len(theirs), where
        keys = theirs if isinstance(theirs, dict) else range(len(theirs))
        for k in keys:
            _same(mine[k], theirs[k], exactly, f"{where}[{k}]")
    else:
        assert mine == theirs, where


_CASES = [(case, reentrant) for reentrant, cases in ((True, BOTH), (False, NOT_REENTRANT)) for case in cases]
_IDS = [f"{case.__name__}-{'reentrant' if reentrant else 'non-reentrant'}" for case, reentrant in _CASES]


# PyTorch warns, too, where a reentrant checkpoint runs inside another's no_grad; and of anomaly mode.
@pytest.mark.filterwarnings("ignore:.*(requires_grad=True|requires grad|Anomaly Detection)")
@pytest.mark.parametrize(("case", "reentrant"), _CASES, ids=_IDS)
def test_bits_are_those_of_the_program_without_checkpoints(case: Case, reentrant: bool) -> None:
    mine = _numbers(case(unspool, _in_checkpoint(unspool, reentrant)))
    _same(mine, _numbers(case(unspool, plain)), exactly=(case, reentrant) not in ROUNDED_OTHERWISE)


# PyTorch warns, too, where a reentrant checkpoint runs inside another's no_grad; and of anomaly mode.
@pytest.mark.filterwarnings("ignore:.*(requires_grad=True|requires grad|Anomaly Detection)")
@pytest.mark.parametrize(("case", "reentrant"), _CASES, ids=_IDS)
def test_values_are_those_of_pytorch(case: Case, reentrant: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference for values")
    _same(
        _numbers(case(unspool, _in_checkpoint(unspool, reentrant))),
        _numbers(case(torch, _in_checkpoint(torch, reentrant))),
        exactly=False,
    )


def test_sums_are_rounded_in_the_order_of_the_program_without_checkpoints() -> None:
    run = _in_checkpoint(unspool, False)
    _same(_numbers(uses_inside_and_outside(unspool, run)), _numbers(uses_inside_and_outside(unspool, plain)), True)


@pytest.mark.parametrize("reentrant", [True, False])
def test_many_layers_in_float32_keep_their_bits(reentrant: bool) -> None:
    unspool.manual_seed(0)
    model = unspool.nn.Sequential(
        *(
            layer
            for _ in range(6)
            for layer in (unspool.nn.Linear(48, 48), unspool.nn.ReLU(), unspool.nn.LayerNorm(48), unspool.nn.Dropout())
        )
    )
    data = unspool.randn(70, 48)
    seen = []
    for segments in (1, 5):
        unspool.manual_seed(1)
        model.zero_grad()
        x = data.clone().requires_grad_()
        y = own.checkpoint_sequential(model, segments, x, use_reentrant=reentrant)
        (y * y).mean().backward()
        seen.append(_numbers([y, x.grad, grads(model), unspool.get_rng_state()]))
    _same(seen[1], seen[0], exactly=True)


# ---- memory, and how often the function runs ---------------------------------------------------------


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
    y = _in_checkpoint(m, False)(lambda a, *, n: norm(a) * n.add_(1).double(), leaf(m, 5, 3), n=count)
    assert [int(norm.num_batches_tracked), count.item()] == [1, 1.0]
    y.sum().backward()
    assert [int(norm.num_batches_tracked), count.item()] == [2, 2.0]


@pytest.mark.parametrize("t", ["unspool", "torch"])
def test_how_often_nested_functions_run(t: str) -> None:
    m = pytest.importorskip(t, reason="PyTorch is the reference")
    run, calls = _in_checkpoint(m, False), [0, 0]

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


# ---- refusals ----------------------------------------------------------------------------------------


def _twice(t: Any, reentrant: bool) -> None:
    y = _in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3)).sum()
    y.backward()
    y.backward()


def _written(t: Any, reentrant: bool) -> None:
    h = leaf(t, 3) * 2
    y = _in_checkpoint(t, reentrant)(lambda a: a.exp(), h).sum()
    h.mul_(2)
    y.backward()


def _written_inside(t: Any, reentrant: bool) -> None:
    h = leaf(t, 3) * 2
    _in_checkpoint(t, reentrant)(lambda a: a.mul_(2).exp(), h).sum().backward()


def _grad(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    t.autograd.grad(_in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum(), x)


def _grad_after_backward(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    y = _in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum()
    y.backward(retain_graph=True)
    t.autograd.grad(y, x)


def _backward_inputs(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    _in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum().backward(inputs=[x])


def _all_detached(t: Any, reentrant: bool) -> None:
    _in_checkpoint(t, reentrant)(lambda a: a.exp().detach(), leaf(t, 3)).sum().backward()


def _keyword(t: Any, reentrant: bool) -> None:
    _in_checkpoint(t, reentrant)(lambda a, k: a.exp() * k, leaf(t, 3), k=2)


def _context(t: Any, reentrant: bool) -> None:
    _in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3), context_fn=lambda: None)


def _unknown_check(t: Any, reentrant: bool) -> None:
    _in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3), determinism_check="some")


def _another_shape(t: Any, reentrant: bool) -> None:
    sizes = iter([3, 2])
    y = _in_checkpoint(t, reentrant)(lambda a: a[: next(sizes)].exp().sin(), leaf(t, 3))
    y.sum().backward()


def _less_used(t: Any, reentrant: bool) -> None:
    times = iter([3, 2])
    x = leaf(t, 3)
    y = _in_checkpoint(t, reentrant)(lambda a: sum((a * a).exp() for _ in range(next(times))), x)
    y.sum().backward()


def _raises(t: Any, reentrant: bool) -> None:
    def f(a: Any) -> Any:
        raise KeyError("forward")

    _in_checkpoint(t, reentrant)(f, leaf(t, 3))


def _raises_again(t: Any, reentrant: bool) -> None:
    errors = iter([None, KeyError("backward")])

    def f(a: Any) -> Any:
        if error := next(errors):
            t.rand(5)
            raise error
        return a.exp()

    _in_checkpoint(t, reentrant)(f, leaf(t, 3)).sum().backward()


def _unknown_keyword(t: Any, reentrant: bool) -> None:
    from importlib import import_module

    import_module(f"{t.__name__}.utils.checkpoint").checkpoint_sequential(
        [t.sin, t.cos], 1, leaf(t, 3), use_reentrant=reentrant, early=True
    )


def _too_many_segments(t: Any, reentrant: bool) -> None:
    from importlib import import_module

    import_module(f"{t.__name__}.utils.checkpoint").checkpoint_sequential(
        [t.sin, t.cos], 3, leaf(t, 3), use_reentrant=reentrant
    )


_REFUSED: list[tuple[Any, tuple[bool, ...]]] = [
    (_twice, (True, False)),
    (_written, (True, False)),
    (_written_inside, (True, False)),
    (_grad, (True,)),
    (_grad_after_backward, (True,)),
    (_backward_inputs, (True,)),
    (_all_detached, (True, False)),
    (_keyword, (True,)),
    (_context, (True, False)),
    (_unknown_check, (False,)),
    (_another_shape, (True, False)),
    (_less_used, (False,)),
    (_raises, (True, False)),
    (_raises_again, (True, False)),
    (_unknown_keyword, (True, False)),
    (_too_many_segments, (True, False)),
]


@pytest.mark.parametrize(
    ("act", "reentrant"),
    [(act, r) for act, variants in _REFUSED for r in variants],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_refusals_are_pytorchs_and_leave_no_trace(act: Any, reentrant: bool) -> None:
    unspool.manual_seed(4)
    state = unspool.get_rng_state()
    with pytest.raises(Exception) as mine:  # noqa: PT011 - the type is compared below
        act(unspool, reentrant)
    assert (unspool.get_rng_state() == state).all()
    assert unspool.is_grad_enabled()
    torch = pytest.importorskip("torch", reason="PyTorch is the reference for types of errors")
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        act(torch, reentrant)
    expected = RuntimeError if theirs.type.__name__ == "CheckpointError" else theirs.type
    assert issubclass(mine.type, expected), f"{mine.value!r} where PyTorch has {theirs.value!r}"


@pytest.mark.parametrize("t", ["unspool", "torch"])
def test_warnings(t: str) -> None:
    m = pytest.importorskip(t, reason="PyTorch is the reference")
    from importlib import import_module

    found = import_module(f"{t}.utils.checkpoint")
    with pytest.warns(UserWarning, match="use_reentrant"):
        y = found.checkpoint(lambda a: a.exp(), leaf(m, 3))
    assert "Checkpoint" in type(y.grad_fn).__name__
    with pytest.warns(UserWarning, match="use_reentrant"):
        found.checkpoint_sequential([m.sin, m.cos, m.exp], 3, leaf(m, 3)).sum().backward()
    with pytest.warns(UserWarning, match="requires?_grad|requires grad"):
        y = found.checkpoint(lambda a: a.exp() * leaf(m, 3), data(m, 3, grad=False), use_reentrant=True)
    assert not y.requires_grad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = found.checkpoint(lambda a: a.exp() * leaf(m, 3), data(m, 3, grad=False), use_reentrant=False)
    assert y.requires_grad


def test_what_is_not_supported_says_so() -> None:
    x = unspool.ones(3, requires_grad=True)
    with pytest.raises(NotImplementedError, match="debug"):
        own.checkpoint(unspool.exp, x, use_reentrant=False, debug=True)
    with pytest.raises(NotImplementedError, match="early stop"):
        own.checkpoint(unspool.exp, x, use_reentrant=False, early_stop=True)
    with pytest.raises(NotImplementedError, match="early stop"), own.set_checkpoint_early_stop(True):
        pass
    with own.set_checkpoint_early_stop(False):
        own.checkpoint(unspool.exp, x, use_reentrant=False).sum().backward()
    with pytest.raises(TypeError, match="use_reentrant"):
        own.checkpoint(unspool.exp, x, use_reentrant=1)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="use_reentrant=True inside"):
        own.checkpoint(lambda a: own.checkpoint(unspool.exp, a, use_reentrant=True) * 2, x.sin(), use_reentrant=False)


def test_functional_gradients_go_through_and_tangents_are_refused() -> None:
    x = leaf(unspool, 3).detach()

    def f(a: Any) -> Any:
        return own.checkpoint(lambda b: (b**3).sum() * b, a, use_reentrant=False)

    y, pull = unspool.func.vjp(f, x)
    assert (pull(y)[0] == unspool.func.vjp(lambda b: (b**3).sum() * b, x)[1](y)[0]).all()
    assert (unspool.func.grad(lambda a: f(a).sum())(x) == unspool.func.vjp(f, x)[1](unspool.ones_like(x))[0]).all()
    with pytest.raises(NotImplementedError, match="jvp"):
        unspool.func.jvp(f, (x,), (x,))


def test_a_hidden_result_is_refused_in_backward() -> None:
    class Hiding:
        __slots__ = ("t",)

    w = unspool.ones(3, requires_grad=True)
    x = unspool.ones(3, requires_grad=True)
    hidden = Hiding()
    hidden.t = (w * 2).exp()
    y = own.checkpoint(lambda a: a * hidden.t, x, use_reentrant=False)
    with pytest.raises(NotImplementedError, match="pass it as an argument"):
        y.sum().backward()
    assert w.grad is None


@pytest.mark.parametrize("check", ["default", "none"])
def test_checks_can_be_left_out(check: str) -> None:
    times = iter([1, 2])
    x = unspool.ones(3, requires_grad=True)
    y = own.checkpoint(
        lambda a: sum(a.exp() for _ in range(next(times))), x, use_reentrant=False, determinism_check=check
    )
    if check == "default":
        with pytest.raises(own.CheckpointError, match="2 times, where forward had used it 1 times"):
            y.sum().backward()
    else:
        y.sum().backward()
        assert x.grad.tolist() == (2 * x.exp()).tolist()


def test_a_tensor_new_in_backward_is_an_error_whatever_is_checked() -> None:
    x, w = unspool.ones(3, requires_grad=True), unspool.ones(3, requires_grad=True)
    more = iter([False, True])
    y = own.checkpoint(lambda a: a.exp() * (w if next(more) else 1), x, use_reentrant=False, determinism_check="none")
    with pytest.raises(own.CheckpointError, match="had not used in forward"):
        y.sum().backward()


def test_contexts_may_not_swallow_errors() -> None:
    from contextlib import nullcontext, suppress

    def f(a: Any) -> Any:
        raise KeyError

    x = unspool.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="suppressed"):
        own.checkpoint(f, x, use_reentrant=False, context_fn=lambda: (suppress(KeyError), nullcontext()))


def test_sequential_beside_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    from importlib import import_module

    seen = []
    for t in (unspool, torch):
        calls: list[str] = []

        def layer(name: str, f: Any, calls: list[str] = calls) -> Any:
            return lambda a: (calls.append(name), f(a))[1]

        functions = [layer(str(i), f) for i, f in enumerate([t.sin, t.exp, t.tanh, t.cos, t.sin])]
        x = leaf(t, 4)
        found = import_module(f"{t.__name__}.utils.checkpoint")
        y = found.checkpoint_sequential(functions, 2, x, use_reentrant=True, preserve_rng_state=False)
        y.sum().backward()
        seen.append((_numbers([y, x.grad]), calls))
    _same(seen[0][0], seen[1][0], exactly=False)
    assert seen[0][1] == seen[1][1]
