"""How modules are called: natively, with Linear and ReLU in a Sequential as one operation, and what must not show.

"One by one" is the same children called by hand: two operations, no fusion. What is computed must be equal to the bit.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn
from unspool.func import functional_call, jvp
from unspool.nn.modules.module import register_module_forward_hook
from unspool.nn.utils import parametrize

SHAPES = [(10, 7), (1, 7), (0, 7), (7,), (2, 3, 7), (130, 7)]


def network(width: int = 70, *, inplace: bool = False, bias: bool = True, dtype: Any = unspool.float32) -> Any:
    unspool.manual_seed(1)
    return nn.Sequential(
        nn.Linear(7, width, bias=bias, dtype=dtype),
        nn.ReLU(inplace),
        nn.Linear(width, 9, bias=bias, dtype=dtype),
        nn.ReLU(),
    )


def one_by_one(net: Any, x: Any) -> Any:
    for child in net:
        x = child(x)
    return x


def data(shape: tuple[int, ...], dtype: Any = unspool.float32) -> Any:
    unspool.manual_seed(2)
    return unspool.randn(shape, dtype=dtype, requires_grad=True)


def results(net: Any, x: Any, run: Callable[[Any, Any], Any]) -> list[Any]:
    """The output and all gradients."""
    y = run(net, x)
    weights = unspool.linspace(-1, 2, max(y.numel(), 1), dtype=y.dtype)[: y.numel()].reshape(y.shape)
    wrt = [x, *net.parameters()]
    return [y.detach(), *unspool.autograd.grad((y * weights).sum(), wrt)]


def call(net: Any, x: Any) -> Any:
    return net(x)


def names(node: Any) -> Any:
    """The graph below a node, as nested names."""
    return [node.name(), *(None if n is None else names(n) for n, _ in node.next_functions)]


# --- one operation, the same bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [unspool.float32, unspool.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_bits_are_those_of_one_by_one(shape: tuple[int, ...], dtype: Any, bias: bool) -> None:
    for inplace in (False, True):
        net, x = network(inplace=inplace, bias=bias, dtype=dtype), data(shape, dtype)
        for a, b in zip(results(net, x, call), results(net, x, one_by_one), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_against_formulas() -> None:
    net, x = network(dtype=unspool.float64), data((10, 7), unspool.float64)
    w1, b1, w2, b2 = (p.detach().numpy() for p in net.parameters())
    h = x.detach().numpy() @ w1.T + b1
    z = np.maximum(h, 0) @ w2.T + b2
    g2 = np.linspace(-1, 2, z.size).reshape(z.shape) * (z > 0)
    g1 = (g2 @ w2) * (h > 0)
    expected = [np.maximum(z, 0), g1 @ w1, g1.T @ x.detach().numpy(), g1.sum(0), g2.T @ np.maximum(h, 0), g2.sum(0)]
    for a, b in zip(results(net, x, call), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-12)


def test_linear_and_relu_leave_one_node() -> None:
    net, x = network(), data((10, 7))
    live = []
    for run in (call, one_by_one):
        before = unspool.memory_stats()["live_bytes"]
        y = run(net, x)
        live.append(unspool.memory_stats()["live_bytes"] - before)
        del y
    assert live[0] < live[1]


def test_gradients_of_chosen_parameters_alone() -> None:
    for frozen in range(4):
        net, x = network(), data((10, 7)).detach()
        list(net.parameters())[frozen].requires_grad_(False)
        for run in (call, one_by_one):
            run(net, x).sum().backward()
            got = [None if p.grad is None else p.grad.numpy().copy() for p in net.parameters()]
            net.zero_grad()
            if run is call:
                first = got
        assert [g is None for g in first] == [i == frozen for i in range(4)]
        for a, b in zip(first, got, strict=True):
            np.testing.assert_array_equal(a, b)


def test_second_derivatives_and_tangents() -> None:
    net, x = network(dtype=unspool.float64), data((4, 7), unspool.float64)
    found = []
    for run in (call, one_by_one):
        y = (run(net, x) ** 2).sum()
        (g,) = unspool.autograd.grad(y, x, create_graph=True)
        second = unspool.autograd.grad((g**2).sum(), [x, *net.parameters()], allow_unused=True)
        tangent = jvp(lambda t, run=run: run(net, t), (x.detach(),), (unspool.ones_like(x),))[1]
        found.append([g.detach(), tangent.detach(), *(s for s in second if s is not None)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-12)
    step = 1e-6  # a central difference of the first gradients' squared norm

    def norm(t: Any) -> float:
        t = t.detach().requires_grad_()
        return float((unspool.autograd.grad((net(t) ** 2).sum(), t)[0] ** 2).sum())

    shift = unspool.zeros_like(x)
    shift[1, 2] = step
    slope = (norm(x.detach() + shift) - norm(x.detach() - shift)) / (2 * step)
    assert float(found[0][2][1, 2]) == pytest.approx(slope, rel=1e-6)


# --- what a program can look at -------------------------------------------------------------------------------


def test_the_graph_shows_both_operations() -> None:
    net, x = network(), data((3, 7))
    assert net(x).grad_fn.name() == "ReluBackward0"
    assert names(net(x).grad_fn) == names(one_by_one(net, x).grad_fn)
    y = net(x)
    assert names(y.grad_fn) == names(y.grad_fn), "a second look sees the same"


@pytest.mark.parametrize("look", ["before", "between", "during"])
def test_gradients_after_a_look_at_the_graph(look: str) -> None:
    net, x = network(), data((5, 7))
    expected = results(net, x, call)[1:]
    y = net(x)
    weights = unspool.linspace(-1, 2, y.numel()).reshape(y.shape)
    loss = (y * weights).sum()
    if look == "before":
        names(y.grad_fn)
    if look == "during":
        y.register_hook(lambda _: names(y.grad_fn) and None)
    if look == "between":
        loss.backward(retain_graph=True)
        names(y.grad_fn)
        net.zero_grad()
        x.grad = None
    loss.backward()
    for a, p in zip(expected, [x, *net.parameters()], strict=True):
        np.testing.assert_array_equal(a.numpy(), p.grad.numpy())
    names(y.grad_fn)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_hook_on_the_inner_node_sees_the_gradient_between() -> None:
    net, x = network(), data((5, 7))
    seen = []
    for run in (call, one_by_one):
        y = run(net, x)
        inner = y.grad_fn.next_functions[0][0]
        assert inner.name() == "AddmmBackward0"
        inner.register_prehook(lambda g: seen.append(g[0].numpy().copy()))
        y.grad_fn.register_hook(lambda gx, g: seen.append(gx[0].numpy().copy()))
        y.sum().backward()
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], seen[3])


def test_an_overwritten_weight_is_reported_with_the_layer_and_both_lines() -> None:
    net, x = network(), data((5, 7))
    y = net(x)
    with unspool.no_grad():
        net[2].weight.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"linear: .*that linear at .*test_module_calls\.py:\d+ .*mul_ at .*:\d+"):
        y.sum().backward()


def test_hooks_see_what_lies_between() -> None:
    net, x = network(), data((5, 7))
    for child in (net[0], net[1]):
        seen: list[Any] = []
        handle = child.register_forward_hook(lambda m, a, y, seen=seen: seen.append((m, y)))
        y = net(x)
        handle.remove()
        assert [m for m, _ in seen] == [child]
        assert (float(seen[0][1].min()) < 0) == (child is net[0])
        np.testing.assert_array_equal(y.detach().numpy(), net(x).detach().numpy())
    handle = net[1].register_forward_pre_hook(lambda m, a: (a[0] * 0,))
    np.testing.assert_array_equal(net(x).detach().numpy(), net[3](net[2](unspool.zeros(5, 70))).detach().numpy())
    handle.remove()


def test_a_hook_of_all_modules_sees_each() -> None:
    net, x = network(), data((5, 7))
    seen: list[Any] = []
    with register_module_forward_hook(lambda m, a, y: seen.append(m)):
        net(x)
    net(x)
    assert seen == [*net, net]


class Doubled(nn.Linear):
    def forward(self, input: Any) -> Any:
        return 2 * super().forward(input)


class Told(nn.ReLU):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs) + 1


def test_subclasses_run_their_own_code() -> None:
    x = data((3, 7))
    net = nn.Sequential(Doubled(7, 5), nn.ReLU(), nn.Linear(5, 4), Told())
    h = (2 * nn.functional.linear(x, net[0].weight, net[0].bias)).relu()
    expected = nn.functional.linear(h, net[2].weight, net[2].bias).relu() + 1
    np.testing.assert_array_equal(net(x).detach().numpy(), expected.detach().numpy())


def test_what_is_replaced_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), data((3, 7))
    net[1].forward = lambda input: input * 0
    expected = net[3](net[2](unspool.zeros(3, 70)))
    np.testing.assert_array_equal(net(x).detach().numpy(), expected.detach().numpy())
    del net[1].forward
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, input: input - input)
    assert not net(x).any()
    monkeypatch.undo()
    calls: list[Any] = []
    plain = nn.Module.__call__

    def counted(self: Any, *args: Any) -> Any:
        calls.append(self)
        return plain(self, *args)

    monkeypatch.setattr(nn.Module, "__call__", counted)
    net(x)
    assert calls == [net, *net]
    monkeypatch.undo()
    assert net(x).any()


class Twice(nn.Module):
    def forward(self, w: Any) -> Any:
        return w * 2


def test_parametrized_and_functional_calls() -> None:
    net, x = network(), data((3, 7))
    w = net[0].weight.detach().clone()
    other = {"0.weight": w * 2}
    expected = functional_call(net, other, (x,)).detach().numpy()
    parametrize.register_parametrization(net[0], "weight", Twice())
    np.testing.assert_array_equal(net(x).detach().numpy(), expected)


def test_copies_and_pickles_are_called_alike() -> None:
    net, x = network(), data((3, 7))
    y = net(x).detach().numpy()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net[:]):
        other.eval()
        np.testing.assert_array_equal(other(x).detach().numpy(), y)
        np.testing.assert_array_equal(other.train()(x).detach().numpy(), y)
    with unspool.no_grad():
        assert net(x).grad_fn is None
    assert net.double()(x.double()).dtype is unspool.float64


def test_anomaly_mode_names_the_layer() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with unspool.no_grad():
        net[0].weight.fill_(float("inf"))
    x = unspool.ones(1, 1, requires_grad=True)
    with pytest.raises(RuntimeError, match="AddmmBackward0"), unspool.autograd.detect_anomaly():
        (net(x) * 0).sum().backward()


# --- arguments and errors ---------------------------------------------------------------------------------------


def test_arguments_by_name() -> None:
    net, x = network(), data((3, 7))
    for m in (net, net[0], net[1]):
        np.testing.assert_array_equal(
            m(input=net[0](x) if m is net[1] else x).shape, m(net[0](x) if m is net[1] else x).shape
        )


@pytest.mark.parametrize(
    ("make", "args", "error", "text"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3)), (), TypeError, "input"),
        (lambda: nn.Linear(3, 3), (unspool.ones(2, 3), 1), TypeError, "positional"),
        (lambda: nn.Linear(3, 3), ("x",), TypeError, "input"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (unspool.ones(2, 4),), unspool.errors.ShapeError, "linear"),
        (lambda: nn.MSELoss(), (unspool.ones(2),), TypeError, "target"),
        (lambda: nn.Module(), (unspool.ones(2),), NotImplementedError, "forward"),
    ],
)
def test_errors_of_calls(make: Any, args: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make()(*args)


def test_a_sequential_that_cannot_run() -> None:
    net = nn.Sequential(nn.ReLU())
    net.append(net)
    with pytest.raises(RecursionError):
        net(unspool.ones(1))

    class Grows(nn.Module):
        def forward(self, x: Any) -> Any:
            growing.append(nn.ReLU())
            return x

    growing = nn.Sequential(Grows(), nn.ReLU())
    with pytest.raises(RuntimeError, match="changed"):
        growing(unspool.ones(1))


# --- optimizers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_step_reads_each_group(name: str) -> None:
    a, b = (nn.Parameter(unspool.ones(3)) for _ in range(2))
    optimizer = getattr(unspool.optim, name)([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.0}], lr=1.0)
    for p in (a, b):
        p.grad = unspool.ones(3)
    optimizer.step()
    assert float(a.detach()[0]) == pytest.approx(0.5)
    assert float(b.detach()[0]) == 1.0
    optimizer.param_groups[1]["lr"] = np.float32(0.25)
    optimizer.step()
    assert float(b.detach()[0]) < 1.0
    del optimizer.param_groups[1]["lr"]
    before = b.detach().clone()
    with pytest.raises(KeyError, match="lr"):
        optimizer.step()
    assert (b == before).all()
    optimizer.zero_grad()
    assert a.grad is None
    assert b.grad is None
