"""A replay that raises: parameters, statistics, gradients, optimizers' state and random streams are as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim

GOOD, BAD = unspool.tensor([1, 2, 0, 3]), unspool.tensor([1, 2, 9, 3])
TABLE = unspool.randn(5, 4)

# What raises for BAD and not for GOOD, of a tensor of shape (4, 4).
RAISES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": lambda h, i: F.cross_entropy(h, i),
    "cross_entropy without a mean": lambda h, i: F.cross_entropy(h, i, reduction="none"),
    "nll_loss": lambda h, i: F.nll_loss(h.log_softmax(1), i),
    "embedding": lambda h, i: F.embedding(i, TABLE) * h,
    "index": lambda h, i: h[i],
    "index_select": lambda h, i: h.index_select(0, i),
    "gather": lambda h, i: h.gather(1, i[:, None]),
    "scatter": lambda h, i: h.scatter_add(1, i[:, None], h[:, :1]),
    "index_put": lambda h, i: h.index_put((i,), h * 2),
    "floor_divide": lambda h, i: h * (8 // (9 - i))[:, None],
    "remainder": lambda h, i: h * (8 % (9 - i))[:, None],
    "bernoulli": lambda h, i: h * unspool.bernoulli((i / 8).expand(4, 4)),
    "multi_margin_loss": lambda h, i: F.multi_margin_loss(h, i),
    "gaussian_nll_loss": lambda h, i: F.gaussian_nll_loss(h, h, 8.0 - i[:, None].expand(4, 4)),
}


class _Net(nn.Module):
    """Everything that a forward moves on: statistics, a stream of its own and the default one, buffers in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.4)
        self.own = unspool.Generator().manual_seed(5)
        self.register_buffer("calls", unspool.zeros(()))
        self.register_buffer("seen", unspool.zeros(3, 4))

    def forward(self, x: Any) -> Any:
        h = self.drop(self.norm(self.layer(x)))
        with unspool.no_grad():
            self.calls += 1
            self.seen[1:] = self.seen[:-1].clone()
            self.seen.t()[:, 0].copy_(h[0])
        return h + unspool.rand(4, 4, generator=self.own)


class _Step:
    def __init__(self, raises: str, optimizer: str = "Adam") -> None:
        unspool.manual_seed(0)
        self.net = _Net()
        self.other = nn.Linear(4, 4)
        self.raises = RAISES[raises]
        self.opt = getattr(optim, optimizer)(self.net.parameters(), lr=0.01)
        self.opt2 = getattr(optim, optimizer)(self.other.parameters(), lr=0.01)

    def forward_first(self, x: Any, index: Any) -> Any:
        """What raises stands between the forward and backward."""
        self.opt.zero_grad()
        loss = self.raises(self.net(x), index).mean()
        loss.backward()
        self.opt.step()
        return loss.detach()

    def after_an_update(self, x: Any, index: Any) -> Any:
        """What raises comes after a whole step of another optimizer, whose gradients stay."""
        self.opt2.zero_grad()
        self.other(x).square().mean().backward()
        self.opt2.step()
        x.mul_(0.5)
        return self.forward_first(x, index)

    def state(self) -> list[Any]:
        parts = [*self.net.state_dict().values(), *self.other.parameters(), self.net.own.get_state()]
        grads = [None if p.grad is None else bits(p.grad) for m in (self.net, self.other) for p in m.parameters()]
        found = [t for o in (self.opt, self.opt2) for s in o.state.values() for t in s.values()]
        return [*map(bits, [*parts, *found, unspool.get_rng_state()]), grads]


@pytest.mark.parametrize("which", ["forward_first", "after_an_update"])
@pytest.mark.parametrize("raises", RAISES)
def test_what_a_replay_that_raises_had_changed_is_taken_back(raises: str, which: str) -> None:
    """Statistics, buffers, arguments and streams are written before a loss that looks at its labels."""
    states = []
    for frozen in (False, True):
        t = _Step(raises)
        plain = getattr(t, which)
        call = unspool.compile(plain) if frozen else plain
        seen = []
        for i in range(6):
            x = unspool.randn(4, 4)
            if frozen and i > 2:
                before, given = t.state(), bits(x)
                held = [p.grad for p in t.net.parameters()]
                with pytest.raises((IndexError, RuntimeError, ValueError)):
                    call(x, BAD)
                assert t.state() == before
                assert bits(x) == given
                assert all(p.grad is g for p, g in zip(t.net.parameters(), held, strict=True))
            seen += [bits(call(x, GOOD)), *t.state()]
        states.append(seen)
        if frozen:
            assert call.plans == 1
    assert states[0] == states[1]


@pytest.mark.parametrize("optimizer", ["Adagrad", "RMSprop", "SGD"])
def test_an_update_in_python_is_taken_back(optimizer: str) -> None:
    """Its weights and its state, which is made of dicts, where a later part of the step raises."""
    t = _Step("nll_loss", optimizer)
    call = unspool.compile(t.after_an_update)
    for _ in range(3):
        call(unspool.randn(4, 4), GOOD)
    before = t.state()
    grads = [p.grad for p in t.other.parameters()]
    with pytest.raises(IndexError, match="Target 9"):
        call(unspool.randn(4, 4, generator=unspool.Generator()), BAD)
    assert t.state() == before
    assert [p.grad for p in t.other.parameters()] == grads or all(
        p.grad is g for p, g in zip(t.other.parameters(), grads, strict=True)
    )


@pytest.mark.parametrize("optimizer", ["Adagrad", "Adam"])
def test_a_hook_of_an_optimizer_that_raises_after_the_update(optimizer: str) -> None:
    t = _Step("nll_loss", optimizer)
    fails = []

    def hook(*_: object) -> None:
        if fails:
            raise ZeroDivisionError

    t.opt.register_step_post_hook(hook)
    call = unspool.compile(t.forward_first)
    for _ in range(3):
        call(unspool.randn(4, 4), GOOD)
    assert call.plans == 1
    before, x = t.state(), unspool.randn(4, 4, generator=unspool.Generator())
    fails.append(True)
    with pytest.raises(ZeroDivisionError):
        call(x, GOOD)
    assert t.state() == before
    fails.clear()
    call(x, GOOD)
    assert t.state() != before


def test_a_module_whose_forward_raises() -> None:
    unspool.manual_seed(0)
    net, table = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()), nn.Embedding(4, 3)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.table = net, table

        def forward(self, x: Any, i: Any) -> Any:
            return self.net(x) * self.table(i)

    model = unspool.compile(Model())
    x, i = unspool.randn(2, 3), unspool.tensor([0, 3])
    for _ in range(3):
        model(x, i).sum().backward()
    before = [bits(t) for t in (*net.buffers(), table.weight.grad, unspool.get_rng_state())]
    with pytest.raises(IndexError, match="embedding: index 4 is out of bounds"):
        model(x, i + 1)
    assert [bits(t) for t in (*net.buffers(), table.weight.grad, unspool.get_rng_state())] == before
    assert model.plans == 1


def test_gradients_that_a_replay_begins_with_filling() -> None:
    """An embedding's: zeros, to which rows are added."""
    table = nn.Embedding(4, 4)

    @unspool.compile
    def step(i: Any, labels: Any) -> Any:
        table.zero_grad()
        loss = F.cross_entropy(table(i), labels)
        loss.backward()
        return loss.detach()

    for _ in range(4):
        step(GOOD, GOOD.clone())
    before = bits(table.weight.grad)
    with pytest.raises(IndexError, match="Target 9"):
        step(GOOD, BAD)
    assert bits(table.weight.grad) == before
    assert step.plans == 1


def test_gradients_that_a_replay_had_overwritten_before_it_raised() -> None:
    """Their memory is the plan's, and the next replay may write there; not where it may still raise afterwards."""
    w = unspool.ones(4, requires_grad=True)

    @unspool.compile
    def step(x: Any, i: Any) -> Any:
        w.grad = None
        (w * x).sum().backward()
        return TABLE[i]

    for _ in range(3):
        step(unspool.ones(4), GOOD)
    for _ in range(3):
        with pytest.raises(IndexError):
            step(unspool.ones(4) * 7, BAD)
        assert w.grad.tolist() == [1, 1, 1, 1]
    step(unspool.ones(4) * 5, GOOD)
    assert w.grad.tolist() == [5, 5, 5, 5]
