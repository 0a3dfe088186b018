"""`set_default_init`: what layers draw when they are built; PyTorch's numbers, bit for bit, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    unspool.set_default_init("pytorch")


def build(t: Any) -> list[Any]:
    t.manual_seed(7)
    models = [
        t.nn.Linear(20, 30),
        t.nn.Linear(7, 3, bias=False),
        t.nn.MultiheadAttention(24, 4),
        t.nn.MultiheadAttention(24, 4, kdim=8, vdim=6, bias=False),
        t.nn.TransformerEncoderLayer(24, 4, 50),
        t.nn.Bilinear(3, 4, 5),
        t.nn.Embedding(9, 4),
    ]
    return [p.detach().numpy().copy() for m in models for p in m.parameters()] + [t.rand(3).numpy()]


def test_the_default_is_pytorch_s(torch: Any) -> None:
    assert unspool.get_default_init() == "pytorch"
    theirs = build(torch)
    for _ in range(2):
        for ours, reference in zip(build(unspool), theirs, strict=True):
            np.testing.assert_array_equal(ours, reference)
        unspool.set_default_init("he")
        unspool.set_default_init("pytorch")


def test_he() -> None:
    unspool.manual_seed(0)
    unspool.set_default_init("he")
    assert unspool.get_default_init() == "he"
    layer = nn.Linear(300, 500)
    unspool.manual_seed(0)
    reference = nn.init.kaiming_normal_(unspool.empty(500, 300), nonlinearity="relu")
    np.testing.assert_array_equal(layer.weight.detach().numpy(), reference.numpy())
    assert np.var(layer.weight.detach().numpy()) * 300 == pytest.approx(2.0, rel=0.02)
    assert not layer.bias.any()
    assert nn.Linear(3, 4, bias=False).bias is None


@pytest.mark.parametrize("sizes", [{}, {"kdim": 200, "vdim": 80}])
def test_he_of_attention(sizes: dict[str, int]) -> None:
    unspool.manual_seed(0)
    with unspool.set_default_init("he"):
        attention = nn.MultiheadAttention(160, 4, **sizes)
    own = attention._parameters
    names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"] if sizes else ["in_proj_weight"]
    for w in [*(own[name] for name in names), attention.out_proj.weight]:
        assert np.var(w.detach().numpy()) * w.shape[1] == pytest.approx(1.0, rel=0.05)
    assert not attention.in_proj_bias.any()
    assert not attention.out_proj.bias.any()


def test_as_a_context_manager() -> None:
    with unspool.set_default_init("he"):
        assert not nn.Linear(3, 3).bias.any()
        with unspool.set_default_init("pytorch"):
            assert nn.Linear(3, 3).bias.any()
        assert unspool.get_default_init() == "he"
    assert unspool.get_default_init() == "pytorch"
    with pytest.raises(KeyError), unspool.set_default_init("he"):
        raise KeyError
    assert nn.Linear(3, 3).bias.any()


def test_a_lazy_layer_keeps_what_it_was_built_with() -> None:
    unspool.manual_seed(0)
    with unspool.set_default_init("he"):
        layer = nn.LazyLinear(300)
    other = nn.LazyLinear(300)
    with unspool.set_default_init("he"):
        other(unspool.randn(2, 200))
    layer(unspool.randn(2, 200))
    assert np.var(layer.weight.detach().numpy()) * 200 == pytest.approx(2.0, rel=0.03)
    assert np.var(other.weight.detach().numpy()) * 200 == pytest.approx(1 / 3, rel=0.03)
    assert vars(layer).keys() == vars(nn.Linear(200, 300)).keys()


@pytest.mark.parametrize("scheme", ["He", "xavier", None, 2, ["he"]])
def test_bad_names(scheme: Any) -> None:
    unspool.set_default_init("he")
    with pytest.raises(ValueError, match=r"set_default_init: scheme must be 'pytorch' or 'he', got ") as caught:
        unspool.set_default_init(scheme)
    assert str(caught.value).endswith(repr(scheme))
    assert unspool.get_default_init() == "he"


def test_a_deep_network_built_so_keeps_its_signal() -> None:
    unspool.manual_seed(0)
    x = unspool.randn(16, 256)
    variances = {}
    for scheme in ("pytorch", "he"):
        with unspool.set_default_init(scheme):
            model = nn.Sequential(*[m for _ in range(50) for m in (nn.Linear(256, 256), nn.ReLU())])
        variances[scheme] = model(x).detach().numpy().var(axis=0).mean()  # between the examples
    assert 0.02 < variances["he"] < 20
    assert variances["pytorch"] < 1e-6
