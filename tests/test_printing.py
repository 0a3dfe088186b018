"""Printing against PyTorch, character by character."""

from __future__ import annotations

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference that the texts are compared with")

_KINDS = ("normal", "whole", "tiny", "wide", "special", "zeros", "f64", "int", "bool", "strange")


def _array(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape)
    if kind == "whole":
        return np.round(values * 10.0 ** rng.integers(0, 9)).astype(np.float32)
    if kind == "tiny":
        return (values * 10.0 ** float(rng.integers(-12, -2))).astype(np.float32)
    if kind == "wide":
        return (values * 10.0 ** rng.uniform(-6, 6, shape)).astype(np.float32)
    if kind == "special":
        chosen = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 0.25], size=shape)
        return np.where(rng.random(shape) < 0.5, chosen, values).astype(np.float32)
    if kind == "strange":
        return rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.0], size=shape).astype(np.float32)
    if kind == "zeros":
        return np.zeros(shape, np.float32)
    if kind == "f64":
        return values
    if kind == "int":
        return rng.integers(-(10 ** int(rng.integers(1, 12))), 10**12, shape, dtype=np.int64)
    if kind == "bool":
        return rng.random(shape) < 0.5
    return values.astype(np.float32)


def _same(a: np.ndarray, **marks: bool) -> None:
    ours, theirs = unspool.tensor(a), torch.tensor(a)
    if marks.get("requires_grad"):
        ours.requires_grad_()
        theirs.requires_grad_()
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_random_tensors(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, _KINDS.index(kind)])
    shape = tuple(int(n) for n in rng.integers(0 if seed % 7 == 0 else 1, 9, size=rng.integers(0, 5)))
    _same(_array(rng, kind, shape))


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "shape", [(1001,), (1000,), (40, 40), (7, 200), (200, 7), (5, 5, 50), (2, 3, 4, 100), (1200, 1)]
)
def test_long_tensors_are_shortened(kind: str, shape: tuple[int, ...]) -> None:
    _same(_array(np.random.default_rng(1), kind, shape))


@pytest.mark.parametrize("n", range(1, 40, 3))
def test_suffixes_wrap_like_pytorchs(n: int) -> None:
    rng = np.random.default_rng(n)
    _same(rng.standard_normal(n).astype(np.float32), requires_grad=True)
    _same(rng.standard_normal((3, n)), requires_grad=True)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint8", "int32"])
def test_empty(shape: tuple[int, ...], dtype: str) -> None:
    _same(np.zeros(shape, dtype))


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_unusual_dtypes(dtype: str) -> None:
    _same(np.arange(12, dtype=dtype).reshape(3, 4))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"precision": 8},
        {"linewidth": 40},
        {"edgeitems": 1, "threshold": 5},
        {"sci_mode": True},
        {"sci_mode": False},
        {"profile": "short"},
        {"profile": "full"},
    ],
)
@pytest.mark.parametrize("kind", _KINDS)
def test_options(options: dict[str, object], kind: str) -> None:
    try:
        unspool.set_printoptions(**options)
        torch.set_printoptions(**options)
        for shape in ((), (5,), (30,), (4, 9), (2, 3, 4), (40, 30)):
            _same(_array(np.random.default_rng(3), kind, shape))
    finally:
        unspool.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="profile is 'loud'"):
        unspool.set_printoptions(profile="loud")


def test_default_dtype_decides_which_suffix_is_left_out() -> None:
    try:
        unspool.set_default_dtype(unspool.float64)
        torch.set_default_dtype(torch.float64)
        _same(np.ones(2, np.float32))
        _same(np.ones(2, np.float64))
        _same(np.ones((0, 2), np.float64))
    finally:
        unspool.set_default_dtype(unspool.float32)
        torch.set_default_dtype(torch.float32)


def test_place_in_the_graph() -> None:
    def made(t):  # type: ignore[no-untyped-def]
        x = t.tensor([1.5, -2.0], requires_grad=True)
        return [x + 1, x * 2, (x * x).sum(), t.relu(x), x.mean(), x.detach(), x.data, x - 1, x / 2, -x, x.exp()]

    assert [repr(a) for a in made(unspool)] == [repr(b) for b in made(torch)]


def test_parameters_and_other_subclasses() -> None:
    for values in ([1.0, 2.0], [[0.5], [2.0]]):
        ours = unspool.nn.Parameter(unspool.tensor(values))
        theirs = torch.nn.Parameter(torch.tensor(values))
        assert repr(ours) == repr(theirs)
        assert repr(unspool.nn.Buffer(unspool.tensor(values))) == repr(torch.nn.Buffer(torch.tensor(values)))
    frozen = unspool.nn.Parameter(unspool.ones(2), requires_grad=False)
    assert repr(frozen) == repr(torch.nn.Parameter(torch.ones(2), requires_grad=False))


def test_printing_leaves_the_tensor_alone() -> None:
    t = unspool.ones(3, requires_grad=True)
    version = t._version
    repr(t)
    assert t._version == version
    assert t.grad is None
    assert t.is_leaf
