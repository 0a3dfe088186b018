"""What checkpoints refuse or warn of, as PyTorch does; and that nothing is left of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import unspool
import unspool.utils.checkpoint as own
from checkpoint_programs import data, leaf
from checkpoint_runs import in_checkpoint


def _twice(t: Any, reentrant: bool) -> None:
    y = in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3)).sum()
    y.backward()
    y.backward()


def _written(t: Any, reentrant: bool) -> None:
    h = leaf(t, 3) * 2
    y = in_checkpoint(t, reentrant)(lambda a: a.exp(), h).sum()
    h.mul_(2)
    y.backward()


def _written_inside(t: Any, reentrant: bool) -> None:
    h = leaf(t, 3) * 2
    in_checkpoint(t, reentrant)(lambda a: a.mul_(2).exp(), h).sum().backward()


def _grad(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    t.autograd.grad(in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum(), x)


def _grad_after_backward(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    y = in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum()
    y.backward(retain_graph=True)
    t.autograd.grad(y, x)


def _backward_inputs(t: Any, reentrant: bool) -> None:
    x = leaf(t, 3)
    in_checkpoint(t, reentrant)(lambda a: a.exp(), x).sum().backward(inputs=[x])


def _all_detached(t: Any, reentrant: bool) -> None:
    in_checkpoint(t, reentrant)(lambda a: a.exp().detach(), leaf(t, 3)).sum().backward()


def _keyword(t: Any, reentrant: bool) -> None:
    in_checkpoint(t, reentrant)(lambda a, k: a.exp() * k, leaf(t, 3), k=2)


def _context(t: Any, reentrant: bool) -> None:
    in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3), context_fn=lambda: None)


def _unknown_check(t: Any, reentrant: bool) -> None:
    in_checkpoint(t, reentrant)(lambda a: a.exp(), leaf(t, 3), determinism_check="some")


def _another_shape(t: Any, reentrant: bool) -> None:
    sizes = iter([3, 2])
    y = in_checkpoint(t, reentrant)(lambda a: a[: next(sizes)].exp().sin(), leaf(t, 3))
    y.sum().backward()


def _less_used(t: Any, reentrant: bool) -> None:
    times = iter([3, 2])
    x = leaf(t, 3)
    y = in_checkpoint(t, reentrant)(lambda a: sum((a * a).exp() for _ in range(next(times))), x)
    y.sum().backward()


def _raises(t: Any, reentrant: bool) -> None:
    def f(a: Any) -> Any:
        raise KeyError("forward")

    in_checkpoint(t, reentrant)(f, leaf(t, 3))


def _raises_again(t: Any, reentrant: bool) -> None:
    errors = iter([None, KeyError("backward")])

    def f(a: Any) -> Any:
        if error := next(errors):
            t.rand(5)
            raise error
        return a.exp()

    in_checkpoint(t, reentrant)(f, leaf(t, 3)).sum().backward()


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
