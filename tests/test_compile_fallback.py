"""compile(fn, fallback="eager"): a function that cannot be frozen runs once a call, with the bits of the plain one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim
from unspool.errors import PlanError
from unspool.train import Trainer

inner = unspool.compile(lambda x: x * 2)

# Each reads, or does something else that no plan replays, and gives a number.
READS: dict[str, Callable[[Any], float]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: 1.0 if x.sum() > 0 else -1.0,
    "float": lambda x: float(x.sum()),
    "tolist": lambda x: x.tolist()[0][0],
    "numpy": lambda x: float(x.detach().numpy().sum()),
    "asarray": lambda x: float(np.asarray(x.detach()).sum()),
    "buffer": lambda x: float(memoryview(x.detach()).nbytes),
    "text": lambda x: float(len(repr(x))),
    "mask": lambda x: float(len(x[x > 0])),
    "own generator": lambda _: unspool.rand(1, generator=unspool.Generator().manual_seed(3)).item(),
    "nested": lambda x: inner(x).sum().item(),
}


class Training:
    """Dropout, running statistics, Adam; a value is read before the backward, and again before the step."""

    def __init__(self, read: Callable[[Any], float]) -> None:
        unspool.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
        self.opt = optim.Adam(self.net.parameters(), lr=0.01)
        self.read, self.seen, self.calls = read, list[float](), 0

    def step(self, x: Any, y: Any) -> Any:
        self.calls += 1
        self.opt.zero_grad()
        out = self.net(x)
        self.seen.append(self.read(out))
        loss = F.mse_loss(out, y) * (1.0 if self.seen[-1] > 0 else 0.5)
        loss.backward()
        self.seen.append(self.read(self.net[0].weight.grad))
        self.opt.step()
        return loss

    def state(self) -> list[Any]:
        numbers = [bits(t) for t in self.net.state_dict().values()]
        numbers += [bits(p.grad) for p in self.net.parameters()]
        numbers += [bits(t) for s in self.opt.state.values() for t in s.values()]
        return [*numbers, bits(unspool.get_rng_state())]


def trained(read: Callable[[Any], float], compiles: bool) -> tuple[Training, list[Any], list[str]]:
    t = Training(read)
    step = unspool.compile(t.step, fallback="eager") if compiles else t.step
    unspool.manual_seed(1)
    found = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(4):
            x, y = unspool.randn(6, 4), unspool.randn(6, 3)
            found.append([bits(step(x, y)), *t.state()])
    return t, found, [str(w.message) for w in told]


@pytest.mark.parametrize("kind", READS)
def test_a_call_that_reads_runs_once_and_as_the_plain_one(kind: str) -> None:
    plain, expected, _ = trained(READS[kind], compiles=False)
    frozen, found, told = trained(READS[kind], compiles=True)
    assert found == expected
    assert (frozen.calls, frozen.seen) == (4, plain.seen)
    assert len(told) == 1
    assert "Training.step cannot be frozen: " in told[0]
    assert told[0].endswith("It runs eagerly from now on")
    assert "test_compile_fallback.py" in told[0]


def test_the_warning_is_where_the_program_calls() -> None:
    step = unspool.compile(lambda x: x.item(), fallback="eager")
    with pytest.warns(UserWarning, match="from now on") as told:
        step(unspool.ones(1))
    assert told[0].filename == __file__


def test_a_refusal_at_the_end_of_a_call_runs_it_once_too() -> None:
    kept: list[Any] = []

    def keeps(x: Any) -> Any:
        kept.append(x * 2)
        return x + 1

    step = unspool.compile(keeps, fallback="eager")
    with pytest.warns(UserWarning, match="lives on after the call") as told:
        found = [step(unspool.ones(1) * i).item() for i in range(4)]
    assert found == [1, 2, 3, 4]
    assert (len(told), [t.item() for t in kept]) == (1, [0, 2, 4, 6])


def test_recursion_runs_once_a_level() -> None:
    depth: list[int] = []

    def itself(x: Any) -> Any:
        depth.append(len(depth))
        return step(x + 1) if len(depth) % 3 else x

    step = unspool.compile(itself, fallback="eager")
    with pytest.warns(UserWarning, match="called by another") as told:
        found = [step(unspool.zeros(1)).item() for _ in range(3)]
    assert found == [2, 2, 2]
    assert (len(told), len(depth)) == (1, 9)


def test_a_plain_error_passes_and_says_nothing_of_plans() -> None:
    calls = []

    def fails(x: Any) -> Any:
        calls.append(x.sum().item())
        raise KeyError("here")

    step = unspool.compile(fails, fallback="eager")
    with pytest.raises(KeyError):
        step(unspool.ones(2))
    assert calls == [2.0]
    assert (unspool.compile(lambda x: x * 2)(unspool.ones(1))).item() == 2  # and nothing is recorded any more


def test_a_plan_error_of_another_function_is_not_a_reason_to_call_again() -> None:
    calls = []
    strict = unspool.compile(lambda x: x.item())

    def calls_another(x: Any) -> Any:
        calls.append(1)
        float(x)
        return strict(x)

    with pytest.raises(PlanError, match="reads a tensor's value"):
        unspool.compile(calls_another, fallback="eager")(unspool.ones(1))
    assert calls == [1]


def test_arguments_that_have_no_hash_fall_back() -> None:
    step = unspool.compile(lambda x, names: x * len(names), fallback="eager")
    with pytest.warns(UserWarning, match="hashable values, got .* of type set") as told:
        found = [step(unspool.ones(1), {1, 2}).item() for _ in range(3)]
    assert (found, len(told)) == ([2, 2, 2], 1)


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.calls = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3)), nn.Linear(4, 2), 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        x = self.first(x)
        return self.second(x if x.mean().item() > 0 else -x)


def test_a_trainer_calls_such_a_model_once_a_batch() -> None:
    unspool.manual_seed(0)
    model, x, y = Reads(), unspool.randn(20, 4), unspool.randn(20, 2)
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match=r"Trainer\.fit cannot be frozen: item at .*test_compile_fallback\.py") as told:
        trainer.fit(x, y, epochs=3, batch_size=5)
    assert (model.calls, len(told)) == (12, 1)
    assert told[0].filename == __file__
