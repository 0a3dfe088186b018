"""What goes wrong around frozen functions: a clear error, and all as before the call, or after a whole step."""

from __future__ import annotations

import gc
import signal
import threading
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim
from unspool.errors import PlanError


class Training:
    """Two layers, dropout and Adam, and all of their state as bits."""

    def __init__(self, optimizer: str = "Adam") -> None:
        unspool.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
        more = {"momentum": 0.9} if optimizer == "SGD" else {}
        self.opt = getattr(optim, optimizer)(self.net.parameters(), lr=0.01, **more)
        self.fails = ""
        self.error: type[BaseException] = ZeroDivisionError

    def step(self, x: Any, y: Any) -> Any:
        self.opt.zero_grad()
        out = self.net(x)
        self.fail("forward")
        loss = F.cross_entropy(out, y)
        loss.backward()
        self.fail("before the step")
        self.opt.step()
        self.fail("after the step")
        return loss

    def fail(self, where: str) -> None:
        if self.fails == where:
            raise self.error(where)

    def state(self) -> list[Any]:
        numbers = [bits(p) for p in self.net.parameters()]
        numbers += [None if p.grad is None else bits(p.grad) for p in self.net.parameters()]
        numbers += [bits(t) for s in self.opt.state.values() for t in s.values()]
        return [*numbers, bits(unspool.get_rng_state())]


X, Y = unspool.randn(6, 4), unspool.randint(0, 3, (6,))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["forward", "before the step", "after the step"])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Adagrad"])
def test_an_exception_in_the_middle_of_a_recording(optimizer: str, where: str, error: type[BaseException]) -> None:
    """All is as before the call, in the first recording, where there is no state yet, and in the second."""
    plain, t = Training(optimizer), Training(optimizer)
    frozen = unspool.compile(t.step)
    seen = []
    for training, call in ((plain, plain.step), (t, frozen)):
        unspool.manual_seed(3)
        for i in range(5):
            if training is t and i < 2:
                before = t.state()
                t.fails, t.error = where, error
                with pytest.raises(error, match=where):
                    frozen(X, Y)
                t.fails = ""
                assert t.state() == before
            call(X, Y)
            seen.append(training.state())
    assert seen[:5] == seen[5:]
    assert frozen.plans == 1


def test_a_refusal_in_the_middle_of_a_recording_too() -> None:
    t = Training()
    t.step(X, Y)

    def reads(x: Any, y: Any) -> Any:
        loss = t.step(x, y)
        return loss if loss.item() > 0 else x

    before = t.state()
    with pytest.raises(PlanError, match="reads a tensor's value"):
        unspool.compile(reads)(X, Y)
    assert t.state() == before


def test_writes_that_are_taken_back() -> None:
    """In place, through views, into arguments, statistics, gradients that were there, and generators."""
    w, x, norm = unspool.ones(3, requires_grad=True), unspool.zeros(2, 3), nn.BatchNorm1d(3)
    g = unspool.Generator().manual_seed(1)
    given = w.grad = unspool.full((3,), 5.0)

    def function(x: Any) -> Any:
        x[0] += 1
        x.t().mul_(2).copy_(unspool.ones(3, 2))
        norm(x + unspool.rand(2, 3, generator=g))
        (w * 2).sum().backward()
        w.grad = None
        with unspool.no_grad():
            w[1:].zero_()
        raise ZeroDivisionError

    def state() -> list[Any]:
        return [bits(t) for t in (w, w.grad, x, *norm.buffers(), g.get_state(), unspool.get_rng_state())]

    before = state()
    with pytest.raises(ZeroDivisionError):
        unspool.compile(function)(x)
    assert state() == before
    assert w.grad is given


def test_an_exception_in_a_replay_changes_nothing() -> None:
    t = Training()
    frozen = unspool.compile(t.step)
    for _ in range(3):
        frozen(X, Y)
    params = [bits(p) for p in t.net.parameters()] + [bits(s) for v in t.opt.state.values() for s in v.values()]
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        frozen(X, unspool.full((6,), 7))
    assert params == [bits(p) for p in t.net.parameters()] + [bits(s) for v in t.opt.state.values() for s in v.values()]
    assert frozen(X, Y).isfinite()


def test_a_loss_that_is_no_scalar() -> None:
    layer = nn.Linear(2, 2)

    def step(x: Any) -> Any:
        layer.zero_grad()
        layer(x).backward()

    frozen = unspool.compile(step)
    before = bits(layer.weight)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        frozen(unspool.ones(3, 2))
    assert bits(layer.weight) == before
    assert layer.weight.grad is None


@pytest.mark.parametrize("result", [None, 3, "text", (), {"a": [1, None]}])
def test_results_without_tensors(result: Any) -> None:
    w = unspool.zeros(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (w * x).sum().backward()
        return result

    frozen = unspool.compile(step)
    for i in range(4):
        assert frozen(unspool.ones(2) * i) == result
        assert w.grad.tolist() == [i, i]
    assert frozen.plans == 1


def test_a_list_of_tensors_that_is_filled() -> None:
    kept: list[Any] = []

    def step(x: Any) -> Any:
        y = x * 2
        kept.append(y)
        return x + 1

    with pytest.raises(PlanError, match=r"lives on after the call, in an attribute, a list or a graph; return it"):
        unspool.compile(step)(unspool.ones(2))
    assert kept[0].tolist() == [2, 2]


def test_recursion() -> None:
    depth = [0]

    @unspool.compile
    def itself(x: Any) -> Any:
        depth[0] += 1
        return itself(x) if depth[0] < 3 else x

    with pytest.raises(PlanError, match="called by another that is being frozen; call the plain one"):
        itself(unspool.ones(1))
    inner = unspool.compile(lambda x: x * 2)
    _ = [inner(unspool.ones(1)) for _ in range(3)]
    outer = unspool.compile(lambda x: inner(x) + 1)
    for _ in range(2):
        with pytest.raises(PlanError, match="called by another"):
            outer(unspool.ones(1))
    assert inner(unspool.ones(1)).tolist() == [2]  # and it goes on alone


def test_more_shapes_than_the_cache_holds() -> None:
    frozen = unspool.compile(lambda x: x * 2 + 1)
    for _ in range(2):
        for n in range(1, 45):
            for _ in range(3):
                x = unspool.randn(n)
                assert bits(frozen(x)) == bits(x * 2 + 1)
    assert frozen.plans <= 32


def test_a_sealed_function_makes_no_more_plans() -> None:
    layer = nn.Linear(2, 3)

    @unspool.compile
    def frozen(x: Any, scale: float = 1.0) -> Any:
        return layer(x).detach() * scale

    with pytest.raises(PlanError, match="has no plan yet"):
        frozen.seal()
    for n in (4, 5):
        for _ in range(2):
            frozen(unspool.ones(n, 2))
    assert frozen.seal() is frozen
    assert frozen(unspool.ones(4, 2)).shape == (4, 3)
    message = (
        r"frozen is sealed, and none of its 2 plans .*\[torch\.float32 \(6, 2\)\], and were .*\(5, 2\)\] or .*\(4, 2\)"
    )
    with pytest.raises(PlanError, match=message):
        frozen(unspool.ones(6, 2))
    with pytest.raises(PlanError, match=r"arguments are .*2\.0\], and were"):
        frozen(unspool.ones(4, 2), 2.0)
    layer.eval()
    with pytest.raises(PlanError, match=r"its modules, parameters.* are not as they were"):
        frozen(unspool.ones(4, 2))
    layer.train()
    assert frozen(unspool.ones(5, 2)).shape == (5, 3)
    assert frozen.plans == 2


def test_keyword_and_nested_arguments() -> None:
    def function(a: Any, *, b: Any = None, scale: float = 1.0) -> Any:
        return (a["u"] if isinstance(a, dict) else a[0]) * scale + (0 if b is None else b)

    frozen = unspool.compile(function)
    one, two = unspool.ones(2), unspool.ones(2) * 2
    calls: list[tuple[Any, dict[str, Any]]] = [
        ([one, two], {}),
        ((one, two), {}),
        ([one, two], {"scale": 3.0}),
        ({"u": one, "v": two}, {}),
        ({"v": one, "u": two}, {}),  # the same leaves under other names
        ([one], {"b": two}),
    ]
    for _ in range(4):
        for a, kwargs in calls:
            assert frozen(a, **kwargs).tolist() == function(a, **kwargs).tolist()
    assert frozen.plans == len(calls)


def test_an_emptied_closure_cell_and_a_lost_optimizer() -> None:
    def made() -> tuple[Any, Any]:
        scale = unspool.ones(1) * 3

        def function(x: Any) -> Any:
            return x * scale

        def forget() -> None:
            nonlocal scale
            del scale

        return unspool.compile(function), forget

    frozen, forget = made()
    for _ in range(3):
        assert frozen(unspool.ones(1)).tolist() == [3]
    forget()
    with pytest.raises(NameError):
        frozen(unspool.ones(1))

    t = Training()
    frozen = unspool.compile(t.step)
    for _ in range(3):
        frozen(X, Y)
    del t.opt
    gc.collect()
    with pytest.raises(AttributeError, match="opt"):
        frozen(X, Y)


def test_a_leaf_that_is_made_inside() -> None:
    def step(x: Any) -> Any:
        w = (x * 2).detach().requires_grad_()
        (w * w).sum().backward()
        return w.grad

    frozen = unspool.compile(step)
    try:
        for i in range(4):
            assert frozen(unspool.ones(2) * i).tolist() == [4 * i, 4 * i]
    except PlanError as error:
        assert "leaf" in str(error) or "lives on" in str(error)  # noqa: PT017


def test_subclasses_and_generators() -> None:
    class Marked(unspool.Tensor):
        pass

    frozen = unspool.compile(lambda x: x * 2)
    x = unspool.ones(2).as_subclass(Marked)
    for _ in range(4):
        assert frozen(x).tolist() == [2, 2]
    g = unspool.Generator().manual_seed(3)
    drawing = unspool.compile(lambda x: x + unspool.rand(2, generator=g))
    other = unspool.Generator().manual_seed(3)
    for _ in range(5):
        assert drawing(unspool.zeros(2)).tolist() == unspool.rand(2, generator=other).tolist()


@pytest.mark.parametrize("repeat", [False, True], ids=["call", "repeat"])
def test_ctrl_c_leaves_whole_steps(repeat: bool) -> None:
    unspool.manual_seed(0)
    w = unspool.zeros(400, 400, requires_grad=True)
    opt = optim.SGD([w], lr=1.0)
    x = unspool.eye(400)

    @unspool.compile
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (w @ x).sum()
        loss.backward()
        opt.step()
        return loss

    for _ in range(3):
        step(x)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            _ = [step.repeat(1000, x) if repeat else step(x) for _ in range(1_000_000)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # Each step takes exactly 1 from every weight: all have seen the same number of them.
    assert len(w.detach().unique()) == 1
    assert w[0, 0] < -3
    count = w[0, 0].item()
    step(x)
    assert (w == count - 1).all()


def test_ctrl_c_within_a_step_in_python_waits_for_the_replay() -> None:
    """Adagrad's step is Python: interrupted, some weights would have been updated and others not."""
    ws = [unspool.zeros(1, requires_grad=True) for _ in range(40)]
    opt = optim.Adagrad(ws, lr=1.0)

    @unspool.compile
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = unspool.cat(ws).sum() * x
        loss.backward()
        opt.step()
        return loss

    x = unspool.ones(())
    _ = [step(x) for _ in range(3)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    for _ in range(20):
        timer = threading.Timer(0.005, signal.raise_signal, (signal.SIGINT,))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            _ = [step(x) for _ in range(1_000_000)]
        timer.join()
        assert len({opt.state[w]["step"].item() for w in ws}) == 1
        assert len({w.item() for w in ws}) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_long_replay_lets_others_run() -> None:
    x = unspool.randn(900, 900)

    @unspool.compile
    def heavy(x: Any) -> Any:
        for _ in range(12):
            x = (x @ x).clamp(-1, 1)
        return x

    for _ in range(3):
        heavy(x)
    state = {"counted": 0, "stop": False}

    def count() -> None:
        while not state["stop"]:
            state["counted"] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(3):
            before = state["counted"]
            heavy(x)
            if state["counted"] > before:
                break
        assert state["counted"] > before
    finally:
        state["stop"] = True
        thread.join()
