"""Programs on the rules of backward: freed graphs, sums in .grad, modes, grad(). Start at PROGRAMS."""

from __future__ import annotations

from typing import Any

from program_outcomes import MATRIX, programs_in


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


PROGRAMS = programs_in(globals())
