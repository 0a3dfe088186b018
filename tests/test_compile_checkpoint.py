"""Checkpoints within frozen functions, whole steps and forwards: the eager bits, random numbers included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim
from unspool.errors import PlanError
from unspool.utils.checkpoint import checkpoint, checkpoint_sequential

Run = Callable[..., Any]


def _one(net: Any, x: Any, run: Run) -> Any:
    return net[3](run(net[0], net[1](x)))


def _in_a_row(net: Any, x: Any, run: Run) -> Any:
    for layer in net:
        x = run(layer, x)
    return x


def _the_same_layer_again(net: Any, x: Any, run: Run) -> Any:
    for _ in range(3):
        x = run(net[0], x)
    return x


def _residual(net: Any, x: Any, run: Run) -> Any:
    for layer in net:
        x = x + run(layer, x)
    return x


def _two_results(net: Any, x: Any, run: Run) -> Any:
    a, b = run(lambda t: (net[0](t), net[1](t)), x)
    return net[2](a) * b


def _beside_each_other(net: Any, x: Any, run: Run) -> Any:
    h = net[0](x)
    return run(net[1], h) + run(net[2], h)


def _in_each_other(net: Any, x: Any, run: Run) -> Any:
    return run(lambda a: net[3](run(lambda b: net[1](run(net[0], b)), net[2](a))), x)


FORMS = {
    "one": _one,
    "in_a_row": _in_a_row,
    "the_same_layer_again": _the_same_layer_again,
    "residual": _residual,
    "two_results": _two_results,
    "beside_each_other": _beside_each_other,
    "in_each_other": _in_each_other,
}


def _network() -> Any:
    unspool.manual_seed(0)
    return nn.ModuleList([nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3), nn.Tanh()) for _ in range(4)])


def _batch() -> tuple[Any, Any]:
    return unspool.randn(5, 6), unspool.randn(5, 6)


def _runner(reentrant: bool, preserve: bool) -> Run:
    return lambda f, *args: checkpoint(f, *args, use_reentrant=reentrant, preserve_rng_state=preserve)


def _stepped(form: Callable[..., Any], run: Run, freeze: bool, **options: Any) -> list[Any]:
    """Bits of losses, gradients, parameters and the random stream over some steps."""
    net, start = _network(), nn.Parameter(unspool.ones(6))  # a reentrant one wants an argument with a gradient
    params = [start, *net.parameters()]
    opt = optim.Adam(params, lr=0.01)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(form(net, x * start, run), y)
        loss.backward()
        opt.step()
        return loss

    call = unspool.compile(step, **options) if freeze else step
    unspool.manual_seed(7)
    seen = []
    for _ in range(5):
        seen += [bits(call(*_batch())), [bits(p) for p in params], [bits(p.grad) for p in params]]
        seen.append(bits(unspool.get_rng_state()))
    assert not freeze or call.plans == 1
    return seen


@pytest.mark.filterwarnings("ignore:checkpoint. none of the arguments")  # of the inner one, in the outer's first run
@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_whole_steps(form: str, reentrant: bool, preserve: bool) -> None:
    run = _runner(reentrant, preserve)
    assert _stepped(FORMS[form], run, freeze=True) == _stepped(FORMS[form], run, freeze=False)


@pytest.mark.parametrize("reentrant", [True, False])
def test_sequential(reentrant: bool) -> None:
    def form(net: Any, x: Any, _: Run) -> Any:
        return checkpoint_sequential(net, 3, x, use_reentrant=reentrant)

    assert _stepped(form, checkpoint, freeze=True) == _stepped(form, checkpoint, freeze=False)


@pytest.mark.parametrize(("form", "budget"), [("in_a_row", 26_000), ("in_each_other", 16_000)])
def test_with_a_memory_budget(form: str, budget: int) -> None:
    """Most of the arena are states of the stream, of 5,056 bytes each."""
    run = _runner(reentrant=False, preserve=True)
    assert _stepped(FORMS[form], run, True, memory_budget=budget) == _stepped(FORMS[form], run, False)


def _forwards(form: Callable[..., Any], run: Run, freeze: bool, argument: bool) -> list[Any]:
    net = _network()
    call: Any = lambda x: form(net, x, run)  # noqa: E731
    call = unspool.compile(call) if freeze else call
    unspool.manual_seed(7)
    seen = []
    for i in range(6):
        x, y = _batch()
        x.requires_grad_(argument)
        if i % 2:
            net.zero_grad()  # else gradients are added to those of the call before
        F.mse_loss(call(x), y).backward()
        seen += [[bits(p.grad) if p.grad is not None else None for p in net.parameters()]]
        seen += [bits(x.grad) if argument else None, bits(unspool.get_rng_state())]
    assert not freeze or call.plans == 1
    return seen


@pytest.mark.parametrize("argument", [True, False])
@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_forwards_whose_backward_is_outside(form: str, preserve: bool, argument: bool) -> None:
    run = _runner(reentrant=False, preserve=preserve)
    assert _forwards(FORMS[form], run, True, argument) == _forwards(FORMS[form], run, False, argument)


def test_a_reentrant_checkpoint_in_such_a_forward_is_refused_with_the_way_out() -> None:
    x = unspool.ones(2, requires_grad=True)
    frozen = unspool.compile(lambda x: checkpoint(unspool.sin, x, use_reentrant=True))
    with pytest.raises(PlanError, match=r"whose backward failed: .*pass use_reentrant=False") as caught:
        frozen(x)
    assert "\n" not in str(caught.value)  # the error, and no traceback
    assert frozen.plans == 0


# ---- What keeps the bits: the stream's state is read and set in replays, too -------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: (unspool.manual_seed(3), unspool.rand(3))[1],
        lambda g: (g.manual_seed(5), unspool.rand(3, generator=g))[1],
        lambda g: (unspool.set_rng_state(g.get_state()), unspool.rand(3), unspool.rand(3, generator=g))[1],
    ],
    ids=["manual_seed", "a generator's", "set_rng_state"],
)
def test_states_of_streams(draw: Callable[[Any], Any]) -> None:
    def seen(freeze: bool) -> list[Any]:
        g = unspool.Generator().manual_seed(2)
        call = unspool.compile(lambda x: x + draw(g)) if freeze else lambda x: x + draw(g)
        unspool.manual_seed(1)
        return [[bits(call(unspool.ones(3) * i)), bits(unspool.rand(2)), bits(g.get_state())] for i in range(5)]

    assert seen(True) == seen(False)


def test_what_is_drawn_after_a_fork() -> None:
    def forks(x: Any) -> Any:
        with unspool.random.fork_rng():
            inner = unspool.rand(3)
        return x + inner - unspool.rand(3) * 2

    frozen = unspool.compile(forks)
    for i in range(5):
        state = unspool.get_rng_state()
        expected = bits(forks(unspool.ones(3) * i)), bits(unspool.get_rng_state())
        unspool.set_rng_state(state)
        assert (bits(frozen(unspool.ones(3) * i)), bits(unspool.get_rng_state())) == expected


def test_recording_a_backward_that_draws_moves_no_stream() -> None:
    """Nobody has asked for this backward: eager, the stream moves on when the program calls one."""

    class Noisy(unspool.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.doubled = x * 2  # kept by the context, not by save_for_backward
            return x.exp()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.doubled + unspool.rand(3)

    def seen(freeze: bool) -> list[Any]:
        w = unspool.ones(3, requires_grad=True)
        call = unspool.compile(lambda x: Noisy.apply(w * x)) if freeze else lambda x: Noisy.apply(w * x)
        unspool.manual_seed(4)
        found = []
        for i in range(5):
            w.grad = None
            y = call(unspool.ones(3) * i)
            found.append(bits(unspool.get_rng_state()))
            y.sum().backward()
            found += [bits(y), bits(w.grad), bits(unspool.get_rng_state())]
        return found

    assert seen(True) == seen(False)


@pytest.mark.parametrize("make", [unspool.Generator, unspool.Generator().clone_state, unspool.seed])
def test_streams_that_are_made_inside_are_refused(make: Callable[[], Any]) -> None:
    def function(x: Any) -> Any:
        make()
        return x * 2

    with pytest.raises(PlanError, match=r"while the function is being frozen"):
        unspool.compile(function)(unspool.ones(1))
