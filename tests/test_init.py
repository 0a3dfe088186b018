"""`nn.init` against PyTorch: the same seed gives the same values, and the generator is left in the same state."""

from __future__ import annotations

import math
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
    ("swapped bounds", lambda i, t: i.uniform_(t.empty(3), 1.0, 0.0)),
]


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch.nn.init, torch)
    with pytest.raises(reference.type) as caught:
        call(unspool.nn.init, unspool)
    assert str(caught.value)
