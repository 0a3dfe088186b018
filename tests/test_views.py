"""Views, writes in place, and the rules of backward, beside PyTorch.

Each program of PROGRAMS runs with both libraries: equal values and gradients, or an error from both. MORE lists what
PyTorch refuses and unspool computes; the gradient is given there.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import unspool

VECTOR = [1.0, 2.0, 3.0]
MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def leaf(m: Any, data: Any = MATRIX) -> Any:
    return m.tensor(data, dtype=m.float64, requires_grad=True)


def outcome(m: Any, program: Callable[..., Any], data: Any) -> Any:
    """The leaf's gradient and what the program returned; or the exception."""
    x = leaf(m, data)
    try:
        result = program(m, x)
    except Exception as error:
        return error
    return (None if x.grad is None else x.grad.tolist()), result


# ---- Storage and version counters ----------------------------------------------------------------

VIEW_OPS: dict[str, Callable[[Any], Any]] = {
    "view": lambda x: x.view(3, 2),
    "reshape": lambda x: x.reshape(6),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.transpose(0, 1),
    "t": lambda x: x.t(),
    "T": lambda x: x.T,
    "permute": lambda x: x.permute(1, 0),
    "expand": lambda x: x.expand(2, 2, 3),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "select": lambda x: x.select(0, 1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "index": lambda x: x[1],
    "slice": lambda x: x[:, 1:],
    "step": lambda x: x[:, ::2],
    "ellipsis": lambda x: x[..., 0],
    "none": lambda x: x[None],
    "detach": lambda x: x.detach(),
    "contiguous": lambda x: x.contiguous(),
    "view_as": lambda x: x.view_as(x),
    "expand_as": lambda x: x.expand_as(x),
}
COPY_OPS: dict[str, Callable[[Any], Any]] = {
    "clone": lambda x: x.clone(),
    "reshape of a transpose": lambda x: x.t().reshape(6),
    "contiguous of a transpose": lambda x: x.t().contiguous(),
    "add": lambda x: x + 0,
    "double": lambda x: x.double(),
}


@pytest.mark.parametrize("name", VIEW_OPS)
def test_a_view_shares_storage_and_counter(torch: ModuleType, name: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        v = VIEW_OPS[name](x)
        offset = (v.data_ptr() - x.data_ptr()) // x.element_size()
        x.mul_(2)
        values = v.tolist()
        x.data.add_(1)
        x[0, 0] = 5
        seen.append((offset, v._version, x._version, values, tuple(v.stride()), v.storage_offset(), v.is_contiguous()))
    assert seen[0] == seen[1]
    assert seen[0][1] == seen[0][2] == 2


@pytest.mark.parametrize("name", COPY_OPS)
def test_a_copy_has_its_own(torch: ModuleType, name: str) -> None:
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        v = COPY_OPS[name](x)
        before = v.tolist()
        x.zero_()
        assert v.data_ptr() != x.data_ptr()
        assert (v.tolist(), v._version, x._version) == (before, 0, 1)


WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "add_": lambda m, x: x.add_(1),
    "+=": lambda m, x: x.__iadd__(1),
    "mul_": lambda m, x: x.mul_(2),
    "zero_": lambda m, x: x.zero_(),
    "fill_": lambda m, x: x.fill_(3),
    "copy_": lambda m, x: x.copy_(m.zeros(3)),
    "setitem": lambda m, x: x.__setitem__(0, 7.0),
    "setitem slice": lambda m, x: x.__setitem__((slice(None), slice(0, 2)), m.zeros(2)),
    "exp_": lambda m, x: x.exp_(),
    "clamp_": lambda m, x: x.clamp_(2, 3),
    "uniform_": lambda m, x: x.uniform_(),
    "detach then write": lambda m, x: x.detach().add_(1),
    "data then write": lambda m, x: x.data.add_(1),
    "add": lambda m, x: x.add(1),
    "two writes": lambda m, x: x.add_(1).mul_(2),
    "write of nothing": lambda m, x: x[:0].add_(1),
}


@pytest.mark.parametrize("name", WRITES)
def test_version_counters(torch: ModuleType, name: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        WRITES[name](m, x)
        row = x[1]
        row.sub_(1)
        seen.append((x._version, row._version, x.detach()._version, x.data._version))
    assert seen[0] == seen[1]


def test_base(torch: ModuleType) -> None:
    for m in (unspool, torch):
        x = leaf(m)
        y = x * 1
        assert y[0]._base is y
        assert y[0][1:]._base is y  # of a view of a view: the first base
        assert y._base is None
        assert y.detach()._base is None


# ---- Programs ------------------------------------------------------------------------------------


def write_first(m: Any, x: Any) -> Any:
    y = x * 2
    y[0] = 0
    y.sum().backward()


def write_tensor(m: Any, x: Any) -> Any:
    y = x * 2
    y[0] = x[1] * 3
    (y * y).sum().backward()


def write_through_transposed_row(m: Any, x: Any) -> Any:
    y = x * 2
    y.t()[0].mul_(3)
    (y * y).sum().backward()
    return y.tolist()


def write_through_chain(m: Any, x: Any) -> Any:
    y = x * 2
    v = y.view(6)[1:5].view(2, 2).t()
    v.mul_(x[:, :2])
    w = v.sum()
    (y.exp() * 1e-3).sum().backward(retain_graph=True)
    w.backward()
    return v.tolist()


def view_then_base_written(m: Any, x: Any) -> Any:
    y = x * 2
    v = y[0]
    y.mul_(x)
    v.sum().backward()


def base_written_then_view_used_twice(m: Any, x: Any) -> Any:
    y = x * 2
    v, w = y[0], y.t()
    y.add_(x * x)
    v.mul_(4)
    ((w * w).sum() + v.sum()).backward()
    return w.tolist()


def two_views_overlap(m: Any, x: Any) -> Any:
    y = x * 2
    a, b = y[:, :2], y[:, 1:]
    a.mul_(3)
    b.mul_(x[:, :2])
    a.add_(1)
    (y * y).sum().backward()
    return y.tolist(), a.tolist(), b.tolist()


def view_of_plain_tensor_gets_history(m: Any, x: Any) -> Any:
    y = m.zeros(2, 3, dtype=m.float64)
    v = y[0]
    y.add_(x)
    (x[1] * v).sum().backward()
    return v.requires_grad, y.requires_grad


def write_into_plain_tensor(m: Any, x: Any) -> Any:
    y = m.zeros(4, dtype=m.float64)
    y[1:] = x[0]
    y[0] = x.sum()
    (y * y).sum().backward()
    return y.is_leaf, y.requires_grad


def fill_with_a_tensor(m: Any, x: Any) -> Any:
    y = x * 1
    y[0].fill_(x[1, 1])
    (y * y).sum().backward()


def write_own_square(m: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(y.clone())
    y.sum().backward()


def in_place_chain(m: Any, x: Any) -> Any:
    y = x * 0.5
    y.exp_().add_(1).sqrt_().mul_(x).clamp_(0, 9).sigmoid_()
    y.sum().backward()
    return y.tolist()


def every_write(m: Any, x: Any) -> Any:
    y = x / 8
    for name in ("neg_", "abs_", "exp_", "log_", "sqrt_", "reciprocal_", "tanh_", "sigmoid_", "sign_"):
        z = y * 1
        getattr(z[:, 1:], name)()
        z.sum().backward(retain_graph=True)


def saved_output_overwritten(m: Any, x: Any) -> Any:
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def saved_output_overwritten_through_view(m: Any, x: Any) -> Any:
    y = x.exp()
    y[0].zero_()
    y.sum().backward()


def saved_output_overwritten_through_detach(m: Any, x: Any) -> Any:
    y = x.exp()
    y.detach().zero_()
    y.sum().backward()


def saved_output_overwritten_through_data(m: Any, x: Any) -> Any:
    y = x.exp()
    y.data.zero_()
    y.sum().backward()


def saved_input_overwritten(m: Any, x: Any) -> Any:
    y = x * 2
    z = y * y
    y.zero_()
    z.sum().backward()


def saved_factor_overwritten(m: Any, x: Any) -> Any:
    w = m.ones(3, dtype=m.float64)
    z = x * w
    w.add_(1)
    z.sum().backward()


def unsaved_factor_overwritten(m: Any, x: Any) -> Any:
    w = m.ones(3, dtype=m.float64)
    z = x + w
    w.add_(1)
    z.sum().backward()


def factor_of_no_gradient(m: Any, x: Any) -> Any:
    w = m.ones(3, dtype=m.float64)
    y = x * 1
    z = y * w  # reads w for y's gradient, y for nobody's
    y.zero_()
    z.sum().backward()


def matmul_operand_overwritten(m: Any, x: Any) -> Any:
    w = m.ones(3, 2, dtype=m.float64)
    z = x @ w
    w.zero_()
    z.sum().backward()


def parameter_updated_after_forward(m: Any, x: Any) -> Any:
    y = (x * x).sum()
    with m.no_grad():
        x.sub_(1)
    y.backward()


def quotient_overwritten(m: Any, x: Any) -> Any:
    y = (x * 2) / (x + 1)
    y.zero_()
    z = x / (x * x)
    z.mul_(2)
    z.sum().backward()


def dividend_overwritten(m: Any, x: Any) -> Any:
    y = x * 2
    z = y / x
    y.zero_()
    z.sum().backward()


def power_overwritten(m: Any, x: Any) -> Any:
    y = x**2.5
    y.mul_(2)
    y.sum().backward()


def power_of_a_trained_exponent_overwritten(m: Any, x: Any) -> Any:
    z = m.tensor(VECTOR, dtype=m.float64) ** x
    z.mul_(2)
    z.sum().backward()


def tanh_overwritten(m: Any, x: Any) -> Any:
    y = x.tanh()
    y += 1
    y.sum().backward()


def softmax_overwritten(m: Any, x: Any) -> Any:
    y = x.softmax(1)
    y *= 2
    (y * m.tensor(VECTOR, dtype=m.float64)).sum().backward()


def max_overwritten(m: Any, x: Any) -> Any:
    y = x * 1
    z = y.max(1)[0]
    y.zero_()
    z.sum().backward()


def leaf_written(m: Any, x: Any) -> Any:
    x.add_(1)


def leaf_view_written(m: Any, x: Any) -> Any:
    x[0].add_(1)


def leaf_view_of_view_written(m: Any, x: Any) -> Any:
    x.t()[0].zero_()


def leaf_element_set(m: Any, x: Any) -> Any:
    x[0] = 1


def leaf_written_without_recording(m: Any, x: Any) -> Any:
    with m.no_grad():
        x.add_(1)
        x[0] = 1
    (x * x).sum().backward()
    return x._version


def leaf_written_through_data(m: Any, x: Any) -> Any:
    x.data.add_(1)
    (x * x).sum().backward()
    return x._version


def own_leaf_view_written(m: Any, x: Any) -> Any:
    v = m.zeros(3)[:2].requires_grad_()
    v.mul_(2)


def expanded_written(m: Any, x: Any) -> Any:
    m.zeros(1, 3).expand(2, 3).add_(1)


def expanded_zero_written(m: Any, x: Any) -> Any:
    m.zeros(3).expand(2, 3)[0].add_(1)


def expanded_copied_into(m: Any, x: Any) -> Any:
    (x * 1)[:, :1].expand(2, 3).copy_(x)


def write_out_of_shape(m: Any, x: Any) -> Any:
    (x * 1)[0].add_(m.zeros(2, 3))


def write_float_to_int(m: Any, x: Any) -> Any:
    m.tensor([1, 2]).add_(1.5)


def backward_twice(m: Any, x: Any) -> Any:
    y = (x * x).sum()
    y.backward()
    y.backward()


def backward_twice_nothing_saved(m: Any, x: Any) -> Any:
    y = (x + 1).sum()
    y.backward()
    y.backward()


def backward_retained(m: Any, x: Any) -> Any:
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()


def shared_part_freed(m: Any, x: Any) -> Any:
    h = x.exp()
    (h * 2).sum().backward()
    (h * 3).sum().backward()


def accumulates(m: Any, x: Any) -> Any:
    for k in range(3):
        (x * k).sum().backward()


def accumulates_in_place(m: Any, x: Any) -> Any:
    (x * 2).sum().backward()
    g = x.grad
    (x * 3).sum().backward()
    return g is x.grad, g.tolist()


def gradient_is_no_alias(m: Any, x: Any) -> Any:
    g = m.ones(2, 3, dtype=m.float64)
    (x + 0).backward(g)
    g.zero_()
    x.grad.add_(1)
    return g.tolist()


def gradient_argument(m: Any, x: Any) -> Any:
    (x * x).backward(gradient=m.tensor(MATRIX, dtype=m.float64))


def gradient_of_other_dtype(m: Any, x: Any) -> Any:
    (x * x).backward(m.ones(2, 3))


def gradient_of_wrong_shape(m: Any, x: Any) -> Any:
    (x * x).backward(m.ones(3, dtype=m.float64))


def not_a_scalar(m: Any, x: Any) -> Any:
    (x * x).backward()


def one_element_is_a_scalar(m: Any, x: Any) -> Any:
    (x * x)[:1, :1].backward()


def no_graph(m: Any, x: Any) -> Any:
    m.ones(()).backward()


def detached(m: Any, x: Any) -> Any:
    (x.detach() * 2).sum().backward()


def detach_cuts(m: Any, x: Any) -> Any:
    (x * x.detach()).sum().backward()
    return x.detach().requires_grad, x.detach().is_leaf


def detach_in_place(m: Any, x: Any) -> Any:
    y = x * 2
    y.detach_()
    return y.requires_grad, y.is_leaf, (y * x).sum().backward()


def no_grad_forward(m: Any, x: Any) -> Any:
    with m.no_grad():
        y = x * 2
    return y.requires_grad, y.is_leaf, (x * y).sum().backward()


def no_grad_decorator(m: Any, x: Any) -> Any:
    @m.no_grad()
    def f(t: Any) -> Any:
        return t * 2

    @m.enable_grad()
    def g(t: Any) -> Any:
        return t * 3

    with m.no_grad():
        y = g(x)
    y.sum().backward()
    return f(x).requires_grad, y.requires_grad, m.is_grad_enabled()


def set_grad_enabled(m: Any, x: Any) -> Any:
    seen = []
    with m.set_grad_enabled(False):
        seen.append((x * 2).requires_grad)
        with m.enable_grad():
            seen.append((x * 2).requires_grad)
        seen.append((x * 2).requires_grad)
    return seen, m.is_grad_enabled()


def mode_is_restored_after_an_error(m: Any, x: Any) -> Any:
    try:
        with m.no_grad():
            m.zeros(2) @ m.zeros(3)
    except RuntimeError:
        pass
    return m.is_grad_enabled()


def grad_function(m: Any, x: Any) -> Any:
    (g,) = m.autograd.grad((x * x).sum(), x)
    return g.tolist()


def grad_of_intermediate(m: Any, x: Any) -> Any:
    h = x * 2
    y = (h * h).sum()
    a, b = m.autograd.grad(y, [h, x])
    return a.tolist(), b.tolist()


def grad_unused(m: Any, x: Any) -> Any:
    z = m.ones(2, requires_grad=True)
    m.autograd.grad((x * x).sum(), [x, z])


def grad_unused_allowed(m: Any, x: Any) -> Any:
    z = m.ones(2, requires_grad=True)
    g, none = m.autograd.grad((x * x).sum(), [x, z], allow_unused=True)
    return g.tolist(), none


def grad_unused_materialized(m: Any, x: Any) -> Any:
    z = m.ones(2, requires_grad=True)
    _, zero = m.autograd.grad((x * x).sum(), [x, z], materialize_grads=True)
    return zero.tolist()


def grad_of_what_requires_none(m: Any, x: Any) -> Any:
    m.autograd.grad((x * x).sum(), [m.ones(2)])


def grad_of_two_outputs(m: Any, x: Any) -> Any:
    (g,) = m.autograd.grad([x.sum(), (x * x)], [x], [None, m.ones(2, 3, dtype=m.float64)])
    return g.tolist()


def grad_of_the_output_itself(m: Any, x: Any) -> Any:
    y = (x * x).sum()
    (g,) = m.autograd.grad(y, y)
    return g.tolist()


def backward_into_inputs(m: Any, x: Any) -> Any:
    z = m.ones(3, dtype=m.float64, requires_grad=True)
    (x * z).sum().backward(inputs=[z])
    return z.grad.tolist()


def backward_into_one_input(m: Any, x: Any) -> Any:
    z = m.ones(3, dtype=m.float64, requires_grad=True)
    (x * z).sum().backward(inputs=x)
    return z.grad


def backward_into_no_inputs(m: Any, x: Any) -> Any:
    (x * x).sum().backward(inputs=[])


def double_backward(m: Any, x: Any) -> Any:
    (g,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    return g.requires_grad


def triple_backward(m: Any, x: Any) -> Any:
    y = (x**4).sum()
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    return g.tolist()


def double_backward_through_a_view_write(m: Any, x: Any) -> Any:
    y = x * x
    y[0].mul_(x[1])
    (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
    (g * g).sum().backward()


def double_backward_not_recorded(m: Any, x: Any) -> Any:
    (g,) = m.autograd.grad((x**3).sum(), x)
    g.sum().backward()


def gradient_recorded_in_backward(m: Any, x: Any) -> Any:
    x.requires_grad_()
    y = x * x
    (y.sum() * 2).backward()
    return x.grad.requires_grad, y.requires_grad, y.is_leaf, x.is_leaf


def requires_grad_of_results(m: Any, x: Any) -> Any:
    return (
        x[0].requires_grad,
        x.argmax().requires_grad,
        (x > 1).requires_grad,
        x.max(1)[1].requires_grad,
        x.max(1)[0].requires_grad,
        x.long().requires_grad,
        x.isnan().requires_grad,
        (x // 2).requires_grad,
        m.zeros_like(x).requires_grad,
    )


def requires_grad_of_integers(m: Any, x: Any) -> Any:
    m.tensor([1, 2]).requires_grad_()


def requires_grad_off_for_a_result(m: Any, x: Any) -> Any:
    (x * 2).requires_grad_(False)


def unused_branch(m: Any, x: Any) -> Any:
    h = x * 2
    _ = h.exp().sum()
    h.sum().backward()


def diamond(m: Any, x: Any) -> Any:
    h = x * 2
    a, b = h.exp(), h * h
    ((a + b) * (a - h)).sum().backward()


def same_operand_twice(m: Any, x: Any) -> Any:
    (x + x + x * x).sum().backward()


def set_data(m: Any, x: Any) -> Any:
    y = x * x
    x.data = m.zeros(2, 3, dtype=m.float64)
    (x + 1).sum().backward()
    return x.tolist(), y.tolist()


def set_grad(m: Any, x: Any) -> Any:
    x.grad = m.ones(2, 3, dtype=m.float64)
    x.sum().backward()


def set_grad_to_none(m: Any, x: Any) -> Any:
    x.sum().backward()
    x.grad = None
    (x * 2).sum().backward()


def loop_writes_rows(m: Any, x: Any) -> Any:
    out = m.zeros(4, 3, dtype=m.float64)
    h = x[0]
    for i in range(4):
        h = h * x[1] * 0.1
        out[i] = h
    (out * out).sum().backward()
    return out.tolist()


def iterate_rows(m: Any, x: Any) -> Any:
    y = x * 2
    for row in y.unbind(0):
        row.sum().backward(retain_graph=True)


def convert_and_write(m: Any, x: Any) -> Any:
    y = m.zeros(2, 3)
    y.copy_(x)
    (y * y).sum().backward()
    return x.grad.dtype == m.float64


def add_wider(m: Any, x: Any) -> Any:
    y = m.ones(2, 3)
    y.add_(x)
    (y * y).sum().backward()
    return y.dtype == m.float32


def integer_target(m: Any, x: Any) -> Any:
    y = m.zeros(2, 3, dtype=m.int64)
    y.copy_(x)
    return y.requires_grad, y.tolist()


def write_a_view_into_its_base(m: Any, x: Any) -> Any:
    y = x * 2
    y[0].copy_(y[1])
    (y * x).sum().backward()


def write_own_slice_shifted(m: Any, x: Any) -> Any:
    y = (x * 2).view(6)
    y[1:].copy_(y[:-1].clone())
    (y * y).sum().backward()
    return y.tolist()


def no_grad_write_to_a_view(m: Any, x: Any) -> Any:
    y = x * 2
    with m.no_grad():
        y[0].zero_()
    y.sum().backward()
    return y.tolist()


def squeeze_write(m: Any, x: Any) -> Any:
    y = (x * 2).unsqueeze(1)
    y.squeeze(1)[0].exp_()
    y.sum().backward()


def random_write_forgets(m: Any, x: Any) -> Any:
    y = x * 2
    y[0].uniform_()
    y.sum().backward()


def floor_divide_write(m: Any, x: Any) -> Any:
    y = x * 2
    y.floor_divide_(2.0)
    y.sum().backward()


def add_write_of_itself(m: Any, x: Any) -> Any:
    y = x * 2
    y.add_(y)
    y.sum().backward()


PROGRAMS: list[Callable[[Any, Any], Any]] = [
    f
    for f in list(globals().values())
    if callable(f)
    and getattr(f, "__code__", None)
    and f.__code__.co_varnames[:2] == ("m", "x")
    and f.__name__ != "leaf"
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_program(torch: ModuleType, program: Callable[[Any, Any], Any]) -> None:
    ours, theirs = outcome(unspool, program, MATRIX), outcome(torch, program, MATRIX)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"PyTorch raises {theirs!r}, unspool gives {ours}"
        kind = next(k for k in (RuntimeError, ValueError, TypeError, IndexError) if isinstance(theirs, k))
        assert isinstance(ours, kind), f"{ours!r}, but PyTorch raises {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{ours!r}, PyTorch gives {theirs}"
    same(ours, theirs)


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (list, tuple)) and theirs:
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    else:
        assert ours == theirs


def test_there_are_programs_of_each_kind() -> None:
    names = {f.__name__ for f in PROGRAMS}
    assert len(names) > 80
    assert {"write_first", "saved_output_overwritten", "backward_twice", "double_backward"} <= names


# ---- What PyTorch refuses ------------------------------------------------------------------------


def relu_then_write(m: Any, x: Any) -> Any:
    y = m.relu(x - 2)
    y += 1
    y.sum().backward()


def square_in_place(m: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(y)
    y.sum().backward()


def square_in_place_through_a_view(m: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(y.view(2, 3))
    y.sum().backward()


def row_times_row_of_one_base(m: Any, x: Any) -> Any:
    y = x * 2
    y[0].mul_(y[1])
    y.sum().backward()


def power_of_a_fixed_exponent_overwritten(m: Any, x: Any) -> Any:
    z = x ** m.tensor(VECTOR, dtype=m.float64)
    z += 1
    z.sum().backward()


# ReLU saves a mask, not its result, and pow its result for the exponent's gradient alone; an operand that is
# overwritten by the op itself is copied first.
MORE: list[tuple[Callable[[Any, Any], Any], Any]] = [
    (relu_then_write, [[0, 0, 1], [1, 1, 1]]),
    (square_in_place, [[8.0, 16.0, 24.0], [32.0, 40.0, 48.0]]),
    (square_in_place_through_a_view, [[8.0, 16.0, 24.0], [32.0, 40.0, 48.0]]),
    (power_of_a_fixed_exponent_overwritten, [[1.0, 4.0, 27.0], [1.0, 10.0, 108.0]]),
    (row_times_row_of_one_base, [[16.0, 20.0, 24.0], [6.0, 10.0, 14.0]]),
]


@pytest.mark.parametrize(("program", "gradient"), MORE, ids=lambda f: getattr(f, "__name__", ""))
def test_more_than_pytorch(torch: ModuleType, program: Any, gradient: Any) -> None:
    assert isinstance(outcome(torch, program, MATRIX), RuntimeError)
    ours = outcome(unspool, program, MATRIX)
    assert not isinstance(ours, Exception), repr(ours)
    np.testing.assert_allclose(ours[0], gradient, rtol=1e-14)


def test_errors_name_the_culprit() -> None:
    x = leaf(unspool)
    y = x.exp()
    y.add_(1)
    with pytest.raises(
        RuntimeError, match=r"exp: .*modified by an inplace operation.*shape \(2, 3\).*version 0.*version 1"
    ):
        y.sum().backward()
    with pytest.raises(RuntimeError, match=r"add_?: a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"a view of a leaf Variable that requires grad"):
        x[0].add_(1)
    with pytest.raises(RuntimeError, match=r"grad can be implicitly created only for scalar.*\(2, 3\)"):
        (x * 2).backward()


def test_a_refused_write_changes_nothing() -> None:
    x = leaf(unspool)
    y = x * 2
    for write in (
        lambda: x.add_(1),
        lambda: x[0].mul_(0),
        lambda: y.add_(unspool.zeros(5)),
        lambda: unspool.zeros(1, 3).expand(2, 3).add_(1),
        lambda: y.__setitem__(9, 0.0),
        lambda: y.__setitem__(0, unspool.zeros(7)),
    ):
        with pytest.raises((RuntimeError, IndexError)):
            write()
    assert (x.tolist(), x._version) == (MATRIX, 0)
    assert (y.tolist(), y._version) == ((np.array(MATRIX) * 2).tolist(), 0)
    y.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


# ---- Random programs -----------------------------------------------------------------------------

# Each step names an op and, by numbers, its operands among the tensors made so far and its arguments. Numbers are taken
# modulo what there is, so that every drawn program means something; one that PyTorch refuses at a step skips the step.
STEP = st.tuples(st.integers(0, 27), st.integers(0, 7), st.integers(0, 7), st.integers(0, 5))


def elementwise(m: Any, x: Any, k: int) -> Any:
    return (
        lambda: m.tanh(x),
        lambda: m.sigmoid(x),
        lambda: m.exp(x * 0.2),
        lambda: m.relu(x),
        lambda: m.abs(x),
        lambda: -x,
    )[k % 6]()


def combined(m: Any, a: Any, b: Any, k: int) -> Any:
    return (
        lambda: a + b,
        lambda: a - b,
        lambda: a * b,
        lambda: a / (b * b + 1),
        lambda: m.maximum(a, b),
        lambda: m.where(a > b, a * 2, b),
    )[k % 6]()


def viewed(x: Any, k: int) -> Any:
    return (
        lambda: x.t() if x.ndim == 2 else x.transpose(0, -1),
        lambda: x[k % max(1, x.shape[0] if x.ndim else 1)],
        lambda: x[1:] if x.ndim else x[None],
        lambda: x[..., ::2],
        lambda: x.reshape(-1),
        lambda: x.unsqueeze(0).expand(2, *x.shape) if x.ndim < 3 else x.squeeze(),
    )[k % 6]()


def written(m: Any, x: Any, other: Any, k: int) -> None:
    if any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True)):
        raise RuntimeError("expanded: PyTorch lets fill_ and zero_ through, unspool none")

    def put() -> None:
        x[0] = other.sum() * 0.1

    (
        lambda: x.mul_(0.5),
        lambda: x.add_(other),
        lambda: x.mul_(other),
        put,
        lambda: x.tanh_(),
        lambda: x.zero_(),
    )[k % 6]()


def reduced(m: Any, x: Any, k: int) -> Any:
    return (
        lambda: x.sum(),
        lambda: x.sum(0) if x.ndim else x.sum(),
        lambda: x.mean(-1, keepdim=True) if x.ndim else x.mean(),
        lambda: x.softmax(-1) if x.ndim else x.sigmoid(),
        lambda: x.max(0)[0] if x.ndim else x.max(),
        lambda: m.cat([x, x * 2]) if x.ndim else m.stack([x, x]),
    )[k % 6]()


def advance(m: Any, made: list[Any], step: tuple[int, int, int, int]) -> None:
    kind, i, j, k = step
    a, b = made[-1 - i % len(made)], made[-1 - j % len(made)]
    if kind < 6:
        made.append(elementwise(m, a, k))
    elif kind < 12:
        made.append(combined(m, a, b, k))
    elif kind < 18:
        made.append(viewed(a, k))
    elif kind < 24:
        written(m, a, b, k)
    elif kind < 26:
        made.append(reduced(m, a, k))
    else:
        made.append(a.detach() if k == 0 else a.clone())


def total(made: list[Any]) -> Any:
    """A scalar that every tensor reaches, each element with a weight of its own."""
    return sum(((t.reshape(-1) if t.numel() else t.reshape(0)).sum() * (0.5 + 0.25 * n) for n, t in enumerate(made)), 0)


class Run:
    """A program's tensors in one library; the leaves are the first two."""

    def __init__(self, m: Any) -> None:
        self.m = m
        rng = np.random.default_rng(11)
        self.leaves = [m.tensor(rng.uniform(-2, 2, s), requires_grad=True) for s in ((2, 3), (3,))]
        self.made = [x * 1.5 for x in self.leaves]

    def step(self, step: tuple[int, int, int, int]) -> bool:
        try:
            advance(self.m, self.made, step)
        except (RuntimeError, IndexError, ValueError):
            return False
        return True


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=3, max_size=20))
@example([(12, 0, 0, 1), (18, 0, 0, 0), (18, 1, 0, 1)])
@example([(12, 1, 0, 0), (12, 0, 0, 1), (20, 0, 0, 0), (6, 0, 1, 2)])
@example([(0, 0, 0, 1), (12, 0, 0, 2), (18, 0, 0, 2), (6, 0, 1, 0)])
def test_random_programs(torch: ModuleType, steps: list[tuple[int, int, int, int]]) -> None:
    ours, theirs = Run(unspool), Run(torch)
    for step in steps:
        a, b = ours.step(step), theirs.step(step)
        assert len(ours.made) >= len(theirs.made), f"step {step}: only PyTorch can do it"
        assert a >= b, f"step {step}: only PyTorch can do it"
        if a != b:
            return  # unspool accepts more; nothing to compare from here on
        for x, y in zip(ours.made, theirs.made, strict=True):
            assert tuple(x.shape) == tuple(y.shape)
            assert x.requires_grad == y.requires_grad
            assert x._version == y._version
    for x, y in zip(ours.made, theirs.made, strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    try:
        total(theirs.made).backward()
    except RuntimeError:  # a saved tensor was overwritten: PyTorch raises, unspool raises or is right
        return
    total(ours.made).backward()
    for x, y in zip(ours.leaves, theirs.leaves, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-10, atol=1e-12)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=3, max_size=12))
def test_random_programs_against_differences(steps: list[tuple[int, int, int, int]]) -> None:
    """Where unspool accepts more than PyTorch, the gradient is right all the same."""
    run = Run(unspool)
    for step in steps:
        if not run.step(step):
            return
    try:
        total(run.made).backward()
    except RuntimeError:  # a saved tensor was overwritten
        return
    direction = [np.random.default_rng(5 + i).uniform(-1, 1, tuple(x.shape)) for i, x in enumerate(run.leaves)]

    def value(h: float) -> float:
        """The program's total at leaves moved by h."""
        moved = Run(unspool)
        with unspool.no_grad():
            for x, d in zip(moved.leaves, direction, strict=True):
                x.add_(unspool.from_numpy(d * h))
            moved.made = [x * 1.5 for x in moved.leaves]
            for step in steps:
                moved.step(step)
        return float(total(moved.made))

    if any(kind >= 26 and k == 0 for kind, _, _, k in steps):
        return  # a difference would see through detach
    h = 1e-6
    slopes = [(value(h) - value(0.0)) / h, (value(0.0) - value(-h)) / h]
    if abs(slopes[0] - slopes[1]) > 1e-3 * (1 + abs(slopes[0])):
        return  # at a kink
    found = sum(
        float((x.grad * unspool.from_numpy(d)).sum())
        for x, d in zip(run.leaves, direction, strict=True)
        if x.grad is not None
    )
    assert found == pytest.approx(sum(slopes) / 2, rel=1e-4, abs=1e-4)


# ---- Overwriting what was, or was not, saved ---------------------------------------------------------

SAVING: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "neg": (((2, 3),), lambda m, x: -x),
    "abs": (((2, 3),), lambda m, x: x.abs()),
    "exp": (((2, 3),), lambda m, x: x.exp()),
    "log": (((2, 3),), lambda m, x: x.log()),
    "sqrt": (((2, 3),), lambda m, x: x.sqrt()),
    "reciprocal": (((2, 3),), lambda m, x: x.reciprocal()),
    "tanh": (((2, 3),), lambda m, x: x.tanh()),
    "sigmoid": (((2, 3),), lambda m, x: x.sigmoid()),
    "clamp": (((2, 3),), lambda m, x: x.clamp(0, 1)),
    "square": (((2, 3),), lambda m, x: x**2),
    "add": (((2, 3), (3,)), lambda m, a, b: a + b),
    "sub": (((2, 3), (3,)), lambda m, a, b: a - b),
    "mul": (((2, 3), (3,)), lambda m, a, b: a * b),
    "mul by a number": (((2, 3),), lambda m, a: a * 3),
    "div": (((2, 3), (3,)), lambda m, a, b: a / b),
    "remainder": (((2, 3), (3,)), lambda m, a, b: a % b),
    "maximum": (((2, 3), (3,)), lambda m, a, b: m.maximum(a, b)),
    "where": (((2, 3), (3,)), lambda m, a, b: m.where(a > b, a, b)),
    "sum": (((2, 3),), lambda m, x: x.sum(0)),
    "mean": (((2, 3),), lambda m, x: x.mean(0)),
    "max": (((2, 3),), lambda m, x: x.max()),
    "max along a dim": (((2, 3),), lambda m, x: x.max(1)[0]),
    "softmax": (((2, 3),), lambda m, x: x.softmax(1)),
    "log_softmax": (((2, 3),), lambda m, x: x.log_softmax(1)),
    "matmul": (((2, 3), (3, 2)), lambda m, a, b: a @ b),
    "linear": (((2, 3), (4, 3), (4,)), lambda m, x, w, b: m.nn.functional.linear(x, w, b)),
    "mse_loss": (((2, 3), (2, 3)), lambda m, a, b: m.nn.functional.mse_loss(a, b)),
    "cat": (((2, 3), (1, 3)), lambda m, a, b: m.cat([a, b])),
    "clone": (((2, 3),), lambda m, x: x.clone()),
    "transpose": (((2, 3),), lambda m, x: x.t()),
    "float": (((2, 3),), lambda m, x: x.float()),
    "cross_entropy": (((2, 3),), lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([1, 2]))),
}


@pytest.mark.parametrize("name", SAVING)
def test_an_error_where_what_was_saved_is_overwritten(torch: ModuleType, name: str) -> None:
    """For each operand and the result, and each choice of operands that need a gradient: raise as PyTorch does."""
    shapes, f = SAVING[name]
    for needs in range(1, 2 ** len(shapes)):
        for victim in range(len(shapes) + 1):

            def program(m: Any, _: Any, needs: int = needs, victim: int = victim) -> Any:
                rng = np.random.default_rng(3)
                leaves = [m.tensor(rng.uniform(0.5, 2, s)) for s in shapes]
                for i, x in enumerate(leaves):
                    x.requires_grad_(bool(needs >> i & 1))
                xs = [x * 1 for x in leaves]
                y = f(m, *xs)
                (xs[victim] if victim < len(xs) else y).mul_(2)
                y.sum().backward()
                return [None if x.grad is None else x.grad.tolist() for x in leaves]

            ours, theirs = outcome(unspool, program, MATRIX), outcome(torch, program, MATRIX)
            what = f"{name}, needs {needs:b}, overwritten {victim}: {ours}, PyTorch: {theirs}"
            if name == "cross_entropy" and victim == 0:
                # The one op that keeps more than PyTorch's: the logits, for a second derivative.
                assert isinstance(ours, RuntimeError), what
                continue
            assert isinstance(ours, RuntimeError) == isinstance(theirs, RuntimeError), what
            if not isinstance(theirs, Exception):
                same(ours, theirs)
