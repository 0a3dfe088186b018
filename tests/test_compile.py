"""Frozen functions have the bits of the eager call: all that can be seen, random stream included; in threads, too."""

from __future__ import annotations

import random
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unspool
from compile_programs import LOSSES, MODELS, OPTIMIZERS, STEPS, batch_of, bits, random_program, recorded, step_of
from unspool import nn, optim
from unspool.errors import PlanError

CALLS = 6


def _train(
    freeze: bool, model: str, optimizer: str, loss: str, order: str = "zero first", dtype: Any = unspool.float32
) -> tuple[list[Any], int]:
    """All that can be seen of a run: results, parameters, gradients, buffers, state, random numbers."""
    unspool.manual_seed(3)
    net = MODELS[model]().to(dtype)
    opt = OPTIMIZERS[optimizer](net.parameters())
    criterion, kind = LOSSES[loss]
    step: Any = step_of(order, net, opt, criterion)
    if freeze:
        step = unspool.compile(step)
    seen: list[Any] = []
    for i in range(CALLS):
        seen.append(bits(step(*batch_of(kind, dtype))))
        if i == 3:
            opt.param_groups[0]["lr"] *= 0.5
    seen += [bits(t) for t in (*net.parameters(), *net.buffers())]
    seen += [None if p.grad is None else bits(p.grad) for p in net.parameters()]
    seen += [sorted((k, bits(v)) for k, v in opt.state[p].items()) for p in net.parameters()]
    seen.append(bits(unspool.randn(3)))
    return seen, step.plans if freeze else 0


def _agree(*args: Any, **kwargs: Any) -> None:
    eager, _ = _train(False, *args, **kwargs)
    frozen, plans = _train(True, *args, **kwargs)
    assert plans == 1
    assert frozen == eager


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_to_the_bits_of_the_eager_one(model: str) -> None:
    _agree(model, "nesterov", "mse")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_steps_to_the_bits_of_the_eager_one(optimizer: str) -> None:
    _agree("three layers", optimizer, "mse")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_has_the_bits_of_the_eager_one(loss: str, dtype: str) -> None:
    _agree("three layers", "Adam", loss, dtype=getattr(unspool, dtype))


@pytest.mark.parametrize("order", STEPS)
@pytest.mark.parametrize("optimizer", ["Adam", "nesterov", "Adagrad"])
def test_every_order_of_a_steps_parts(order: str, optimizer: str) -> None:
    _agree("three layers", optimizer, "mse", order)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(r=st.randoms(use_true_random=False))
def test_a_random_program_replays_to_the_bits(r: random.Random) -> None:
    program, leaves, shapes = random_program(r)
    frozen = unspool.compile(program)
    rng = np.random.default_rng(1)
    for _ in range(4):
        xs = [unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes]
        copies = [x.clone() for x in xs]
        try:
            expected = [*map(bits, program(*xs)), *(None if p.grad is None else bits(p.grad) for p in leaves)]
        except (RuntimeError, IndexError, ValueError):
            return  # of other numbers it is no program
        try:
            results = frozen(*copies)
        except PlanError as error:
            assert "reads a tensor" in str(error) or "operations" in str(error) or "call" in str(error)  # noqa: PT017
            return
        got = [*map(bits, results), *(None if p.grad is None else bits(p.grad) for p in leaves)]
        assert got == expected
        assert [bits(x) for x in copies] == [bits(x) for x in xs]


def test_most_random_programs_can_be_frozen() -> None:
    frozen = 0
    for seed in range(60):
        program, _, shapes = random_program(random.Random(seed))
        compiled = unspool.compile(program)
        rng = np.random.default_rng(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for _ in range(2):
                    compiled(*(unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes))
            except (RuntimeError, IndexError, ValueError):
                continue
        frozen += compiled.plans
    assert frozen >= 40


def test_threads_replay_their_own_plans_to_the_serial_bits() -> None:
    def work(seed: int, out: dict[int, Any]) -> None:
        generator = unspool.Generator().manual_seed(seed)
        model = nn.Linear(6, 3)
        with unspool.no_grad():
            for p in model.parameters():
                p.normal_(generator=generator)
        step = unspool.compile(step_of("zero first", model, optim.Adam(model.parameters()), nn.MSELoss()))
        for _ in range(200):
            step(unspool.randn(5, 6, generator=generator), unspool.randn(5, 3, generator=generator))
        out[seed] = bits(tuple(model.parameters()))

    serial: dict[int, Any] = {}
    for seed in range(8):
        work(seed, serial)
    together: dict[int, Any] = {}
    threads = [threading.Thread(target=work, args=(seed, together)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == serial


def test_one_plan_may_be_called_by_several_threads() -> None:
    frozen = recorded(lambda x: (x * 2).exp().sum(), unspool.ones(1000))
    wrong: list[Any] = []

    def work(value: float) -> None:
        x = unspool.full((1000,), value)
        expected = (x * 2).exp().sum().item()
        wrong.extend(got for _ in range(300) if (got := frozen(x).item()) != expected)

    threads = [threading.Thread(target=work, args=(i / 10,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_compile_is_a_decorator() -> None:
    @unspool.compile
    def plain(x: Any) -> Any:
        """Twice."""
        return x * 2

    @unspool.compile(fallback="eager")
    def loose(x: Any) -> Any:
        return x * 3

    assert plain.__doc__ == "Twice."
    assert [plain(unspool.ones(1)).item() for _ in range(3)] == [2.0] * 3
    assert [loose(unspool.ones(1)).item() for _ in range(3)] == [3.0] * 3
    assert plain.plans == loose.plans == 1


def test_a_repeated_step_is_as_many_calls() -> None:
    torch_state = unspool.get_rng_state()
    seen = []
    for repeats in (False, True):
        unspool.set_rng_state(torch_state)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x, y = unspool.randn(6, 4), unspool.randn(6, 2)

        @unspool.compile
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        last = step.repeat(150, x, y) if repeats else [step(x, y) for _ in range(150)][-1]
        seen.append([bits(last), *map(bits, model.parameters()), bits(unspool.rand(3))])
    assert seen[0] == seen[1]
    for times in (0, -1, True, 2.0, "3"):
        with pytest.raises(ValueError, match="repeat: times must be an int of at least 1"):
            step.repeat(times, x, y)
