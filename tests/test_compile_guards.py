"""What is looked at before each replay: what has changed since the recording is seen, and has a plan of its own."""

from __future__ import annotations

from typing import Any

import pytest

import unspool
from compile_programs import bits, recorded, step_of
from unspool import nn, optim

SCALE = 2.0


def _scaled(x: Any) -> Any:
    return x * SCALE


def test_a_global_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = recorded(_scaled, unspool.ones(2))
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    for _ in range(3):
        assert frozen(unspool.ones(2)).tolist() == [5.0, 5.0]
    assert frozen.plans == 2


def test_a_closure_value_that_changes_is_seen() -> None:
    factor = 2.0
    frozen = unspool.compile(lambda x: x * factor)
    for value in (2.0, 3.0, 2.0):
        factor = value
        for _ in range(3):
            assert frozen(unspool.ones(1)).item() == value


def test_modes_attributes_and_parameters_are_seen() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.factor = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), 1.0

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.factor

    model = Scaled()
    frozen = unspool.compile(model)
    x = unspool.ones(1, 2)

    def check() -> None:
        for _ in range(4):
            state = unspool.get_rng_state()
            expected = model(x).tolist()
            unspool.set_rng_state(state)
            assert frozen(x).tolist() == expected

    with unspool.no_grad():
        check()
        model.eval()
        check()
        model.factor = 3.0
        check()
        model.inner[0].weight.data = unspool.full((2, 2), 4.0)
        check()
        model.inner[0].weight = nn.Parameter(unspool.full((2, 2), 5.0))
        check()
        model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()})
        check()
        model.inner[1] = nn.ReLU()
        check()
        model.register_forward_hook(lambda *_: unspool.zeros(1, 2))
        check()


def test_optimizers_settings_are_read_at_every_call_and_their_state_is_guarded() -> None:
    def run(freeze: bool) -> Any:
        unspool.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        step: Any = step_of("zero first", model, optimizer, nn.MSELoss())
        if freeze:
            step = unspool.compile(step)
        for i in range(12):
            step(unspool.randn(4, 3), unspool.randn(4, 2))
            schedule.step()
            if i == 5:
                optimizer.load_state_dict(optimizer.state_dict())
            if i == 8:
                optimizer.state.clear()
            if i == 9:
                optimizer.param_groups[0]["momentum"] = 0.0
        return bits(tuple(model.parameters()))

    assert run(True) == run(False)


def test_settings_and_state_that_change_in_place_are_seen() -> None:
    """No dict changes when a list or a tensor's memory does."""

    def trained(freeze: bool) -> list[Any]:
        unspool.manual_seed(0)
        net = nn.Linear(3, 2)
        opt = optim.Adam(net.parameters(), lr=0.1)
        opt.param_groups[0]["betas"] = [0.9, 0.99]
        sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            opt.step()
            sgd.step()
            return loss

        run = unspool.compile(step) if freeze else step
        seen = []
        for i in range(12):
            seen.append(run(unspool.full((4, 3), 0.5 + i)).item())
            if i == 7:
                opt.param_groups[0]["betas"][0] = 0.5
            if i == 9:
                state = sgd.state[net.weight]["momentum_buffer"]
                state.data = unspool.ones(2, 3)
        return [*seen, net.weight.tolist()]

    assert trained(True) == trained(False)


def test_shapes_dtypes_strides_and_aliasing_have_plans_of_their_own() -> None:
    frozen = unspool.compile(lambda a, b: a.add_(1) + b)
    x = unspool.zeros(2, 2)
    cases = [
        lambda: (unspool.zeros(2, 2), unspool.zeros(2, 2)),
        lambda: (unspool.zeros(3), unspool.zeros(3)),
        lambda: (unspool.zeros(3, dtype=unspool.float64), unspool.zeros(3)),
        lambda: (unspool.zeros(2, 2).t(), unspool.zeros(2, 2)),
        lambda: (x.zero_(), x),
        lambda: (x.zero_(), x.t()),
        lambda: (x.zero_()[0], x[1]),
    ]
    for _ in range(4):
        for case in cases:
            a, b = case()
            expected = (a.clone().add_(1) + (b + 1 if a.data_ptr() == b.data_ptr() else b)).tolist()
            assert frozen(a, b).tolist() == expected


def test_slices_of_one_tensor_share_a_plan() -> None:
    def function(x: Any) -> Any:
        return (x * 2).exp().sum(0), x - x.mean()

    frozen = unspool.compile(function)
    x = unspool.randn(80, dtype=unspool.float64)
    for i in range(0, 70, 7):  # also off the places that vector loads are aligned to
        part = x[i : i + 10]
        assert bits(frozen(part)) == bits(function(part))
    assert frozen.plans == 1
    for plans, other in ((2, x.float()), (3, x[::2])):
        for i in range(4):
            part = other[i : i + 10]
            assert bits(frozen(part)) == bits(function(part))
        assert frozen.plans == plans


def test_gradient_modes_have_plans_of_their_own() -> None:
    layer = nn.Linear(2, 2)
    frozen = unspool.compile(lambda x: layer(x))
    with unspool.no_grad():
        _ = [frozen(unspool.ones(2)) for _ in range(3)]
    assert all(frozen(unspool.ones(2)).requires_grad for _ in range(3))
    assert frozen.plans == 2
    with unspool.no_grad():
        assert not frozen(unspool.ones(2)).requires_grad


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
@pytest.mark.parametrize("late", [False, True])
def test_hooks_of_an_optimizer_run_in_each_frozen_step(name: str, late: bool) -> None:
    """Also those registered when there is a plan already, which updates without them."""

    def trained(freeze: bool) -> tuple[list[Any], list[int]]:
        unspool.manual_seed(3)
        layer = nn.Linear(3, 2)
        optimizer = getattr(unspool.optim, name)(layer.parameters(), lr=0.1)
        calls: list[int] = []

        def halve(o: Any, args: Any, kwargs: Any) -> None:
            layer.weight.grad.mul_(0.5)

        def register() -> None:
            optimizer.register_step_pre_hook(halve)
            optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(len(calls)))

        def plain(x: Any) -> Any:
            optimizer.zero_grad()
            loss = layer(x).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        step = unspool.compile(plain) if freeze else plain
        if not late:
            register()
        for i in range(10):
            if late and i == 5:
                register()
            step(unspool.full((4, 3), i / 10))
        return [p.tolist() for p in layer.parameters()], calls

    assert trained(True) == trained(False)
    assert len(trained(True)[1]) == (5 if late else 10)
