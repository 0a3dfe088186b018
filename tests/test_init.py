"""`nn.init` against PyTorch: the same seed gives the same values, and the generator is left in the same state."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for the drawn values")

_FILLS: list[tuple[str, dict[str, Any]]] = [
    ("uniform_", {}),
    ("uniform_", {"a": -0.3, "b": 0.7}),
    ("normal_", {}),
    ("normal_", {"mean": 2.0, "std": 0.1}),
    ("trunc_normal_", {}),
    ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.0}),
    ("constant_", {"val": 0.25}),
    ("ones_", {}),
    ("zeros_", {}),
    ("eye_", {}),
    ("xavier_uniform_", {}),
    ("xavier_normal_", {"gain": 2.0}),
    ("kaiming_uniform_", {}),
    ("kaiming_uniform_", {"a": math.sqrt(5)}),
    ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", {}),
    ("kaiming_normal_", {"mode": "fan_in", "nonlinearity": "relu"}),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}),
]


@pytest.mark.parametrize(("name", "kwargs"), _FILLS)
@pytest.mark.parametrize("shape", [(3, 2), (7, 5), (40, 30)])
@pytest.mark.parametrize("own", [False, True])
def test_values(name: str, kwargs: dict[str, Any], shape: tuple[int, int], own: bool) -> None:
    values = []
    for t in (unspool, torch):
        t.manual_seed(9)
        extra = dict(kwargs)
        drawn = name not in ("constant_", "ones_", "zeros_", "eye_")
        if own and drawn:
            extra["generator"] = t.Generator().manual_seed(4)
        p = t.nn.Parameter(t.empty(shape))
        assert getattr(t.nn.init, name)(p, **extra) is p
        assert p.requires_grad
        assert p.is_leaf
        after = t.rand(2, generator=extra.get("generator"))
        values.append((p.detach().numpy().copy(), after.tolist()))
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=2e-6, atol=1e-6)
    assert values[0][1] == values[1][1]


_EDGES: list[tuple[str, dict[str, Any]]] = [
    ("trunc_normal_", {}),
    ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.0}),
    ("trunc_normal_", {"mean": 0.3, "std": 0.7, "a": 1.0, "b": 1.5}),  # a rare tail: rejection from U(a, b)
    ("trunc_normal_", {"mean": 5.0, "a": -1.0, "b": 1.0}),  # warns
    ("trunc_normal_", {"std": 0.7, "a": 2.0, "b": 2.5}),  # both
    ("kaiming_normal_", {}),
    ("kaiming_uniform_", {"a": 0.3}),
    ("xavier_normal_", {}),
    ("xavier_uniform_", {"gain": 3.0}),
    ("sparse_", {"sparsity": 0.3}),
    ("eye_", {}),
    ("normal_", {}),
    ("uniform_", {}),
]


@pytest.mark.parametrize(("name", "kwargs"), _EDGES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(5, 3), (24, 40), (0, 3), (3, 0)])
def test_values_warnings_and_stream_of_each_dtype(
    name: str, kwargs: dict[str, Any], dtype: str, shape: tuple[int, int]
) -> None:
    outcomes = []
    for t in (unspool, torch):
        t.manual_seed(3)
        w = t.empty(shape, dtype=getattr(t, dtype))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                assert getattr(t.nn.init, name)(w, **kwargs) is w
                raised = None
            except ZeroDivisionError as error:
                raised = type(error)
        said = [(w.category, str(w.message)) for w in caught]
        outcomes.append((raised, said, t.rand(1).item(), w.double().numpy() if raised is None else None))
    assert outcomes[0][:3] == outcomes[1][:3]
    if outcomes[0][3] is not None:
        np.testing.assert_allclose(outcomes[0][3], outcomes[1][3], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (5, 7), (60, 60), (4, 3, 5), (3, 0)])
@pytest.mark.parametrize("gain", [1, 1.7])
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    values = []
    for t in (unspool, torch):
        t.manual_seed(2)
        values.append(t.nn.init.orthogonal_(t.empty(shape), gain).numpy())
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=2e-6)


def test_orthogonal_of_halves() -> None:
    """PyTorch has no QR of them."""
    unspool.manual_seed(2)
    w = unspool.nn.init.orthogonal_(unspool.empty(6, 4, dtype=unspool.bfloat16)).double().numpy()
    np.testing.assert_allclose(w.T @ w, np.eye(4), atol=0.02)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((3, 4, 5), 1), ((6, 2, 3, 4), 2), ((6, 2, 3, 3), 3), ((4, 9, 2, 3, 4), 2), ((2, 3, 1), 1), ((4, 0, 3), 2)],
)
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    w = unspool.nn.Parameter(unspool.rand(shape))
    assert unspool.nn.init.dirac_(w, groups) is w
    assert w.is_leaf
    np.testing.assert_array_equal(
        w.detach().numpy(), torch.nn.init.dirac_(torch.empty(shape), groups).numpy(), strict=True
    )


_OLDER = ["uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform"]
_OLDER += ["kaiming_normal", "orthogonal", "sparse"]


@pytest.mark.parametrize("name", _OLDER)
def test_older_names_warn_and_do_the_same(name: str) -> None:
    shape = (3, 4, 5) if name == "dirac" else (3, 4)
    args = {"constant": (0.3,), "sparse": (0.5,)}.get(name, ())
    outcomes = []
    for t in (unspool, torch):
        t.manual_seed(8)
        with pytest.warns(FutureWarning) as caught:
            w = getattr(t.nn.init, name)(t.empty(shape), *args)
        assert caught[0].filename == __file__
        outcomes.append((str(caught[0].message), getattr(t.nn.init, name).__name__, w.numpy()))
    assert outcomes[0][:2] == outcomes[1][:2]
    np.testing.assert_allclose(outcomes[0][2], outcomes[1][2], rtol=1e-6, atol=1e-6)


def test_every_public_name_with_its_arguments() -> None:
    ours = unspool.nn.init
    assert set(torch.nn.init.__all__) <= set(ours.__all__) <= set(dir(ours))
    for name in torch.nn.init.__all__:
        if name in _OLDER:
            continue
        theirs = inspect.signature(getattr(torch.nn.init, name)).parameters
        own = inspect.signature(getattr(ours, name)).parameters
        assert [(p.name, p.default) for p in own.values()] == [(p.name, p.default) for p in theirs.values()], name


@pytest.mark.parametrize("mode", ["fan_in", "FAN_OUT"])
@pytest.mark.parametrize("shape", [(3, 7), (3, 7, 2, 2)])
def test_the_fan_of_a_mode(mode: str, shape: tuple[int, ...]) -> None:
    theirs = torch.nn.init._calculate_correct_fan(torch.empty(shape), mode)
    assert unspool.nn.init._calculate_correct_fan(unspool.empty(shape), mode) == theirs
    with pytest.raises(ValueError, match="fan_avg"):
        unspool.nn.init._calculate_correct_fan(unspool.empty(shape), "fan")


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
@pytest.mark.parametrize("param", [None, 0.3])
def test_gains(name: str, param: float | None) -> None:
    assert unspool.nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


def test_the_mode_between_the_two() -> None:
    unspool.manual_seed(0)
    w = unspool.nn.init.kaiming_normal_(unspool.empty(300, 100), mode="fan_avg", nonlinearity="relu")
    assert np.var(w.numpy()) == pytest.approx(4 / (300 + 100), rel=0.03)
    assert unspool.nn.init._calculate_fan_in_and_fan_out(w) == (100, 300)


_BAD: list[tuple[str, Any]] = [
    ("one dimension", lambda i, t: i.kaiming_uniform_(t.empty(3))),
    ("xavier of a scalar", lambda i, t: i.xavier_normal_(t.empty(()))),
    ("mode", lambda i, t: i.kaiming_normal_(t.empty(2, 2), mode="fan_sideways")),
    ("nonlinearity", lambda i, t: i.kaiming_normal_(t.empty(2, 2), nonlinearity="softmax")),
    ("gain", lambda i, t: i.calculate_gain("nothing")),
    ("slope", lambda i, t: i.calculate_gain("leaky_relu", "steep")),
    ("eye of a vector", lambda i, t: i.eye_(t.empty(3))),
    ("negative std", lambda i, t: i.normal_(t.empty(3), std=-1.0)),
    ("dirac of a matrix", lambda i, t: i.dirac_(t.empty(2, 2))),
    ("dirac of uneven groups", lambda i, t: i.dirac_(t.empty(5, 2, 3), 2)),
    ("orthogonal of a vector", lambda i, t: i.orthogonal_(t.empty(3))),
    ("sparse of three dimensions", lambda i, t: i.sparse_(t.empty(3, 3, 3), 0.1)),
    ("no such name", lambda i, t: i.lecun_normal_(t.empty(3, 3))),
    ("swapped bounds", lambda i, t: i.uniform_(t.empty(3), 1.0, 0.0)),
]


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch.nn.init, torch)
    with pytest.raises(reference.type) as caught:
        call(unspool.nn.init, unspool)
    assert str(caught.value)
