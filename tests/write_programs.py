"""Programs that write in place: through views, into leaves, over what backward needs. Start at PROGRAMS."""

from __future__ import annotations

from typing import Any

from program_outcomes import VECTOR, programs_in


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


PROGRAMS = programs_in(globals())
