"""`out=` of every function that takes it, and named results, beside PyTorch."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for out=")

A = np.array([[0.3, 0.9, 0.1], [0.7, 0.2, 0.5]])
CALLS: dict[str, Any] = {
    "add": lambda m, a, **k: m.add(a, 1, **k),
    "add of tensors": lambda m, a, **k: m.add(a, a, alpha=2, **k),
    "sub": lambda m, a, **k: m.sub(a, a * 2, **k),
    "mul": lambda m, a, **k: m.mul(a, 2.5, **k),
    "div": lambda m, a, **k: m.div(a, 3, **k),
    "true_divide": lambda m, a, **k: m.true_divide(a, 3, **k),
    "matmul": lambda m, a, **k: m.matmul(a, a.t(), **k),
    "mm": lambda m, a, **k: m.mm(a, a.t(), **k),
    "bmm": lambda m, a, **k: m.bmm(a[None], a.t()[None], **k),
    "mv": lambda m, a, **k: m.mv(a, a[0], **k),
    "dot": lambda m, a, **k: m.dot(a[0], a[1], **k),
    "outer": lambda m, a, **k: m.outer(a[0], a[1], **k),
    "addmm": lambda m, a, **k: m.addmm(m.ones(2, 2, dtype=a.dtype), a, a.t(), **k),
    "sum": lambda m, a, **k: m.sum(a, 1, **k),
    "mean": lambda m, a, **k: m.mean(a, 0, **k),
    "prod": lambda m, a, **k: m.prod(a, 1, **k),
    "var": lambda m, a, **k: m.var(a, 1, **k),
    "std": lambda m, a, **k: m.std(a, 0, keepdim=True, **k),
    "amax": lambda m, a, **k: m.amax(a, 1, **k),
    "argmax": lambda m, a, **k: m.argmax(a, 1, **k),
    "all": lambda m, a, **k: m.all(a > 0, 1, **k),
    "norm": lambda m, a, **k: m.norm(a, 2, 1, **k),
    "logsumexp": lambda m, a, **k: m.logsumexp(a, 1, **k),
    "cumsum": lambda m, a, **k: m.cumsum(a, 1, **k),
    "softmax": lambda m, a, **k: m.softmax(a, 1, **k),
    "exp": lambda m, a, **k: m.exp(a, **k),
    "log": lambda m, a, **k: m.log(a, **k),
    "sqrt": lambda m, a, **k: m.sqrt(a, **k),
    "tanh": lambda m, a, **k: m.tanh(a, **k),
    "sigmoid": lambda m, a, **k: m.sigmoid(a, **k),
    "erfinv": lambda m, a, **k: m.erfinv(a, **k),
    "lgamma": lambda m, a, **k: m.lgamma(a, **k),
    "neg": lambda m, a, **k: m.neg(a, **k),
    "floor": lambda m, a, **k: m.floor(a, **k),
    "pow": lambda m, a, **k: m.pow(a, 2, **k),
    "clamp": lambda m, a, **k: m.clamp(a, 0.2, 0.6, **k),
    "maximum": lambda m, a, **k: m.maximum(a, 1 - a, **k),
    "where": lambda m, a, **k: m.where(a > 0.4, a, 1 - a, **k),
    "lerp": lambda m, a, **k: m.lerp(a, 1 - a, 0.25, **k),
    "eq": lambda m, a, **k: m.eq(a, 0.3, **k),
    "gt": lambda m, a, **k: m.gt(a, 0.4, **k),
    "logical_not": lambda m, a, **k: m.logical_not(a > 0.4, **k),
    "cat": lambda m, a, **k: m.cat([a, a], 1, **k),
    "stack": lambda m, a, **k: m.stack([a, a], 1, **k),
    "vstack": lambda m, a, **k: m.vstack([a, a], **k),
    "gather": lambda m, a, **k: m.gather(a, 1, m.tensor([[0, 2], [1, 1]]), **k),
    "index_select": lambda m, a, **k: m.index_select(a, 1, m.tensor([2, 0]), **k),
    "masked_select": lambda m, a, **k: m.masked_select(a, a > 0.4, **k),
    "tril": lambda m, a, **k: m.tril(a, **k),
    "diag": lambda m, a, **k: m.diag(a[0], **k),
    "quantile": lambda m, a, **k: m.quantile(a, 0.5, dim=1, **k),
    "linalg.inv": lambda m, a, **k: m.linalg.inv(a[:, :2], **k),
    "linalg.norm": lambda m, a, **k: m.linalg.norm(a, dim=1, **k),
    "randn": lambda m, a, **k: m.randn(2, 3, **k),
    "rand": lambda m, a, **k: m.rand(2, 3, **k),
    "randint": lambda m, a, **k: m.randint(5, (2, 3), **k),
    "randperm": lambda m, a, **k: m.randperm(6, **k),
    "normal": lambda m, a, **k: m.normal(0.0, 1.0, (2, 3), **k),
    "zeros": lambda m, a, **k: m.zeros(2, 3, **k),
    "ones": lambda m, a, **k: m.ones((2, 3), **k),
    "full": lambda m, a, **k: m.full((2, 3), 4.0, **k),
    "eye": lambda m, a, **k: m.eye(3, **k),
    "arange": lambda m, a, **k: m.arange(1, 7, 2, **k),
    "linspace": lambda m, a, **k: m.linspace(0, 1, 5, **k),
    "sort": lambda m, a, **k: m.sort(a, 1, **k),
    "topk": lambda m, a, **k: m.topk(a, 2, 1, **k),
    "kthvalue": lambda m, a, **k: m.kthvalue(a, 2, 1, **k),
    "max": lambda m, a, **k: m.max(a, 1, **k),
    "min": lambda m, a, **k: m.min(a, 0, True, **k),
    "median": lambda m, a, **k: m.median(a, 1, **k),
    "mode": lambda m, a, **k: m.mode(a, 1, **k),
    "cummax": lambda m, a, **k: m.cummax(a, 1, **k),
    "aminmax": lambda m, a, **k: m.aminmax(a, dim=1, **k),
}
TARGETS = {
    "float32": ("float32", ()),
    "float64": ("float64", ()),
    "int64": ("int64", ()),
    "bool": ("bool", ()),
    "another shape": ("float32", (5, 2)),
}


def parts(x: Any) -> list[Any]:
    return list(x) if isinstance(x, tuple) else [x]


def outcome(m: Any, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
    call = CALLS[name]
    a = m.tensor(A, dtype=m.float32)
    m.manual_seed(0)
    sample = call(m, a)
    wide = parts(sample)
    targets = [
        m.empty(shape or tuple(t.shape), dtype=m.int64 if i and len(wide) == 2 and t.dtype == m.int64 else getattr(m, dtype))
        for i, t in enumerate(wide)
    ]  # fmt: skip
    m.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            got = call(m, a, out=targets[0] if len(wide) == 1 else tuple(targets))
        except (RuntimeError, TypeError) as error:
            return type(error).__name__
    identical = all(x is y for x, y in zip(parts(got), targets, strict=True))
    values = [(str(t.dtype), tuple(t.shape), t.stride(), t.tolist()) for t in targets]
    resized = any("resized" in str(w.message) for w in caught)
    return identical, values, resized


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CALLS)
def test_out(name: str, target: str) -> None:
    if (name, target) == ("sum", "bool"):
        pytest.skip("sums as bool are refused")
    ours, theirs = (outcome(m, name, *TARGETS[target]) for m in (unspool, torch))
    if isinstance(theirs, str):
        # A dtype that PyTorch wants to the letter is cast here, where that loses no kind.
        made = parts(CALLS[name](unspool, unspool.tensor(A)))[0].dtype
        cast = unspool.can_cast(made, getattr(unspool, TARGETS[target][0]))
        # What has a dtype= computes in the target's.
        assert isinstance(ours, str) or cast or name in ("cumsum", "arange", "linspace"), ours
        return
    assert not isinstance(ours, str), ours
    assert ours[0] and theirs[0]
    assert ours[2] == theirs[2] or name == "arange"  # a constructor that warns in PyTorch, unlike the others
    for (kind, shape, stride, values), (dtype, size, step, wanted) in zip(ours[1], theirs[1], strict=True):
        assert (kind, shape) == (dtype, size)
        assert stride == step or name == "linalg.inv"  # LAPACK's order of columns
        np.testing.assert_allclose(values, wanted, rtol=2e-5, atol=1e-6)


def both(f: Any) -> tuple[Any, Any]:
    return f(unspool), f(torch)


def test_out_that_lies_on_the_inputs() -> None:
    def run(m: Any) -> Any:
        x = m.arange(6.0)
        m.add(x, 1, out=x)
        y = m.arange(9.0).reshape(3, 3)
        m.mul(y, y[0].clone(), out=y)
        z = m.zeros(2, 4)
        m.exp(m.ones(2, 2), out=z[:, ::2])
        return x.tolist(), y.tolist(), z.tolist(), x._version > 0

    ours, theirs = both(run)
    assert ours == theirs


def test_out_and_gradients() -> None:
    for m in (unspool, torch):
        w = m.ones(3, requires_grad=True)
        for target, x in ((m.empty(3), w), (m.empty(3, requires_grad=True), m.ones(3)), (m.empty(3), w * 2)):
            with pytest.raises(RuntimeError, match=r"out=.*automatic differentiation"):
                m.add(x, 1, out=target)
        with m.no_grad():
            y = m.add(w, 1, out=m.empty(3))
        assert not y.requires_grad
        # what is saved for backward is seen to have changed
        x = m.ones(3, requires_grad=True)
        s = m.exp(x * 1.0)
        with m.no_grad():
            m.add(m.ones(3), 1, out=s)
        with pytest.raises(RuntimeError, match="modified"):
            s.sum().backward()


def test_out_is_refused_and_nothing_changes() -> None:
    a = unspool.ones(2)
    whole = unspool.zeros(2, dtype=unspool.int64)
    for f in (
        lambda: unspool.add(a, 1.5, out=whole),
        lambda: unspool.add(a, 1, out=3),
        lambda: unspool.max(unspool.ones(2, 2), 1, out=a),
        lambda: unspool.max(unspool.ones(2, 2), 1, out=(a, whole, whole)),
        lambda: unspool.zeros(2, dtype=unspool.float64, out=a),
        lambda: unspool.add(a, 1, out=unspool.empty(1).expand(2)),
        lambda: unspool.reshape(a, (2, 1), out=a) if False else unspool.transpose(a, 0, 0, out=a),
    ):
        with pytest.raises((TypeError, RuntimeError)):
            f()
    assert a.tolist() == [1, 1]
    assert whole.tolist() == [0, 0]


def test_out_of_shared_memory_is_not_taken_away() -> None:
    x = unspool.zeros(2)
    array = x.numpy()
    with pytest.raises(RuntimeError, match="shared"), pytest.warns(UserWarning, match="resized"):
        unspool.add(unspool.ones(3), 1, out=x)
    assert array.tolist() == [0, 0]
    assert unspool.add(unspool.ones(2), 1, out=x) is x
    assert array.tolist() == [2, 2]


NAMED: dict[str, Any] = {
    "max": lambda m, a: m.max(a, 1),
    "min": lambda m, a: a.min(1),
    "sort": lambda m, a: a.sort(),
    "topk": lambda m, a: m.topk(a, 2),
    "mode": lambda m, a: m.mode(a),
    "median": lambda m, a: a.median(1),
    "nanmedian": lambda m, a: a.nanmedian(1),
    "kthvalue": lambda m, a: a.kthvalue(1),
    "cummax": lambda m, a: a.cummax(1),
    "cummin": lambda m, a: m.cummin(a, 0),
    "aminmax": lambda m, a: m.aminmax(a),
    "slogdet": lambda m, a: m.linalg.slogdet(a[:, :2]),
    "svd": lambda m, a: m.linalg.svd(a),
    "eigh": lambda m, a: m.linalg.eigh(a[:, :2] + a[:, :2].T),
    "qr": lambda m, a: m.linalg.qr(a),
    "lstsq": lambda m, a: m.linalg.lstsq(a.T, a.T[:, :1]),
    "var_mean": lambda m, a: m.var_mean(a, 1),
    "std_mean": lambda m, a: m.std_mean(a),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_results(name: str) -> None:
    ours, theirs = both(lambda m: NAMED[name](m, m.tensor(A, dtype=m.float64)))
    assert type(ours).__name__ == type(theirs).__name__
    assert len(ours) == len(theirs)
    fields = [f for f in dir(theirs) if not f.startswith("_") and f not in ("count", "index", "n_fields")]
    for f in fields:
        if f.startswith("n_") and isinstance(getattr(theirs, f), int):
            assert getattr(ours, f) == getattr(theirs, f)
    if type(theirs) is tuple:
        assert type(ours) is tuple
        return
    names = [line.split("=")[0] for line in repr(theirs).split("\n") if "=" in line and not line.startswith(" ")]
    for i, f in enumerate(names):
        assert getattr(ours, f) is ours[i]
    if name not in ("svd", "eigh", "qr", "lstsq"):  # signs, and last digits
        assert repr(ours) == repr(theirs)
    assert isinstance(ours, tuple)
    first, *_ = ours
    assert first is ours[0]
    assert type(copy.copy(ours)) is type(ours)
    assert type(pickle.loads(pickle.dumps(ours))) is type(ours)
    assert getattr(unspool.return_types, type(ours).__name__) is type(ours)
