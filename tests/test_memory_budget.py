"""compile(fn, memory_budget=bytes): less memory, the same bits, and what that costs."""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unspool
from compile_programs import bits, random_program
from unspool import nn, optim
from unspool.errors import PlanError


class _Residual(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(depth))

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self.layers):
            y = unspool.tanh(layer(x))
            x = x + y if i % 2 else y
        return x


def _stack(depth: int, *parts: Callable[[], Any]) -> Any:
    return nn.Sequential(*(make() for _ in range(depth) for make in (lambda: nn.Linear(16, 16), *parts)))


NETS: dict[str, Callable[[], Any]] = {
    "8 layers": lambda: _stack(8, nn.Tanh),
    "32 layers": lambda: _stack(32, nn.Tanh),
    "relu": lambda: _stack(12, nn.ReLU),
    "norms": lambda: _stack(6, nn.GELU, lambda: nn.LayerNorm(16)),
    "softmax": lambda: _stack(6, nn.Softplus, lambda: nn.Softmax(-1)),
    "residual": lambda: _Residual(16),
    "dropout": lambda: _stack(8, nn.Tanh, lambda: nn.Dropout(0.3)),
    "batch_norm": lambda: _stack(6, lambda: nn.BatchNorm1d(16), nn.Sigmoid),
    "in place": lambda: _stack(8, lambda: nn.ReLU(inplace=True)),
}


def _trained(net_name: str, budget: int | None, plain: bool = False, loss: str = "mse") -> tuple[list[Any], Any]:
    unspool.manual_seed(0)
    net = NETS[net_name]()
    opt = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        out = net(x)
        value = nn.functional.cross_entropy(out, y) if loss == "cross" else nn.functional.mse_loss(out, y)
        value.backward()
        opt.step()
        opt.zero_grad()
        return value

    run = step if plain else unspool.compile(step, memory_budget=budget)
    seen = []
    for _ in range(5):
        x = unspool.randn(32, 16)
        y = unspool.randint(0, 16, (32,)) if loss == "cross" else unspool.randn(32, 16)
        seen.append(bits(run(x, y)))
    seen += [bits(t) for t in (*net.parameters(), *net.buffers())]
    seen += [bits(t) for s in opt.state.values() for t in s.values()]
    return [*seen, bits(unspool.rand(2))], run


def _smallest(net_name: str) -> int:
    with pytest.raises(
        PlanError, match=r"memory_budget of 0 bytes cannot be met; the smallest that can is \d+"
    ) as caught:
        _trained(net_name, 0)
    found = re.search(r"smallest that can is (\d+)", str(caught.value))
    assert found
    return int(found[1])


@pytest.mark.parametrize("net", NETS)
def test_any_budget_gives_the_bits_of_the_eager_step(net: str) -> None:
    expected, _ = _trained(net, None, plain=True)
    seen, run = _trained(net, None)
    full = run.memory()["arena"]
    assert seen == expected
    assert run.memory()["recomputed"] == 0
    smallest = _smallest(net)
    assert smallest <= full
    flops = []
    for part in range(5):
        budget = full - (full - smallest) * part // 4
        seen, run = _trained(net, budget)
        memory = run.memory()
        assert seen == expected, budget
        assert memory["arena"] <= budget
        assert memory["saved"] >= full - budget - 64 * 16 or memory["arena"] + memory["saved"] == full
        assert (memory["recomputed"] > 0) == (budget < full)
        again = re.findall(r"  (?:([\w, ]+) )?a second time", run.explain())  # with the names of a chain's parts
        assert sum(len(names.split(", ")) for names in again) == memory["recomputed"]
        flops.append(memory["extra_flops"])
    assert flops == sorted(flops)
    with pytest.raises(PlanError, match=f"the smallest that can is {smallest},"):
        _trained(net, smallest - 1)


def test_with_cross_entropy() -> None:
    expected, _ = _trained("norms", None, plain=True, loss="cross")
    full = _trained("norms", None, loss="cross")[1].memory()["arena"]
    seen, run = _trained("norms", full * 3 // 4, loss="cross")
    assert seen == expected
    assert run.memory()["arena"] <= full * 3 // 4


def _chain(depth: int, budget: int | None) -> Any:
    net = _stack(depth, nn.Tanh)
    opt = optim.SGD(net.parameters(), lr=0.01)

    @unspool.compile(memory_budget=budget)
    def step(x: Any) -> Any:
        loss = net(x).square().mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    for _ in range(3):
        step(unspool.randn(32, 16))
    return step


def test_the_least_memory_of_a_chain_grows_with_the_root_of_its_length() -> None:
    least = []
    for depth in (16, 64):
        with pytest.raises(PlanError) as caught:
            _chain(depth, 0)
        found = re.search(r"smallest that can is (\d+)", str(caught.value))
        assert found
        least.append(int(found[1]))
    full = [_chain(depth, None).memory()["arena"] for depth in (16, 64)]
    assert full[1] / full[0] > 3.5
    assert least[1] / least[0] < 2.5
    # Every layer but those that are kept once more, at most: one product of (32×16)·(16×16) a layer.
    assert _chain(64, least[1]).memory()["extra_flops"] <= 64 * 2 * 32 * 16 * 16


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60)
@given(r=st.randoms(use_true_random=False), share=st.sampled_from([0.0, 0.3, 0.6, 0.9]))
def test_random_programs_within_budgets(r: random.Random, share: float) -> None:
    program, leaves, shapes = random_program(r)
    rng = np.random.default_rng(1)

    def called(f: Any) -> Any:
        results = f(*(unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes))
        return [*map(bits, results), *(None if p.grad is None else bits(p.grad) for p in leaves)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain = unspool.compile(program)
            _ = [called(plain) for _ in range(2)]
            if not plain.plans:
                return
            budget = int(plain.memory()["arena"] * share)
            frozen = unspool.compile(program, memory_budget=budget)
            _ = [called(frozen) for _ in range(2)]
        except (PlanError, RuntimeError, IndexError, ValueError):
            return
    for seed in range(2):
        rng = np.random.default_rng(seed)
        expected = called(program)
        rng = np.random.default_rng(seed)
        assert called(frozen) == expected
    assert frozen.memory()["arena"] <= budget


def test_what_a_budget_may_be() -> None:
    for bad in (-1, True, 1.5, "1", np.int64(3)):
        with pytest.raises(ValueError, match="memory_budget must be an int of at least 0, in bytes, got"):
            unspool.compile(lambda x: x, memory_budget=bad)
    layer = unspool.compile(nn.Linear(2, 2), memory_budget=100)
    layer(unspool.ones(2))
    with pytest.raises(PlanError, match="memory_budget is for functions that run backward themselves"):
        layer(unspool.ones(2))


def test_a_budget_that_cannot_be_met_may_run_eagerly() -> None:
    net = _stack(4, nn.Tanh)

    @unspool.compile(memory_budget=10, fallback="eager")
    def step(x: Any) -> Any:
        loss = net(x).square().mean()
        loss.backward()
        net.zero_grad()
        return loss

    x = unspool.randn(8, 16)
    step(x)
    with pytest.warns(UserWarning, match=r"memory_budget of 10 bytes cannot be met.*runs eagerly from now on"):
        step(x)
    assert step(x).requires_grad
    assert step.plans == 0
