"""The Python handle of a tensor: identity, attributes, subclasses, lifetimes, cycles, threads."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """Each test gives back all the engine's memory that it took."""
    gc.collect()
    before = unspool.memory_stats()["live_bytes"]
    yield
    gc.collect()
    after = unspool.memory_stats()["live_bytes"]
    assert after <= before, f"{after - before} bytes are still live"


def test_one_tensor_has_one_handle() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    assert w.grad is w.grad
    w.grad.note = 1
    assert w.grad.note == 1
    m = nn.Linear(2, 3)
    assert m.weight is next(iter(m.parameters()))
    assert m.weight is m.weight
    assert w.add_ is not None
    x = unspool.ones(2)
    assert x.add_(1) is x
    assert x.fill_(2) is x
    assert (+x) is x
    y = x
    y += 1
    assert y is x
    assert x.requires_grad_() is x
    base = unspool.ones(2, 2)
    row = (base * 1.0)[0]
    assert row is not (base * 1.0)[0]
    holder = unspool.optim.SGD([w], lr=0.1)
    assert holder.param_groups[0]["params"][0] is w


def test_a_dict_finds_a_tensor_under_a_new_handle() -> None:
    w = unspool.tensor([1.0], requires_grad=True)
    w.grad = unspool.zeros(1)
    number = hash(w.grad)
    others = [unspool.zeros(1) for _ in range(20)]  # the old handle is used again
    assert hash(w.grad) == number
    assert len({hash(t) for t in others} | {number}) == 21


def test_attributes_outlive_the_handle_in_grad() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    w.grad = unspool.zeros(2)
    w.grad.note = ["kept"]
    gc.collect()
    assert w.grad.note == ["kept"]
    watch = weakref.ref(w.grad.note[0].__class__)
    assert watch() is str
    w.grad = None
    w.grad = unspool.zeros(2)
    assert not hasattr(w.grad, "note")


class Holder:
    """Something that can be watched."""


def test_attributes_outlive_the_handle_in_a_graph() -> None:
    def build() -> tuple[Any, Any]:
        w = unspool.tensor([2.0], requires_grad=True)
        w.note = Holder()
        return (w * w).sum(), weakref.ref(w.note)

    loss, watch = build()
    gc.collect()
    assert watch() is not None  # the graph holds w, w holds its attributes
    function = loss.grad_fn
    assert function is not None
    loss.backward()
    del function
    loss = None
    gc.collect()
    assert watch() is None


def test_a_parameter_stays_one_when_its_handle_dies() -> None:
    def build() -> Any:
        p = nn.Parameter(unspool.ones(2))
        p.note = "mine"
        holder = unspool.zeros(2, requires_grad=True)
        holder.grad = p.detach()
        kept = nn.Parameter(unspool.full((2,), 3.0))
        kept.note = "kept"
        holder.grad = kept
        return holder

    holder = build()
    gc.collect()
    assert type(holder.grad) is nn.Parameter
    assert holder.grad.note == "kept"
    assert holder.grad.tolist() == [3.0, 3.0]
    assert repr(holder.grad).startswith("Parameter containing")


def test_optimizer_state_is_keyed_by_the_parameter() -> None:
    m = nn.Linear(2, 1)
    optimizer = unspool.optim.Adam(m.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        m(unspool.ones(3, 2)).sum().backward()
        optimizer.step()
    gc.collect()
    assert len(optimizer.state) == 2
    assert set(optimizer.state[m.weight]) == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizer.state[m.weight]["exp_avg"] is optimizer.state[m.weight]["exp_avg"]
    assert optimizer.state[m.bias]["step"].item() == 2.0


def test_weak_references() -> None:
    t = unspool.ones(3)
    watch = weakref.ref(t)
    assert watch() is t
    called = []
    other = unspool.ones(1)
    weakref.finalize(other, called.append, 1)
    del other
    assert called == [1]
    alive: Any = weakref.WeakValueDictionary(t=t)
    assert alive["t"] is t
    del t
    assert watch() is None
    assert len(alive) == 0
    # a handle from the free list carries none of its predecessor's
    again = unspool.ones(3)
    assert weakref.getweakrefcount(again) == 0
    assert not again.__dict__


class Named(unspool.Tensor):
    """A subclass with state and behaviour of its own."""

    label: str = "none"

    def shout(self) -> str:
        return self.label.upper()


def test_subclasses() -> None:
    t = Named([1.0, 2.0])
    assert type(t) is Named
    assert isinstance(t, unspool.Tensor)
    assert unspool.is_tensor(t)
    assert t.shout() == "NONE"
    t.label = "loss"
    assert t.shout() == "LOSS"
    assert t.tolist() == [1.0, 2.0]
    assert type(t + 1) is unspool.Tensor
    assert (t @ t).item() == 5.0
    assert (1 - t).tolist() == [0.0, -1.0]
    t += 1
    assert type(t) is Named
    assert t.label == "loss"
    made = unspool.Tensor._make_subclass(Named, unspool.ones(2), True)
    assert type(made) is Named
    assert made.requires_grad
    made.label = "w"
    loss = (made * 3).sum()
    watch = weakref.ref(made)
    del made
    assert watch() is None
    loss.backward()
    with pytest.raises(TypeError, match="subclass"):
        unspool.Tensor._make_subclass(int, unspool.ones(1))

    class Slotted(unspool.Tensor):
        __slots__ = ("extra",)

    slotted = Slotted(2)
    slotted.extra = [1]
    assert slotted.extra == [1]
    del slotted

    class Dying(unspool.Tensor):
        gone: list[int] = []  # noqa: RUF012

        def __del__(self) -> None:
            self.gone.append(self.numel())

    d = Dying(4)
    del d
    assert Dying.gone == [4]

    class Own(nn.Parameter):
        pass

    own = Own(unspool.ones(1))
    m = nn.Module()
    m.w = own
    assert type(next(iter(m.parameters()))) is Own


def test_cycles_through_attributes_are_collected() -> None:
    watches = []
    for kind in (unspool.ones, Named):
        t = kind(2)
        t.itself = t
        other = unspool.ones(1)
        t.other, other.back = other, t
        t.closure = lambda t=t: t
        watches += [weakref.ref(t), weakref.ref(other)]
        del t, other
    gc.collect()
    assert [w() for w in watches] == [None] * 4
    p = nn.Parameter(unspool.ones(3))
    p.owner = {"p": p}
    watch = weakref.ref(p)
    del p
    gc.collect()
    assert watch() is None


def test_a_long_chain_of_attributes_is_freed_on_a_small_stack() -> None:
    def build() -> None:
        head = unspool.ones(1)
        for _ in range(100_000):
            t = unspool.ones(1)
            t.next = head
            head = t
        del head, t

    stack = threading.stack_size(1 << 20)
    try:
        worker = threading.Thread(target=build)
        worker.start()
        worker.join()
    finally:
        threading.stack_size(stack)


def test_handles_are_reused_and_reference_counts_are_exact() -> None:
    t = unspool.ones(4)
    w = unspool.ones(4, requires_grad=True)
    (w * 1).sum().backward()
    none, shape = sys.getrefcount(None), t.shape
    gc.collect()
    counts = [sys.getrefcount(o) for o in (t, w, w.grad, unspool.float32, shape)]
    objects = len(gc.get_objects())
    for _ in range(2000):
        a = t + w
        b = a.sum()
        b.backward()
        _ = b.grad_fn, t.shape, t.dtype, t.T, t[1:], w.grad, a.requires_grad, t.tolist(), list(t), str(b.item())
        t.mul_(1.0)
        float(b), int(b), bool(b), f"{b:.2f}"
        t.max(0), unspool.cat([t, t]), t.reshape(2, 2), 2.0 * t, t == 1, t.to(unspool.float64)
        for bad in ("t + None", "t[9]", "t.view(3)", "t.sum(4)", "unspool.zeros('x')", "t.foo"):
            with suppress(TypeError, IndexError, ValueError, AttributeError):
                eval(bad, {"t": t, "unspool": unspool})
    del a, b, _
    gc.collect()
    assert [sys.getrefcount(o) for o in (t, w, w.grad, unspool.float32, shape)] == counts
    assert len(gc.get_objects()) <= objects + 20
    assert abs(sys.getrefcount(None) - none) < 200


def test_many_handles_at_once() -> None:
    tensors = [unspool.full((), float(i)) for i in range(5000)]
    assert len({id(t) for t in tensors}) == 5000
    del tensors[::2]
    fresh = [unspool.full((), -float(i)) for i in range(3000)]
    assert [t.item() for t in tensors[:3]] == [1.0, 3.0, 5.0]
    assert fresh[2999].item() == -2999.0
    assert not any(t.__dict__ for t in fresh)


def _train(seed: int, steps: int, out: dict[int, list[float]]) -> None:
    generator = unspool.Generator().manual_seed(seed)
    w1 = unspool.randn(5, 8, generator=generator).requires_grad_()
    w2 = unspool.randn(8, 1, generator=generator).requires_grad_()
    x, y = unspool.randn(16, 5, generator=generator), unspool.randn(16, 1, generator=generator)
    optimizer = unspool.optim.SGD([w1, w2], lr=0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss((x @ w1).relu() @ w2, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    out[seed] = losses


def test_threads_train_apart() -> None:
    alone: dict[int, list[float]] = {}
    for seed in range(4):
        _train(seed, 300, alone)
    together: dict[int, list[float]] = {}
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=_train, args=(seed, 300, together)) for seed in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(old)
    assert together == alone


def test_backward_in_another_thread() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    worker = threading.Thread(target=loss.backward)
    worker.start()
    worker.join()
    assert w.grad.tolist() == [2.0, 4.0]
    made: list[Any] = []
    worker = threading.Thread(target=lambda: made.append((w * 3).sum()))
    worker.start()
    worker.join()
    made.pop().backward()
    assert w.grad.tolist() == [5.0, 7.0]


def test_grad_mode_belongs_to_a_thread() -> None:
    modes = []
    with unspool.no_grad():
        worker = threading.Thread(target=lambda: modes.append(unspool.is_grad_enabled()))
        worker.start()
        worker.join()
        assert not unspool.is_grad_enabled()
    assert modes == [True]


def test_memory_freed_in_another_thread_comes_back() -> None:
    unspool.empty_cache()
    before = unspool.memory_stats()["live_bytes"]
    shelf = [unspool.tensor(np.ones(1000)) for _ in range(50)]
    worker = threading.Thread(target=shelf.clear)
    worker.start()
    worker.join()
    assert unspool.memory_stats()["live_bytes"] == before


def test_a_long_chain_of_gradients_is_freed_without_recursion() -> None:
    program = (
        "import unspool as torch\n"
        "head = torch.ones(1)\n"
        "for _ in range(300_000):\n"
        "    t = torch.ones(1)\n"
        "    t.grad = head\n"
        "    head = t\n"
        "del t, head\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
