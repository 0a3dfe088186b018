"""Optimizers against PyTorch: the same steps, texts and state_dicts, and refusals that change nothing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for steps, texts and state_dicts")

_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-6}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "centered": True, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2), "maximize": True}),
]
_IDS = [name + " " + " ".join(kwargs) for name, kwargs in _SETTINGS]


def _params(t: Any, layout: str = "rows") -> list[Any]:
    rng = np.random.default_rng(5)
    values = [rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (4,), (2, 2))]
    made = [t.nn.Parameter(t.tensor(v if layout == "rows" else np.asfortranarray(v))) for v in values]
    made[2].requires_grad_(True)
    return made


def _gradients(t: Any, params: list[Any], step: int) -> None:
    rng = np.random.default_rng([step, 1])
    for p in params[:2]:  # the third never has a gradient
        p.grad = t.tensor(rng.standard_normal(tuple(p.shape)).astype(np.float32))


@pytest.mark.parametrize("layout", ["rows", "columns"])  # of parameters; those of gradients are rows
@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_steps_and_state(name: str, kwargs: dict[str, Any], layout: str) -> None:
    made = []
    for t in (unspool, torch):
        params = _params(t, layout)
        assert params[0].is_contiguous() == (layout == "rows")
        optimizer = getattr(t.optim, name)(
            [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}] if "lr" in kwargs else params, **kwargs
        )
        for step in range(8):
            optimizer.zero_grad()
            assert params[0].grad is None
            _gradients(t, params, step)
            assert optimizer.step() is None
        made.append((params, optimizer))
    (ours, a), (theirs, b) = made
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=2e-5, atol=2e-6)
    assert repr(a) == repr(b)
    x, y = a.state_dict(), b.state_dict()
    assert list(x) == list(y)
    assert x["param_groups"] == y["param_groups"]
    assert sorted(x["state"]) == sorted(y["state"])
    for key in x["state"]:
        assert sorted(x["state"][key]) == sorted(y["state"][key])
        for part in x["state"][key]:
            u, v = x["state"][key][part], y["state"][key][part]
            assert str(u.dtype) == str(v.dtype)
            np.testing.assert_allclose(u.numpy(), v.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_a_resumed_run_goes_on_alike(name: str, kwargs: dict[str, Any]) -> None:
    params = _params(unspool)
    first = getattr(unspool.optim, name)(params, **kwargs)
    for step in range(3):
        _gradients(unspool, params, step)
        first.step()
    others = copy.deepcopy(params)
    second = getattr(unspool.optim, name)(others, lr=3.0)
    state = first.state_dict()
    second.load_state_dict(state)
    for step in range(3, 6):
        for ps, optimizer in ((params, first), (others, second)):
            _gradients(unspool, ps, step)
            optimizer.step()
    assert [p.tolist() for p in params] == [p.tolist() for p in others]
    assert repr(first) == repr(second)


def test_a_closure_runs_with_recording_and_its_value_comes_back() -> None:
    p = unspool.nn.Parameter(unspool.ones(2))
    optimizer = unspool.optim.SGD([p], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with unspool.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 2.0
    assert p.tolist() == [0.0, 0.0]


def test_named_parameters() -> None:
    for t in (unspool, torch):
        m = t.nn.Linear(2, 2)
        optimizer = t.optim.SGD(m.named_parameters(), lr=0.1)
        assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
        assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
        assert optimizer.param_groups[0]["params"][0] is m.weight


def test_zero_grad_can_keep_the_gradients() -> None:
    p = unspool.nn.Parameter(unspool.ones(2))
    optimizer = unspool.optim.SGD([p], lr=0.5)
    (p * 3).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]


_NAN = float("nan")
_BAD: list[tuple[str, Any]] = [
    ("no parameters", lambda t, p: t.optim.SGD([], lr=0.1)),
    ("a tensor", lambda t, p: t.optim.SGD(p, lr=0.1)),
    ("a group twice", lambda t, p: t.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)),
    ("a set", lambda t, p: t.optim.SGD([{"params": {p}}], lr=0.1)),
    ("a number", lambda t, p: t.optim.SGD([1], lr=0.1)),
    ("None", lambda t, p: t.optim.SGD(None, lr=0.1)),
    ("list of None", lambda t, p: t.optim.SGD([None], lr=0.1)),
    ("no leaf", lambda t, p: t.optim.SGD([p * 2], lr=0.1)),
    ("no params", lambda t, p: t.optim.SGD([{"lr": 0.1}])),
    ("negative lr", lambda t, p: t.optim.SGD([p], lr=-1)),
    ("NaN lr", lambda t, p: t.optim.SGD([p], lr=_NAN)),
    ("text lr", lambda t, p: t.optim.SGD([p], lr="a")),
    ("negative momentum", lambda t, p: t.optim.SGD([p], momentum=-1)),
    ("negative decay", lambda t, p: t.optim.SGD([p], weight_decay=-1)),
    ("nesterov alone", lambda t, p: t.optim.SGD([p], nesterov=True)),
    ("nesterov and dampening", lambda t, p: t.optim.SGD([p], momentum=0.9, dampening=0.1, nesterov=True)),
    ("Adam lr", lambda t, p: t.optim.Adam([p], lr=-1)),
    ("Adam NaN lr", lambda t, p: t.optim.Adam([p], lr=_NAN)),
    ("Adam beta 1", lambda t, p: t.optim.Adam([p], betas=(1.0, 0.9))),
    ("Adam beta 2", lambda t, p: t.optim.Adam([p], betas=(0.9, -0.1))),
    ("Adam NaN beta", lambda t, p: t.optim.Adam([p], betas=(_NAN, 0.9))),
    ("Adam eps", lambda t, p: t.optim.Adam([p], eps=-1)),
    ("Adam decay", lambda t, p: t.optim.Adam([p], weight_decay=-1)),
    ("a list as a group", lambda t, p: t.optim.SGD([p]).add_param_group([p])),
    ("the same again", lambda t, p: t.optim.SGD([p]).add_param_group({"params": p})),
    ("fewer groups", lambda t, p: t.optim.SGD([p]).load_state_dict({"state": {}, "param_groups": []})),
    ("more params", lambda t, p: t.optim.SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})),
    ("no state", lambda t, p: t.optim.SGD([p]).load_state_dict({})),
    ("no step", lambda t, p: t.optim.Optimizer([p], {}).step()),
]


# PyTorch accepts these, or says nothing
_STRICTER: dict[str, type[BaseException]] = {
    "no step": NotImplementedError,
    "NaN lr": ValueError,
    "Adam NaN lr": ValueError,
}


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    expected: type[BaseException]
    if name in _STRICTER:
        expected = _STRICTER[name]
    else:
        with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
            call(torch, torch.nn.Parameter(torch.ones(2)))
        expected = reference.type
    p = unspool.nn.Parameter(unspool.ones(2))
    with pytest.raises(expected) as caught:
        call(unspool, p)
    assert str(caught.value)
    assert p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("lr", [-1.5, _NAN])
def test_the_message_names_the_value(lr: float) -> None:
    with pytest.raises(ValueError, match=str(lr)):
        unspool.optim.SGD([unspool.nn.Parameter(unspool.ones(1))], lr=lr)


@pytest.mark.parametrize("option", ["differentiable", "capturable"])
def test_options_that_are_not_supported_are_named(option: str) -> None:
    p = unspool.nn.Parameter(unspool.ones(1))
    with pytest.raises(NotImplementedError, match=option):
        unspool.optim.Adam([p], **{option: True})
    assert unspool.optim.Adam([p], **{option: False}).param_groups[0][option] is False


@pytest.mark.parametrize("option", ["foreach", "fused"])
def test_names_of_pytorchs_implementations_change_no_step(option: str) -> None:
    moved = []
    for on in (False, True):
        p = unspool.nn.Parameter(unspool.tensor([1.0, -2.0]))
        p.grad = unspool.tensor([0.5, 0.25])
        optimizer = unspool.optim.Adam([p], lr=0.1, **{option: on})
        optimizer.step()
        assert optimizer.param_groups[0][option] is on
        moved.append(p.tolist())
    assert moved[0] == moved[1] != [1.0, -2.0]
    with pytest.raises(RuntimeError, match=r"Adam: `fused` and `foreach` cannot be `True` together"):
        unspool.optim.Adam([p], foreach=True, fused=True)


def test_a_parameter_twice_in_a_group_warns() -> None:
    p = unspool.nn.Parameter(unspool.ones(1))
    with pytest.warns(UserWarning, match="twice"):
        unspool.optim.SGD([p, p], lr=0.1)


def test_a_refused_group_is_not_added() -> None:
    optimizer = unspool.optim.SGD([unspool.nn.Parameter(unspool.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="lr"):
        optimizer.add_param_group({"params": [unspool.nn.Parameter(unspool.ones(1))], "lr": -1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("kind", ["swa", "ema", "ema of each", "swa of each", "with buffers", "of ones own"])
def test_averages_of_weights(kind: str) -> None:
    def seen(t: Any) -> Any:
        from importlib import import_module

        u = import_module(f"{t.__name__}.optim.swa_utils")
        options = {
            "swa": {},
            "ema": {"multi_avg_fn": u.get_ema_multi_avg_fn(0.9)},
            "ema of each": {"avg_fn": u.get_ema_avg_fn(0.9)},
            "swa of each": {"avg_fn": u.get_swa_avg_fn()},
            "with buffers": {"multi_avg_fn": u.get_ema_multi_avg_fn(0.9), "use_buffers": True},
            "of ones own": {"avg_fn": lambda average, p, n: average + p * n},
        }[kind]
        t.manual_seed(0)
        model = t.nn.Sequential(t.nn.Linear(4, 3), t.nn.BatchNorm1d(3), t.nn.Linear(3, 1))
        average = u.AveragedModel(model, **options)
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        batches = [t.randn(5, 4) for _ in range(6)]
        for x in batches:
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            average.update_parameters(model)
        states = [{k: v.numpy().copy() for k, v in average.state_dict().items()}]
        u.update_bn([(x, 0) for x in batches], average)
        states.append({k: v.numpy().copy() for k, v in average.state_dict().items()})
        return states, repr(average), average.training, average.eval()(batches[0]).detach().numpy()

    for mine, theirs in zip(seen(unspool)[0], seen(torch)[0], strict=True):
        assert list(mine) == list(theirs)
        for name in theirs:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert seen(unspool)[1:3] == seen(torch)[1:3]
    np.testing.assert_allclose(seen(unspool)[3], seen(torch)[3], rtol=1e-4, atol=1e-5)


def test_averages_refuse() -> None:
    utils = unspool.optim.swa_utils
    with pytest.raises(ValueError, match="decay"):
        utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(AssertionError, match="Only one"):
        utils.AveragedModel(unspool.nn.ReLU(), avg_fn=print, multi_avg_fn=print)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "LBFGS"])
def test_hooks_of_an_optimizer(name: str) -> None:
    def seen(t: Any) -> list[Any]:
        p = t.nn.Parameter(t.ones(2))
        optimizer = getattr(t.optim, name)([p], lr=0.1)
        events: list[Any] = []

        def closure() -> Any:
            optimizer.zero_grad()
            loss = p.square().sum()
            loss.backward()
            return loss

        def scaled(o: Any, args: Any, kwargs: Any) -> Any:
            events.append(("pre", o is optimizer, len(args), sorted(kwargs)))
            return args[:1], {"closure": closure}

        first = optimizer.register_step_pre_hook(scaled)
        optimizer.register_step_post_hook(lambda o, a, k: events.append(("post", len(a), sorted(k), p.tolist())))
        optimizer.register_state_dict_pre_hook(lambda o: events.append("saving"))
        optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1})
        optimizer.register_load_state_dict_pre_hook(lambda o, s: events.append(sorted(s)))
        optimizer.register_load_state_dict_post_hook(lambda o: events.append("loaded"))
        schedule = t.optim.lr_scheduler.StepLR(optimizer, 1)
        optimizer.step(closure)
        schedule.step()
        first.remove()
        optimizer.step(closure)
        optimizer.load_state_dict(optimizer.state_dict())
        return events

    mine, theirs = seen(unspool), seen(torch)
    for a, b in zip(mine, theirs, strict=True):
        if isinstance(b, tuple) and b[0] == "post":
            np.testing.assert_allclose(a[-1], b[-1], rtol=1e-5, atol=1e-6)
            a, b = a[:-1], b[:-1]
        assert a == b


def test_a_hook_before_a_step_returns_both_kinds_of_arguments_or_nothing() -> None:
    optimizer = unspool.optim.SGD([unspool.nn.Parameter(unspool.ones(1))], lr=0.1)
    optimizer.register_step_pre_hook(lambda o, a, k: a)
    with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
        optimizer.step()
