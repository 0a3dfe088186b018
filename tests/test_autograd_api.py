"""`autograd`, `autograd.functional` and `func`: the values of PyTorch, the modes, and typed refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for values and types of errors")


def _numbers(value: Any) -> Any:
    if isinstance(value, (unspool.Tensor, torch.Tensor)):
        return np.asarray(value.detach().numpy()).copy()
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(v) for v in value]
    return value


def _close(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            _close(a[k], b[k])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for u, v in zip(a, b, strict=True):
            _close(u, v)
    else:
        assert a == b


def _x(t: Any, n: int = 3, seed: int = 0) -> Any:
    return t.tensor(np.random.default_rng(seed).standard_normal(n), dtype=t.float64)


_VALUES: list[tuple[str, Any]] = [
    ("functional.vjp", lambda t: t.autograd.functional.vjp(lambda x: x * x.sum(), _x(t), _x(t, seed=1))),
    ("functional.jvp", lambda t: t.autograd.functional.jvp(lambda x: x * x.sum(), _x(t), _x(t, seed=1))),
    (
        "functional.jvp of two",
        lambda t: t.autograd.functional.jvp(
            lambda x, y: (x * y, x.exp()), (_x(t), _x(t, seed=1)), (_x(t, seed=2), _x(t, seed=3))
        ),
    ),
    (
        "functional.jvp with graph",
        lambda t: t.autograd.functional.jvp(lambda x: x * x.sum(), _x(t), _x(t, seed=1), create_graph=True),
    ),
    ("jacobian", lambda t: t.autograd.functional.jacobian(lambda x: x.exp() * x.sum(), _x(t))),
    (
        "jacobian of two",
        lambda t: t.autograd.functional.jacobian(lambda x, y: (x * y, y.sum()), (_x(t), _x(t, seed=1))),
    ),
    ("hessian", lambda t: t.autograd.functional.hessian(lambda x: (x * x * x).sum() * x.sum(), _x(t))),
    ("hessian of two", lambda t: t.autograd.functional.hessian(lambda x, y: (x * x * y).sum(), (_x(t), _x(t, seed=1)))),
    ("func.grad", lambda t: t.func.grad(lambda x: (x * x.exp()).sum())(_x(t))),
    ("func.grad twice", lambda t: t.func.grad(lambda x: t.func.grad(lambda y: (y**3).sum())(x).sum())(_x(t))),
    (
        "func.grad of an inner gradient",
        lambda t: t.func.grad(lambda w: t.func.grad(lambda x: (x * x * w).sum())(_x(t)).sum())(_x(t, seed=1)),
    ),
    ("func.grad of two", lambda t: t.func.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(_x(t), _x(t, seed=1))),
    ("func.grad by the last", lambda t: t.func.grad(lambda x, y: (x * y).sum(), argnums=-1)(_x(t), _x(t, seed=1))),
    (
        "func.grad of a dict",
        lambda t: t.func.grad(lambda p: (p["a"] * p["b"][0]).sum())({"a": _x(t), "b": [_x(t, seed=1)]}),
    ),
    ("grad_and_value", lambda t: t.func.grad_and_value(lambda x: ((x * x).sum(), x), has_aux=True)(_x(t))),
    ("func.vjp", lambda t: _pulled(t)),
    ("func.jvp", lambda t: t.func.jvp(lambda x: (x * x.sum(), x.exp()), (_x(t),), (_x(t, seed=1),))),
    (
        "func.jvp of two",
        lambda t: t.func.jvp(lambda x, y: x * y, (_x(t), _x(t, seed=1)), (_x(t, seed=2), _x(t, seed=3))),
    ),
    ("grad materialized", lambda t: _materialized(t)),
    ("jacrev", lambda t: t.func.jacrev(lambda x: x.exp() * x.sum())(_x(t))),
    ("jacrev of two", lambda t: t.func.jacrev(lambda x, y: (x * y, {"a": y.sum()}), (0, 1))(_x(t), _x(t, seed=1))),
    ("jacrev of a dict", lambda t: t.func.jacrev(lambda p: p["a"] * p["b"].sum())({"a": _x(t), "b": _x(t, 2)})),
    ("jacrev by the last", lambda t: t.func.jacrev(lambda x, y: (x * y, x), -1, has_aux=True)(_x(t), _x(t, seed=1))),
    ("jacrev of nothing", lambda t: t.func.jacrev(lambda x: x[:0])(_x(t))),
    ("jacfwd", lambda t: t.func.jacfwd(lambda x: x.exp() * x.sum())(_x(t))),
    ("jacfwd of two", lambda t: t.func.jacfwd(lambda x, y: (x * y, y.sum()), (0, 1))(_x(t), _x(t, seed=1))),
    ("jacfwd with aux", lambda t: t.func.jacfwd(lambda x: (x * x, x), has_aux=True)(_x(t))),
    ("hessian of a product", lambda t: t.func.hessian(lambda x: x.prod())(_x(t))),
    ("hessian by two", lambda t: t.func.hessian(lambda x, y: (x * x * y).sum(), (0, 1))(_x(t), _x(t, seed=1))),
    ("jacfwd of jacfwd", lambda t: t.func.jacfwd(t.func.jacfwd(lambda x: (x**3).sum()))(_x(t))),
    ("vmap", lambda t: t.vmap(lambda x, y: x @ y)(_x(t, 12).reshape(3, 4), _x(t, 12, 1).reshape(3, 4))),
    ("vmap over columns", lambda t: t.vmap(lambda x: (x.sum(), x * 2), -1, (0, 1))(_x(t, 12).reshape(3, 4))),
    ("vmap with one for all", lambda t: t.func.vmap(lambda x, y: x * y, (0, None))(_x(t), _x(t, 2))),
    (
        "vmap of a dict",
        lambda t: t.vmap(lambda p, k=None: {"out": p["a"] * k}, ({"a": 0, "b": None},))(
            {"a": _x(t), "b": _x(t, 2)}, k=_x(t, seed=1)
        ),
    ),
    ("vmap nested", lambda t: t.vmap(t.vmap(lambda x, y: x * y, (None, 0)), (0, None))(_x(t), _x(t, 2))),
    ("vmap of a gradient", lambda t: t.vmap(t.func.grad(lambda x: x**3))(_x(t))),
    ("vmap of a hessian", lambda t: t.vmap(t.func.hessian(lambda x: x.prod()))(_x(t, 6).reshape(2, 3))),
    ("gradient of a vmap", lambda t: t.func.grad(lambda x: t.vmap(lambda v: v**3)(x).sum())(_x(t))),
    ("gradients of each sample", lambda t: _of_each_sample(t)),
    ("an ensemble", lambda t: _ensemble(t)),
]


def _of_each_sample(t: Any) -> Any:
    weights = {"weight": _x(t, 6).reshape(2, 3), "bias": _x(t, 2, 1)}
    layer = t.nn.Linear(3, 2).double()

    def loss(weights: Any, x: Any) -> Any:
        return (t.func.functional_call(layer, weights, (x,)) ** 2).sum()

    return t.func.vmap(t.func.grad(loss), in_dims=(None, 0))(weights, _x(t, 12, 2).reshape(4, 3))


def _ensemble(t: Any) -> Any:
    layers = [t.nn.BatchNorm1d(3).double().eval() for _ in range(4)]
    for i, layer in enumerate(layers):
        layer.weight.data.fill_(i)
    params, buffers = t.func.stack_module_state(layers)
    assert all(p.requires_grad and p.is_leaf for p in params.values())

    def call(params: Any, buffers: Any, x: Any) -> Any:
        return t.func.functional_call(layers[0], (params, buffers), (x,))

    return params, buffers, t.vmap(call, (0, 0, None))(params, buffers, _x(t, 6).reshape(2, 3))


def _pulled(t: Any) -> Any:
    out, pull = t.func.vjp(lambda x, y: x * y.sum(), _x(t), _x(t, seed=1))
    return out, pull(_x(t, seed=2))


def _materialized(t: Any) -> Any:
    x, y = _x(t).requires_grad_(), _x(t, seed=1).requires_grad_()
    return t.autograd.grad((x * 2).sum(), [x, y], materialize_grads=True)


@pytest.mark.filterwarnings("ignore:.*torch.*:DeprecationWarning")  # PyTorch's own, from inside its jvp
@pytest.mark.parametrize(("name", "call"), _VALUES, ids=[name for name, _ in _VALUES])
def test_values(name: str, call: Any) -> None:
    _close(_numbers(call(unspool)), _numbers(call(torch)))


def test_results_outside_of_any_graph_are_detached() -> None:
    g, value = unspool.func.grad_and_value(lambda x: (x * x).sum())(unspool.ones(2))
    assert not g.requires_grad
    assert not value.requires_grad
    x = unspool.ones(2, requires_grad=True)
    unspool.func.grad(lambda y: (y**3).sum())(x).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    out, tangent = unspool.func.jvp(unspool.cos, (unspool.ones(2),), (unspool.ones(2),))
    assert not out.requires_grad
    assert not tangent.requires_grad


def test_vmap_of_random_functions() -> None:
    x = unspool.zeros(3)
    with pytest.raises(RuntimeError, match="random operation"):
        unspool.vmap(lambda v: v + unspool.rand(()))(x)
    same = unspool.vmap(lambda v: v + unspool.rand(()), randomness="same")(x).tolist()
    different = unspool.vmap(lambda v: v + unspool.rand(()), randomness="different")(x).tolist()
    assert len(set(same)) == 1
    assert len(set(different)) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.vmap(lambda x, y: x)(t.ones(2), t.ones(3)),
        lambda t: t.vmap(lambda x: x, in_dims=None)(t.ones(2)),
        lambda t: t.vmap(lambda x: x, in_dims=2)(t.ones(2)),
        lambda t: t.vmap(lambda x: x, in_dims=(0, 0))(t.ones(2)),
        lambda t: t.vmap(lambda x: 3.0)(t.ones(2)),
        lambda t: t.vmap(lambda x: x)(3.0),
        lambda t: t.vmap(lambda x: x, randomness="some")(t.ones(2)),
        lambda t: t.func.jacrev(lambda x: x, argnums=1)(t.ones(2)),
        lambda t: t.func.jacfwd(lambda x: x, argnums=1)(t.ones(2)),
        lambda t: t.func.stack_module_state([]),
        lambda t: t.func.stack_module_state([t.nn.Linear(1, 1), t.nn.ReLU()]),
        lambda t: t.func.stack_module_state([t.nn.ReLU(), t.nn.ReLU().eval()]),
    ],
)
def test_transforms_refuse_what_pytorch_refuses(call: Any) -> None:
    with pytest.raises((ValueError, RuntimeError, IndexError)) as theirs:
        call(torch)
    with pytest.raises(theirs.type):
        call(unspool)


def test_grad_and_backward_functions() -> None:
    for t in (unspool, torch):
        x = t.ones(2, requires_grad=True)
        y = t.ones(2, requires_grad=True)
        (g,) = t.autograd.grad((x * x * y).sum(), x, create_graph=True)
        assert g.tolist() == [2.0, 2.0]
        assert x.grad is None
        (h,) = t.autograd.grad(g.sum(), [y])
        assert h.tolist() == [2.0, 2.0]
        assert t.autograd.grad((x * 2).sum(), (x, y), allow_unused=True)[1] is None
        t.autograd.backward([(x * 3).sum(), x * 2], [None, t.ones(2)])
        assert x.grad.tolist() == [5.0, 5.0]
        t.autograd.backward((x * y).sum(), inputs=[y])
        assert x.grad.tolist() == [5.0, 5.0]
        assert y.grad.tolist() == [1.0, 1.0]


_BAD: list[tuple[str, Any]] = [
    ("no graph", lambda t, x: t.autograd.grad(t.ones(()), x)),
    ("input without grad", lambda t, x: t.autograd.grad((x * 2).sum(), t.ones(2))),
    ("not a scalar", lambda t, x: t.autograd.grad(x * 2, x)),
    ("unused", lambda t, x: t.autograd.grad((x * 2).sum(), t.ones(2, requires_grad=True))),
    ("shape of the weight", lambda t, x: t.autograd.grad(x * 2, x, t.ones(3))),
    ("too many weights", lambda t, x: t.autograd.grad(x * 2, x, [t.ones(2), t.ones(2)])),
    ("a number", lambda t, x: t.autograd.grad(x * 2, x, 3)),
    ("backward without graph", lambda t, x: t.autograd.backward(t.ones(()))),
    ("backward of no scalar", lambda t, x: t.autograd.backward(x * 2)),
    ("backward to nothing", lambda t, x: t.autograd.backward((x * 2).sum(), inputs=[])),
    ("grad of no scalar", lambda t, x: t.func.grad(lambda y: y * 2)(x)),
    ("argnums", lambda t, x: t.func.grad(lambda y: y.sum(), argnums=3)(x)),
    ("aux", lambda t, x: t.func.grad(lambda y: y.sum(), has_aux=True)(x)),
    ("shape of a tangent", lambda t, x: t.autograd.functional.jvp(lambda y: y * 2, x, t.ones(3))),
    ("no tangent", lambda t, x: t.autograd.functional.jvp(lambda y: y * 2, x)),
    ("no cotangent", lambda t, x: t.autograd.functional.vjp(lambda y: y * 2, x)),
    ("hessian of a vector", lambda t, x: t.autograd.functional.hessian(lambda y: y * 2, x)),
]


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    expected: type[BaseException] = RuntimeError
    if name != "too many weights":  # PyTorch ignores those
        with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
            call(torch, torch.ones(2, requires_grad=True))
        expected = reference.type
    x = unspool.ones(2, requires_grad=True)
    with pytest.raises(expected) as caught:
        call(unspool, x)
    assert str(caught.value)
    assert x.grad is None


def test_modes_as_managers_and_decorators() -> None:
    for t in (unspool, torch):

        @t.no_grad()
        def silent(t: Any = t) -> bool:
            return bool(t.is_grad_enabled())

        @t.no_grad
        def bare(t: Any = t) -> bool:
            return bool(t.is_grad_enabled())

        @t.enable_grad()
        def loud(t: Any = t) -> bool:
            return bool(t.is_grad_enabled())

        assert not silent()
        assert not bare()
        assert silent.__name__ == "silent"
        with t.no_grad():
            assert loud()
            assert not t.is_grad_enabled()
            with t.set_grad_enabled(True):
                assert t.is_grad_enabled()
            assert not t.is_grad_enabled()
        with t.inference_mode(False):
            assert t.is_grad_enabled()
        with t.inference_mode():
            assert not t.is_grad_enabled()
        t.set_grad_enabled(False)
        assert not t.is_grad_enabled()
        t.set_grad_enabled(True)
        with pytest.raises(KeyError), t.no_grad():
            raise KeyError
        assert t.is_grad_enabled()


def test_decorated_generators_hand_the_mode_back_at_each_yield() -> None:
    for t in (unspool, torch):
        log: list[Any] = []

        @t.no_grad()
        def steps(t: Any = t, log: list[Any] = log) -> Any:
            try:
                log.append(t.is_grad_enabled())
                sent = yield 1
                log.append((sent, t.is_grad_enabled()))
                try:
                    yield 2
                except KeyError:
                    log.append(("caught", t.is_grad_enabled()))
                yield 3
            finally:
                log.append(("closed", t.is_grad_enabled()))

        it = steps()
        assert next(it) == 1
        assert t.is_grad_enabled()
        assert it.send("hello") == 2
        assert t.is_grad_enabled()
        assert it.throw(KeyError("x")) == 3
        it.close()
        assert t.is_grad_enabled()
        assert log == [False, ("hello", False), ("caught", False), ("closed", False)]
        assert list(steps()) == [1, 2, 3]


def test_functional_call_puts_the_parameters_back() -> None:
    for t in (unspool, torch):
        m = t.nn.Sequential(t.nn.Linear(2, 1, bias=False))
        own = m[0].weight
        w = t.tensor([[1.0, 2.0]])
        x = t.tensor([[3.0, 4.0]])
        assert t.func.functional_call(m, {"0.weight": w}, (x,)).tolist() == [[11.0]]
        assert m[0].weight is own
        g = t.func.grad(lambda p, m=m, x=x, t=t: t.func.functional_call(m, p, (x,)).sum())({"0.weight": w})
        assert g["0.weight"].tolist() == [[3.0, 4.0]]
        with pytest.raises(RuntimeError):
            t.func.functional_call(m, {"0.weight": w, "x": w}, (x,), strict=True)
        assert m[0].weight is own


def test_functional_call_keeps_ties() -> None:
    for t in (unspool, torch):
        m = t.nn.Sequential(t.nn.Linear(2, 2, bias=False), t.nn.Linear(2, 2, bias=False))
        m[1].weight = m[0].weight
        out = t.func.functional_call(m, {"0.weight": 2 * t.eye(2)}, (t.ones(1, 2),))
        assert out.tolist() == [[4.0, 4.0]]
