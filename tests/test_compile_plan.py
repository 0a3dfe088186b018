"""The plan itself: the memory that it takes, what it tells, what it leaves out."""

from __future__ import annotations

import re
from typing import Any

import unspool
from compile_programs import Separate, recorded, step_of
from unspool import nn, optim


def test_replays_allocate_nothing_and_temporaries_share_memory() -> None:
    net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.Tanh())))
    x = unspool.randn(16, 32)
    with unspool.no_grad():
        frozen = recorded(net, x)
        frozen(x)
        before = unspool.memory_stats()["system_calls"]
        for _ in range(100):
            frozen(x)
        assert unspool.memory_stats()["system_calls"] == before
    memory = frozen.memory()
    assert memory["temporaries"] == 15 * 16 * 32 * 4
    assert memory["arena"] == 2 * 16 * 32 * 4  # one layer's input and its result


def test_the_plan_tells_what_it_runs() -> None:
    model = Separate()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = step_of("zero first", model, optimizer, nn.MSELoss())
    frozen = recorded(step, unspool.zeros(5, 6), unspool.zeros(5, 3))
    text = frozen.explain()
    assert text == frozen.explain()
    lines = text.splitlines()
    assert "linear_relu(x0(5, 6)" in lines[0]
    assert "of 2 operations" in lines[0]
    assert f"{2 * 5 * 6 * 8} flop" in lines[0]
    assert "compile_programs.py" in lines[0]
    assert sum("sgd_update" in line for line in lines) == 4
    assert "relu_backward" not in text
    assert lines[-1].startswith(f"{len(lines) - 1} instructions, ")


def test_dead_results_are_not_computed() -> None:
    def function(x: Any) -> Any:
        x.exp().sum()
        return x + 1

    frozen = recorded(function, unspool.ones(3))
    assert "exp" not in frozen.explain()
    assert "1 instructions" in frozen.explain()


def test_a_chain_names_its_result_and_all_its_lines() -> None:
    def function(x: Any) -> Any:
        y = x * 2
        return y.exp()

    frozen = recorded(function, unspool.ones(3))
    line = function.__code__.co_firstlineno
    (chain,) = [text for text in frozen.explain().splitlines() if "mul+exp(" in text]
    assert re.match(rf"0: t0\(3,\) = mul\+exp\(.*plan\.py:{line + 1}, .*plan\.py:{line + 2}$", chain)
