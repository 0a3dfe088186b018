"""Printing against PyTorch, character by character."""

from __future__ import annotations

import re

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


_DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


def _drawn(rng: np.random.Generator, dtype: str, n: int) -> np.ndarray:
    """Numbers of one of many sorts: whole, tiny, huge, of few digits, special, subnormal, at the edges of formats."""
    if dtype == "bool":
        return rng.random(n) < 0.5
    if not dtype.startswith("float"):
        top = 10 ** int(rng.integers(1, 17))
        return rng.integers(-top, top, n).astype(dtype)
    v = rng.standard_normal(n)
    sorts = [
        lambda: v,
        lambda: np.round(v * 10.0 ** rng.integers(0, 12)),
        lambda: np.where(rng.random(n) < 0.5, np.round(v * 100), v),
        lambda: v * 10.0 ** float(rng.integers(-40, 38)),
        lambda: v * 10.0 ** rng.uniform(-rng.integers(1, 9), rng.integers(1, 9), n),
        lambda: np.where(rng.random(n) < 0.6, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], n), v),
        lambda: rng.choice([1e-45, -1e-45, 1e-40, 5e-324, 0.0, 1.0, 1e-38], n),
        lambda: rng.choice([0.0, -0.0], n),
        lambda: rng.choice([1e8, 99999999.0, 1e8 + 8, 1e-4, 9.9999e-5, 1e3, 999.9995, 9999.99995, 1e5, 0.5, -1e8], n),
        lambda: np.round(v, int(rng.integers(0, 6))),
        lambda: 10.0 ** rng.integers(-9, 10, n) * rng.choice([1, -1], n),
    ]
    with np.errstate(all="ignore"):
        return sorts[rng.integers(len(sorts))]().astype(dtype)


def _some_options(rng: np.random.Generator) -> dict[str, object]:
    choices: dict[str, list[object]] = {
        "profile": ["default", "short", "full"],
        "precision": list(range(12)),
        "threshold": [0, 1, 5, 20, 1000, 10**6],
        "edgeitems": [1, 2, 3, 4, 5, 10],
        "linewidth": [1, 10, 20, 40, 60, 79, 81, 120, 200],
        "sci_mode": [True, False, None],
    }
    return {name: values[rng.integers(len(values))] for name, values in choices.items() if rng.random() < 0.25}


_PLACES = (
    lambda m, x: x,
    lambda m, x: x.requires_grad_(),
    lambda m, x: x.requires_grad_() * 1,
    lambda m, x: m.nn.Parameter(x),
    lambda m, x: x,
)


@pytest.mark.parametrize("seed", range(10))
def test_any_tensor_with_any_options(seed: int) -> None:
    rng = np.random.default_rng([77, seed])
    try:
        for _ in range(250):
            ndim = int(rng.integers(0, 6))
            longest = ([1, 2500, 60, 16, 9, 6] if rng.random() < 0.15 else [1, 30, 9, 5, 4, 3])[ndim]
            shape = tuple(int(k) for k in rng.integers(0 if rng.random() < 0.1 else 1, longest + 1, ndim))
            a = _drawn(rng, _DTYPES[rng.integers(6)], int(np.prod(shape))).reshape(shape)
            options, place = _some_options(rng), int(rng.integers(5))
            texts = []
            for m in (unspool, torch):
                m.set_printoptions(profile="default")
                m.set_printoptions(**options)
                x = m.tensor(a)
                if x.is_floating_point():
                    x = _PLACES[place](m, x)
                if ndim > 1 and place == 4:
                    x = x.transpose(0, 1)[::2]
                texts.append(repr(x))
            assert texts[0] == texts[1], (a.dtype, shape, options)
    finally:
        unspool.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


# Calls whose results must show PyTorch's name of the call, and several results its form.
_SHOWN = """
x.T  x.t()  x.permute(1,0)  x.view(-1)  x[0]  x[:,1:]  x[[0]]  x[x>0]  x.flatten()  x.unsqueeze(0)  x.expand(4,2,3)
x.clone()  x.double()  x.split(1)[0]  x.split([1,1])[1]  x.chunk(2)[0]  x.unbind()[0]  x.diagonal()  x.flip(0)
x.roll(1,0)  x.repeat(2,1)  x.tile(2)  t.cat([x,x])  t.stack([x,x])  t.where(x>0,x,x)  x.clamp(0,1)  x.pow(2)
x**2.5  x**x  x/2  x-1  -x  x.abs()  x.square()  x.sum()  x.sum(0)  x.mean()  x.mean(0)  x.std()  x.std(0)  x.var()
x.var(0,unbiased=False)  x.norm()  x.norm(dim=0)  x.prod()  x.prod(0)  x.max()  x.max(0)  x.min(1)  x.amax(0)
x.softmax(0)  x.softmax(1)  x.log_softmax(0)  x.logsumexp(0)  x.cumsum(0)  x.cumprod(0)  x.sort()  x.topk(1)
x.kthvalue(1)  x.median()  x.median(0)  t.mode(x)  t.var_mean(x)  t.aminmax(x.detach())  t.cummax(x,0)  x@x.T
x.mv(t.ones(3))  x[0].dot(x[1])  x.mm(x.T)  x[None].bmm(x[None].transpose(1,2))  x.relu()  x.tanh()
x.index_select(0,t.tensor([0]))  x.masked_select(x>0)  x.gather(0,t.tensor([[0]]))  x.take(t.tensor([1]))  x.tril()
x.triu()  x.scatter(0,t.tensor([[0]]),1.)  x.scatter_add(0,t.tensor([[0]]),t.ones(1,1))
x.index_add(0,t.tensor([0]),t.ones(1,3))  x.masked_fill(x>0,1.)  t.lerp(x,x,.5)  x.exp()  x.log()  x.sqrt()
x.rsqrt()  x.sin()  x.erf()  x.expm1()  x.round()  x.floor()  F.gelu(x)  F.silu(x)  F.softplus(x)  F.leaky_relu(x)
F.elu(x)  F.selu(x)  F.celu(x)  F.hardtanh(x)  F.relu6(x)  F.mish(x)  F.hardsigmoid(x)  F.hardswish(x)
F.logsigmoid(x)  F.softshrink(x)  F.hardshrink(x)  F.threshold(x,0.,1.)  F.glu(x,0)  F.softsign(x)
F.prelu(x,t.ones(1))  F.layer_norm(x,(3,))  F.layer_norm(x,(3,),t.ones(3),t.zeros(3))
F.batch_norm(x,None,None,training=True)  F.linear(x,t.ones(4,3),t.ones(4))  F.embedding(t.tensor([0]),x)
F.dropout(x,0.5)  F.normalize(x)  F.cosine_similarity(x,x)  F.mse_loss(x,t.zeros(2,3))  F.l1_loss(x,t.zeros(2,3))
F.smooth_l1_loss(x,t.zeros(2,3))  F.huber_loss(x,t.zeros(2,3))  F.cross_entropy(x,t.tensor([0,1]))
F.nll_loss(x,t.tensor([0,1]))  F.kl_div(x,t.ones(2,3),reduction="sum")  F.soft_margin_loss(x,t.ones(2,3))
F.binary_cross_entropy(x.sigmoid(),t.zeros(2,3))  F.binary_cross_entropy_with_logits(x,t.zeros(2,3))
F.multi_margin_loss(x,t.tensor([0,1]))  F.group_norm(x,3)
t.addmm(t.ones(2,2),x,x.T)  t.addmv(t.ones(2),x,t.ones(3))  x.rot90()  t.cdist(x,x)  x.nan_to_num()  (x/9).logit()
t.logaddexp(x,x)  t.linalg.norm(x)  x.diff()  t.cummin(x,1)
"""


@pytest.mark.parametrize("call", [c for line in _SHOWN.splitlines() for c in line.split("  ") if c])
def test_results_show_the_name_of_the_call(call: str) -> None:
    def shown(t: object) -> list[str]:
        x = t.arange(1.0, 7.0).reshape(2, 3).requires_grad_() * 1  # type: ignore[attr-defined]
        t.manual_seed(0)  # type: ignore[attr-defined]
        text = repr(eval(call, {"t": t, "x": x, "F": t.nn.functional}))  # type: ignore[attr-defined]
        return re.findall(r"\n?\w+=|<\w+>|torch\.\w+\.\w+", text)

    assert shown(unspool) == shown(torch)
