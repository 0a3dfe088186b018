"""compile(fn, memory_budget=bytes) on chains: its choice beside all others, in a model that knows no engine."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import unspool
from unspool import nn, optim
from unspool.errors import PlanError

_Steps = list[tuple[list[str], list[str]]]  # what each makes and reads


def _steps(depth: int, backward_reads: str) -> _Steps:
    """A training step on linear and an activation in turn, summed: weights are updated by their gradients, biases last.

    What no step makes (the input out-1, the loss's gradient) lies outside of the arena. The activation's backward reads
    what it took, "sum", or what it gave, "out".
    """
    steps: _Steps = []
    for k in range(depth):
        steps += [([f"sum{k}"], [f"out{k - 1}"]), ([f"out{k}"], [f"sum{k}"])]
    steps.append(([], [f"out{depth - 1}"]))
    for k in reversed(range(depth)):
        wanted = [*([f"d out{k - 1}"] if k else []), f"d weight{k}", f"d bias{k}"]
        steps += [([f"d sum{k}"], [f"{backward_reads}{k}", f"d out{k}"]), (wanted, [f"d sum{k}", f"out{k - 1}"])]
    return steps + [([], [f"d bias{k}"]) for k in range(depth)]


def _with_less(steps: _Steps, kept: set[str]) -> tuple[_Steps, list[int]]:
    """The same where backward has only what is kept of the forward, and makes the rest when it first reads it; and the
    layers whose product that takes."""
    loss = next(i for i, (made, _) in enumerate(steps) if not made)
    forward, backward = steps[: loss + 1], steps[loss + 1 :]
    makers = {made[0]: (made, read) for made, read in forward[:-1]}
    changed, again, products = list(forward), set[str](), list[int]()

    def need(name: str) -> None:
        if name not in makers or name in kept or name in again:
            return
        _, read = makers[name]
        for source in read:
            need(source)
        changed.append(([f"{name}'"], [f"{r}'" if r in again else r for r in read]))
        if name.startswith("sum"):
            products.append(int(name.removeprefix("sum")))
        again.add(name)

    for made, read in backward:
        for name in read:
            need(name)
        changed.append((made, [f"{r}'" if r in again else r for r in read]))
    return changed, products


def _lives(steps: _Steps) -> tuple[list[list[str]], list[list[str]]]:
    """What is born and what dies at each step: a result lives from the step that makes it to the last that reads it."""
    dies = {name: i for i, (made, read) in enumerate(steps) for name in (*made, *read)}
    dead: list[list[str]] = [[] for _ in steps]
    born = [made for made, _ in steps]
    for names in born:
        for name in names:
            dead[dies[name]].append(name)
    return born, dead


def _most_alive(steps: _Steps, size: Callable[[str], int]) -> int:
    """Bytes at the fullest moment."""
    alive = most = 0
    for born, dead in zip(*_lives(steps), strict=True):
        alive += sum(map(size, born))
        most = max(most, alive)
        alive -= sum(map(size, dead))
    return most


def _best_fit(steps: _Steps, size: Callable[[str], int]) -> int:
    """Bytes of an arena where each result takes the smallest free block that holds it, or what lies at the end."""
    taken: dict[str, tuple[int, int]] = {}
    end = 0
    for born, dead in zip(*_lives(steps), strict=True):
        for name in born:
            at, free = 0, []
            for a, b in sorted(taken.values()):
                if a > at:
                    free.append((a - at, at))
                at = b
            fits = [block for block in [*free, (end - at, at)] if block[0] >= size(name)]
            start = min(fits)[1] if fits else at
            taken[name] = (start, start + size(name))
            end = max(end, start + size(name))
        for name in dead:
            del taken[name]
    return end


class _Net:
    """Layers of these widths, each a product and its activation."""

    activation: type[nn.Module] = nn.Tanh
    backward_reads = "out"
    choice: tuple[tuple[str, ...], ...] = (("sum",), ("out",), ())  # with out, backward has no use for sum

    def __init__(self, batch: int, *widths: int) -> None:
        self.batch, self.widths, self.depth = batch, widths, len(widths) - 1
        self.steps = _steps(self.depth, self.backward_reads)

    def size(self, name: str) -> int:
        kind = name.rstrip("0123456789'")
        k = int(name.rstrip("'").removeprefix(kind))
        numbers = self.widths[k + 1] * {"d weight": self.widths[k], "d bias": 1}.get(kind, self.batch)
        return -(-numbers * 4 // 64) * 64

    def frozen(self, budget: int | None) -> dict[str, int]:
        pairs = itertools.pairwise(self.widths)
        net = nn.Sequential(*(part for pair in pairs for part in (nn.Linear(*pair), self.activation())))
        opt = optim.SGD(net.parameters(), lr=0.01)

        @unspool.compile(memory_budget=budget)
        def step(x: Any) -> Any:
            loss = net(x).sum()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        for _ in range(2):
            step(unspool.randn(self.batch, self.widths[0]))
        memory: dict[str, int] = step.memory()
        return memory

    def smallest(self) -> int:
        with pytest.raises(PlanError) as caught:
            self.frozen(0)
        found = re.search(r"smallest that can is (\d+)", str(caught.value))
        assert found
        return int(found[1])

    def choices(self) -> Iterator[tuple[_Steps, int]]:
        """What each layer may keep of its results, and the flops of that."""
        for keeps in itertools.product(self.choice, repeat=self.depth):
            steps, products = _with_less(self.steps, {f"{what}{k}" for k, both in enumerate(keeps) for what in both})
            yield steps, sum(2 * self.batch * self.widths[k] * self.widths[k + 1] for k in products)


class _Gelu(_Net):
    activation, backward_reads, choice = nn.GELU, "sum", (("sum",), ("out",), ("sum", "out"), ())


def _is_best(net: _Net, budgets: int) -> None:
    """At so many budgets, from the smallest of all choices to the arena where nothing is computed twice."""
    full = net.frozen(None)["arena"]
    assert full == _best_fit(net.steps, net.size)
    choices = [(_best_fit(steps, net.size), flops) for steps, flops in net.choices()]
    smallest = min(arena for arena, _ in choices)
    assert net.smallest() == smallest
    for part in range(budgets):
        budget = smallest + (full - smallest) * part // budgets
        memory = net.frozen(budget)
        assert memory["arena"] <= budget
        assert memory["extra_flops"] == min(flops for arena, flops in choices if arena <= budget), budget
        assert memory["saved"] == full - memory["arena"]


@pytest.mark.parametrize("depth", [4, 5, 6, 7])
@pytest.mark.parametrize(("batch", "width"), [(64, 16), (32, 48)])
def test_on_chains_of_equal_layers_no_choice_is_cheaper(depth: int, batch: int, width: int) -> None:
    _is_best(_Net(batch, *[width] * (depth + 1)), 8)


def _random(kind: type[_Net], seed: int, deepest: int) -> _Net:
    r = random.Random(seed)
    depth = r.randint(3, deepest)
    return kind(r.choice((16, 64, 200)), *(r.choice((8, 16, 32, 48, 64)) for _ in range(depth + 1)))


@pytest.mark.parametrize("seed", range(16))
def test_on_chains_of_other_layers_no_choice_is_cheaper(seed: int) -> None:
    _is_best(_random(_Net, seed, 7), 6)


@pytest.mark.parametrize("seed", range(8))
def test_where_backward_reads_what_both_steps_of_a_layer_gave(seed: int) -> None:
    _is_best(_random(_Gelu, seed, 5), 6)


def test_figures_of_chains_that_were_once_far_from_the_best() -> None:
    assert _Net(64, *[16] * 9).smallest() == 21_632
    six = _Net(64, *[16] * 7)
    assert min(_most_alive(steps, six.size) for steps, _ in six.choices()) == 17_664
    assert six.smallest() == 18_560  # best fit leaves a hole in each arena that might be smaller
    memory = _Net(200, 64, 16, 16, 48, 16, 8, 16, 48).frozen(176_640)
    assert memory["extra_flops"] <= 153_600
