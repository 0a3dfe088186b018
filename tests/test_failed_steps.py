"""A step that can't be done raises before it changes anything: parameters, state, counters, the entries of the dicts.

What is wrong stands at the last parameter of the last group, where a step that checks as it goes would have updated all
others. The texts name the optimizer, the argument and its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool

_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Rprop", {}),
]
_IDS = [" ".join((name, *kwargs)) for name, kwargs in _SETTINGS]


def made(name: str, kwargs: dict[str, Any], dtype: Any = unspool.float32) -> Any:
    """Two groups of two parameters with gradients; the last one has the given dtype."""
    rng = np.random.default_rng(2)
    ps = [unspool.tensor(rng.standard_normal((2, 3)), dtype=unspool.float32, requires_grad=True) for _ in range(3)]
    ps.append(unspool.tensor([[1, 2, 3], [4, 5, 6]], dtype=dtype))
    for p in ps:
        p.grad = unspool.tensor(rng.integers(1, 5, (2, 3)), dtype=p.dtype)
    return getattr(unspool.optim, name)([{"params": ps[:2]}, {"params": ps[2:]}], lr=0.1, **kwargs)


def value_of(x: Any) -> Any:
    """What a failed step must leave: which object it is, and what is in it."""
    if isinstance(x, unspool.Tensor):
        return id(x), x.dtype, tuple(x.shape), x.detach().numpy().tobytes(), x._version
    if isinstance(x, dict):
        return [(k if isinstance(k, (str, int)) else id(k), value_of(v)) for k, v in x.items()]
    return [value_of(v) for v in x] if isinstance(x, (list, tuple)) else repr(x)


def everything(optimizer: Any) -> Any:
    grads = [value_of(p.grad)[1:] for p in (*optimizer.param_groups[0]["params"], *optimizer.state)]
    return value_of(optimizer.param_groups), value_of(optimizer.state), grads


def refused(optimizer: Any, error: Any, *texts: str, closure: Any = None) -> None:
    before = everything(optimizer)
    with pytest.raises(error) as caught:
        optimizer.step(closure)
    assert everything(optimizer) == before
    for text in (f"{type(optimizer).__name__}.step: ", *texts):
        assert text in str(caught.value)


def last(optimizer: Any) -> Any:
    return optimizer.param_groups[-1]["params"][-1]


_WRONG_GRADS: list[tuple[str, Callable[[Any], Any], Any, str]] = [
    ("shape", lambda g: unspool.ones(5), unspool.errors.ShapeError, "has shape (5,), the parameter has shape (2, 3)"),
    ("dtype", lambda g: g.double(), unspool.errors.DTypeError, "has dtype float64, the parameter has dtype float32"),
]


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize(("kind", "wrong", "error", "text"), _WRONG_GRADS, ids=[w[0] for w in _WRONG_GRADS])
@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_a_gradient_unlike_its_parameter(
    name: str, kwargs: dict[str, Any], kind: str, wrong: Any, error: Any, text: str, steps: int
) -> None:
    optimizer = made(name, kwargs)
    for _ in range(steps):
        optimizer.step()
    p = last(optimizer)
    p.grad.data = wrong(p.grad)
    refused(optimizer, error, "grad of params[1] of parameter group 1", text)
    p.grad = unspool.ones_like(p)
    optimizer.step()  # it goes on as if the failed step had not been


@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_a_parameter_that_is_not_floating(name: str, kwargs: dict[str, Any]) -> None:
    refused(made(name, kwargs, unspool.int64), TypeError, "must be floating", "params[1] has dtype int64")


@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_what_is_no_parameter(name: str, kwargs: dict[str, Any]) -> None:
    optimizer = made(name, kwargs)
    optimizer.param_groups[1]["params"][1] = "w"
    refused(optimizer, TypeError, "params of parameter group 1", "'w'")
    optimizer.param_groups[1]["params"] = None
    refused(optimizer, TypeError, "params of parameter group 1", "None")


_NUMBERS = [
    (name, kwargs, setting)
    for name, kwargs in _SETTINGS
    for setting, value in getattr(unspool.optim, name)([unspool.ones(1)], **kwargs).defaults.items()
    if isinstance(value, (int, float, tuple)) and not isinstance(value, bool)
]


@pytest.mark.parametrize(("name", "kwargs", "setting"), _NUMBERS, ids=[f"{n}-{s}" for n, _, s in _NUMBERS])
def test_a_setting_that_has_become_impossible(name: str, kwargs: dict[str, Any], setting: str) -> None:
    optimizer = made(name, kwargs)
    group = optimizer.param_groups[1]
    for value in (float("nan"), "x", None):
        pair = isinstance(group[setting], tuple)
        good, group[setting] = group[setting], (0.5, value) if pair else value
        refused(optimizer, (TypeError, ValueError), f"{setting} of parameter group 1", repr(value))
        group[setting] = good
    del group[setting]
    refused(optimizer, KeyError, f"parameter group 1 lacks '{setting}'")


_STATES = [
    (name, kwargs, key)
    for name, kwargs in _SETTINGS
    for key in ("step", "mu_product", *getattr(unspool.optim, name)._shaped_state)
    if not (name == "SGD" and not kwargs)
]


@pytest.mark.parametrize(("name", "kwargs", "key"), _STATES, ids=[f"{n}-{k}" for n, _, k in _STATES])
def test_state_that_does_not_fit(name: str, kwargs: dict[str, Any], key: str) -> None:
    optimizer = made(name, kwargs)
    optimizer.step()
    state = optimizer.state[last(optimizer)]
    if key not in state:
        return
    good = state[key]
    state[key] = 3
    refused(optimizer, TypeError, f"state '{key}' of params[1] of parameter group 1", "got 3")
    state[key] = unspool.zeros(7)
    refused(optimizer, RuntimeError, f"state '{key}' of params[1] of parameter group 1", "shape (7,)")
    state[key] = good.half()
    refused(optimizer, RuntimeError, f"state '{key}' of params[1] of parameter group 1", "float16")
    if good.ndim == 0:
        state[key] = unspool.tensor(-1.0)
        refused(optimizer, ValueError, f"state '{key}' of params[1] of parameter group 1", "-1.0")
    del state[key]
    if name != "SGD":  # for which a missing buffer means the first step with momentum
        refused(optimizer, KeyError, "the state of params[1] of parameter group 1", f"lacks '{key}'")
    optimizer.state[last(optimizer)] = None
    refused(optimizer, TypeError, "the state of params[1] of parameter group 1 must be a dict, got None")
    optimizer.state = None
    refused_state = pytest.raises(TypeError, match=rf"{name}\.step: state must be a dict, got None")
    with refused_state:
        optimizer.step()


def test_amsgrad_and_momentum_that_are_switched_on_later() -> None:
    for name, kwargs, setting in (("Adam", {}, {"amsgrad": True}), ("RMSprop", {}, {"momentum": 0.5})):
        optimizer = made(name, kwargs)
        optimizer.step()
        optimizer.param_groups[1].update(setting)
        refused(optimizer, KeyError, "params[0] of parameter group 1")


@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_a_closure_may_put_it_right(name: str, kwargs: dict[str, Any]) -> None:
    optimizer = made(name, kwargs)
    p = last(optimizer)
    p.grad.data = unspool.ones(5)

    def closure() -> float:
        p.grad = unspool.ones_like(p)
        return 1.5

    assert optimizer.step(closure) == 1.5


@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_own_entries_of_the_state_are_no_state(name: str, kwargs: dict[str, Any]) -> None:
    optimizer, plain = made(name, kwargs), made(name, kwargs)
    optimizer.state[last(optimizer)]["note"] = "mine"
    for o in (optimizer, plain):
        o.step()
    assert last(optimizer).tolist() == last(plain).tolist()
    assert optimizer.state[last(optimizer)]["note"] == "mine"


@pytest.mark.filterwarnings("ignore:.*holds the same parameter twice")
@pytest.mark.parametrize(("name", "kwargs"), _SETTINGS, ids=_IDS)
def test_a_parameter_that_is_there_twice(name: str, kwargs: dict[str, Any]) -> None:
    once, twice = (unspool.ones(2, requires_grad=True) for _ in range(2))
    first, second = (getattr(unspool.optim, name)(ps, lr=0.1, **kwargs) for ps in ([once], [twice, twice]))
    for p in (once, twice):
        p.grad = unspool.tensor([1.0, -2.0])
    for _ in range(2):
        first.step()
    second.step()
    assert once.tolist() == twice.tolist()


# --- LBFGS: the closure is called several times in a step -------------------------------------------------------------


def quadratic(search: str | None) -> tuple[Any, Callable[[Any, int], Callable[[], Any]]]:
    """An optimizer, and a maker of closures in whose call number `at` something happens to the last parameter."""
    ps = [unspool.tensor(v, requires_grad=True) for v in ([3.0, -2.0], [1.0, 4.0, 2.0])]
    optimizer = unspool.optim.LBFGS(ps, lr=0.1, max_iter=4, line_search_fn=search)

    def closure_with(happens: Any, at: int) -> Callable[[], Any]:
        calls = 0

        def closure() -> Any:
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            loss = (ps[0] ** 4).sum() + (ps[1] ** 2 * unspool.tensor([1.0, 2.0, 3.0])).sum() * ps[0][0] ** 2
            loss.backward()
            return (happens(ps[1]) if calls == at else None) or loss

        return closure

    return optimizer, closure_with


def wrong_shape(p: Any) -> None:
    p.grad.data = unspool.ones(5)


def wrong_dtype(p: Any) -> None:
    p.grad.data = p.grad.double()


def wrong_loss(_: Any) -> str:
    return "loss"


def contents(optimizer: Any) -> Any:
    """Values without identities and versions: LBFGS goes back to where it was."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return [(k if isinstance(k, str) else id(k), plain(v)) for k, v in x.items()]
        if isinstance(x, list):
            return [plain(v) for v in x]
        return x.tolist() if isinstance(x, unspool.Tensor) else x

    return plain([g["params"] for g in optimizer.param_groups]), plain(optimizer.state)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(
    ("happens", "error", "text"),
    [
        (wrong_shape, unspool.errors.ShapeError, "grad of params[1] of parameter group 0 has shape (5,)"),
        (wrong_dtype, unspool.errors.DTypeError, "has dtype float64"),
        (wrong_loss, TypeError, "must return the loss, one number, got 'loss'"),
    ],
)
@pytest.mark.parametrize("steps", [0, 1])
def test_lbfgs_goes_back(search: str | None, at: int, happens: Any, error: Any, text: str, steps: int) -> None:
    optimizer, closure_with = quadratic(search)
    for _ in range(steps):
        optimizer.step(closure_with(None, 0))
    before = contents(optimizer)
    with pytest.raises(error) as caught:
        optimizer.step(closure_with(happens, at))
    assert contents(optimizer) == before
    assert "LBFGS.step: " in str(caught.value)
    assert text in str(caught.value)
    optimizer.step(closure_with(None, 0))


def test_lbfgs_checks_its_settings_and_state() -> None:
    optimizer, closure_with = quadratic(None)
    optimizer.step(closure_with(None, 0))
    group, state = optimizer.param_groups[0], optimizer.state[optimizer.param_groups[0]["params"][0]]
    for place, keys in ((group, ("lr", "max_iter", "tolerance_grad", "tolerance_change")), (state, tuple(state))):
        for key in keys:
            for wrong in ("x", None, unspool.ones(7), [unspool.ones(7)], [None]):
                good, place[key] = place[key], wrong
                before = contents(optimizer)
                with pytest.raises((TypeError, ValueError)):
                    optimizer.step(closure_with(None, 0))
                assert contents(optimizer) == before, (key, wrong)
                place[key] = good
    for key in tuple(state):
        good = state.pop(key)
        if key != "n_iter":
            with pytest.raises(KeyError, match=key):
                optimizer.step(closure_with(None, 0))
        state[key] = good
    optimizer.step(closure_with(None, 0))


def test_what_the_closure_of_lbfgs_raises_leaves_where_it_was_evaluated() -> None:
    """As in PyTorch: programs stop a long minimisation with an exception and keep what it found."""
    optimizer, closure_with = quadratic(None)
    p = optimizer.param_groups[0]["params"][0]
    start = p.tolist()

    def stop(_: Any) -> None:
        raise StopIteration

    with pytest.raises(StopIteration):
        optimizer.step(closure_with(stop, 3))
    assert p.tolist() != start
