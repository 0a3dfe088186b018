"""Programs with a checkpoint in them, for test_checkpoint.py; they run in unspool and in PyTorch.

A program takes a package and `run(function, *args, **kwargs)`, which calls the function plainly or in a checkpoint,
and returns what is compared. Nothing is asserted here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[..., Any]
Case = Callable[[Any, Run], Any]


def plain(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def data(t: Any, *shape: int, seed: int = 0, grad: bool = True, dtype: str = "float64") -> Any:
    values = np.random.default_rng(seed).standard_normal(shape)
    return t.tensor(values, dtype=getattr(t, dtype), requires_grad=grad)


def leaf(t: Any, *shape: int, seed: int = 0) -> Any:
    return data(t, *shape, seed=seed)


def _mlp(t: Any, n: int = 6) -> Any:
    t.manual_seed(2)
    return t.nn.Sequential(t.nn.Linear(n, n), t.nn.ReLU(), t.nn.Dropout(0.4), t.nn.Linear(n, n), t.nn.Tanh()).double()


def grads(module: Any) -> list[Any]:
    return [p.grad for p in module.parameters()]


# ---- both variants -----------------------------------------------------------------------------------


def layers_with_dropout(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    t.manual_seed(5)
    y = run(m, x)
    after = t.rand(3)
    (y * y).sum().backward()
    return y, x.grad, grads(m), after, t.rand(3)


def a_chain_of_checkpoints(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    h = x
    for _ in range(3):  # the same weights in all three
        h = run(m, h)
    h.sum().backward()
    return x.grad, grads(m)


def a_checkpoint_in_a_checkpoint(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    y = run(lambda a: run(lambda b: run(m, b.sin()), a * 2).exp(), x)
    y.sum().backward()
    return y, x.grad, grads(m), t.rand(2)


def several_results_and_other_arguments(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    y, name, z, nothing, n = run(lambda a, k, b, s: (a * b * k, s, a.exp() + b, None, 3), x, 2.5, w, "name")
    (y.sin() * z).sum().backward()
    return y, name, z, nothing, n, x.grad, w.grad


def one_of_two_results(t: Any, run: Run) -> Any:
    x = leaf(t, 3)
    y, z = run(lambda a: (a.exp(), a.sin()), x)
    y.sum().backward()
    return y, z, x.grad


def integers_in_and_out(t: Any, run: Run) -> Any:
    w, at = leaf(t, 5, 3), t.tensor([0, 3, 3])
    y, top = run(lambda a, i: (a[i].exp(), a[i].argmax(1)), w, at)
    y.sum().backward()
    return y, top, w.grad


def writes_inside(t: Any, run: Run) -> Any:
    def f(a: Any) -> Any:
        h = a * 2
        h.mul_(a).add_(1)
        h[0] = a[1] * 3
        return h

    x = leaf(t, 3)
    y = run(f, x)
    y.sin().sum().backward()
    return y, x.grad


def writes_to_the_result(t: Any, run: Run) -> Any:
    x = leaf(t, 3)
    y = run(lambda a: a * a.sin(), x)
    y.mul_(3)
    y.sum().backward()
    return y, x.grad


def a_view_as_result(t: Any, run: Run) -> Any:
    x = leaf(t, 4, 3)
    y = run(lambda a: a.exp()[:, 1:], x)
    (y * y).sum().backward()
    return y, x.grad


def a_detached_result(t: Any, run: Run) -> Any:
    x = leaf(t, 3)
    y, z = run(lambda a: (a.exp(), a.sin().detach()), x)
    (y * z.detach()).sum().backward()
    return y, z, x.grad


def arguments_without_gradient(t: Any, run: Run) -> Any:
    x, c = leaf(t, 3), data(t, 3, seed=1, grad=False)
    y = run(lambda a, b: a * b + b, x, c)
    y.sum().backward()
    return y, x.grad, c.grad


def no_grad_inside(t: Any, run: Run) -> Any:
    def f(a: Any) -> Any:
        with t.no_grad():
            scale = a.abs().sum()
        return a.exp() * scale

    x = leaf(t, 3)
    run(f, x).sum().backward()
    return x.grad


def under_no_grad(t: Any, run: Run) -> Any:
    x = leaf(t, 3)
    with t.no_grad():
        y = run(lambda a: a.exp(), x)
    return y, y.requires_grad


def running_statistics(t: Any, run: Run) -> Any:
    m, x = t.nn.BatchNorm1d(3).double(), leaf(t, 5, 3)
    run(m, x).sin().sum().backward()
    return x.grad, grads(m)


def a_hook_of_a_weight(t: Any, run: Run) -> Any:
    x, w, calls = leaf(t, 3), leaf(t, 3, seed=1), []
    w.register_hook(lambda g: calls.append(g.clone()) or g * 2)
    run(lambda a: a * w, x).sin().sum().backward()
    return calls, x.grad, w.grad


def half_of_the_results_unused_in_a_loop(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    total = 0
    for _ in range(3):
        y, x = run(lambda a, b: (a * b, (a + b).tanh()), x, w)
        total = total + y.sum()
    total.backward()
    return total, w.grad


BOTH: list[Case] = [
    layers_with_dropout,
    a_chain_of_checkpoints,
    a_checkpoint_in_a_checkpoint,
    several_results_and_other_arguments,
    one_of_two_results,
    integers_in_and_out,
    writes_inside,
    writes_to_the_result,
    a_view_as_result,
    a_detached_result,
    arguments_without_gradient,
    no_grad_inside,
    under_no_grad,
    running_statistics,
    a_hook_of_a_weight,
    half_of_the_results_unused_in_a_loop,
]


# ---- the non-reentrant one ---------------------------------------------------------------------------


def uses_inside_and_outside(t: Any, run: Run) -> Any:
    # The sums that make x's and w's gradients have to be rounded in the order of the program without checkpoints.
    x, w = data(t, 64, dtype="float32"), data(t, 64, seed=1, dtype="float32")
    h = x * w
    for _ in range(2):
        h = h + run(lambda a: (a.sin() * a).exp() * w + a.tanh() * w.cos() - a / 3, h) * h.cos()
    (h * w).sum().backward()
    return (x.grad, w.grad) if t.__name__ == "unspool" else (x.grad.double(), w.grad.double())


def broadcast_uses(t: Any, run: Run) -> Any:
    x, b = data(t, 7, 5), leaf(t, 5, seed=1)
    (run(lambda a: a * b + b.exp() - b, x) * b).sum().backward()
    return x.grad, b.grad


def keywords_and_containers(t: Any, run: Run) -> Any:
    x, w, v = leaf(t, 3), leaf(t, 3, seed=1), leaf(t, 3, seed=2)
    got = run(lambda a, b, *, c, k: {"p": [a[0] * b["w"]], "q": (c * k, "s")}, [x], {"w": w}, c=v, k=3)
    ((got["p"][0] + got["q"][0]).exp()).sum().backward()
    return got, x.grad, w.grad, v.grad


def an_input_without_gradient(t: Any, run: Run) -> Any:
    x, m = data(t, 4, 6, grad=False), _mlp(t)
    y = run(m, x)
    y.sum().backward()
    return y, grads(m)


def a_captured_result(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    c = w * w
    c.retain_grad()
    y = run(lambda a: (a * c).exp() + c, x)
    (y * c).sum().backward()
    return y, c.grad, x.grad, w.grad


def a_captured_attribute(t: Any, run: Run) -> Any:
    class Scaled(t.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, a: Any) -> Any:
            return a * self.state["scale"] + self.state["scale"]

    x, w, m = leaf(t, 3), leaf(t, 3, seed=1), Scaled()
    m.state = {"scale": w.exp()}
    (run(m, x) * m.state["scale"]).sum().backward()
    return x.grad, w.grad


def weights_computed_inside(t: Any, run: Run) -> Any:
    t.manual_seed(2)
    m = t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 3).double())
    x = leaf(t, 4, 3)
    run(lambda a: m(m(a).tanh()), x).sum().backward()
    return x.grad, grads(m)


def gradients_as_values(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    c = w * 2
    y = run(lambda a: (a * w).exp() * c, x)
    found = t.autograd.grad(y.sum(), [w, c, x], retain_graph=True)
    y.sum().backward(inputs=[x])
    return found, x.grad, w.grad


def second_derivatives(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    y = run(lambda a: (a * w).exp() * w, x.sin())
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    ((g * g).sum() + y.sum()).backward()
    return y, g, x.grad, w.grad


def third_derivatives_nested(t: Any, run: Run) -> Any:
    x = leaf(t, 3)
    y = run(lambda a: run(lambda b: (b * b).sin() * b, a.exp()) * a, x)
    found = [y.sum()]
    for _ in range(3):
        found += t.autograd.grad(found[-1].sum(), x, create_graph=True)
    return found


def backward_twice(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    y = run(m, x).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    return first, x.grad, grads(m)


def hooks_once(t: Any, run: Run) -> Any:
    x, w = leaf(t, 3), leaf(t, 3, seed=1)
    calls: list[Any] = []
    w.register_hook(lambda g: calls.append(("w", g.clone())))
    x.register_hook(lambda g: calls.append(("x", g.clone())))
    h = x * 2
    h.register_hook(lambda g: calls.append(("h", g.clone())) or g * 3)

    def f(a: Any) -> Any:
        b = a * w
        b.register_hook(lambda g: calls.append(("b", g.clone())) or g * 2)
        return b.exp() * w + a

    y = run(f, h)
    y.register_hook(lambda g: g * 5)
    (y * w).sum().backward()
    return calls, x.grad, w.grad


def pieces_of_one_result(t: Any, run: Run) -> Any:
    x = leaf(t, 4, 6)
    q, k, v = run(lambda a: a.exp().chunk(3, -1), x)
    ((q @ k.t()) @ v).sum().backward()
    return q, k, v, x.grad


def a_view_and_its_base_written(t: Any, run: Run) -> Any:
    def f(a: Any) -> Any:
        h = a * a
        return h, h.view(2, 2)

    x = leaf(t, 4)
    y, v = run(f, x)
    v[0].mul_(3)
    (y * y).sum().backward()
    return y, v, x.grad


def an_argument_as_result(t: Any, run: Run) -> Any:
    x = leaf(t, 4)
    h = x * 2
    y, v, z = run(lambda a: (a, a.view(2, 2), a.exp()), h)
    (v.sin().sum() + (y * z).sum()).backward()
    return y is h, x.grad


def a_view_of_an_argument_that_is_a_view(t: Any, run: Run) -> Any:
    x = leaf(t, 4)
    h = x * 2
    y, z = run(lambda a: (a[1:], a.exp()), h[1:])
    h.mul_(1)
    h[2] = 5.0
    (y.sin().sum() + z.detach().sum() + h.sum()).backward()
    return y, y._base is h, x.grad


def the_same_result_twice(t: Any, run: Run) -> Any:
    x = leaf(t, 4)

    def f(a: Any) -> Any:
        y = a.exp()
        return y, [y]

    y, (z,) = run(f, x)
    (y * z.sin()).sum().backward()
    return y is z, x.grad


def a_result_that_escapes(t: Any, run: Run) -> Any:
    x, kept = leaf(t, 4), []

    def f(a: Any) -> Any:
        h = a.exp()
        kept.append(h * 2)
        return h.sin()

    y = run(f, x)
    (y * kept[0]).sum().backward()
    return y, x.grad


def an_object_as_argument_and_result(t: Any, run: Run) -> Any:
    class Pair:
        def __init__(self, first: Any, second: Any) -> None:
            self.first, self.second = first, second

    x, w = leaf(t, 4), leaf(t, 4, seed=1)
    p = run(lambda q: Pair(q.first.exp() * q.second, q.second), Pair(x, w * 2))
    (p.first * p.second).sum().backward()
    return x.grad, w.grad


def a_named_tuple_as_result(t: Any, run: Run) -> Any:
    x = leaf(t, 4, 3)
    y = run(lambda a: (a * a).max(1), x)
    y.values.sum().backward()
    return y.values, y.indices, type(y).__name__, x.grad


def a_parameter_as_result(t: Any, run: Run) -> Any:
    x, w = leaf(t, 4), leaf(t, 4, seed=1)
    y, z = run(lambda a: (a * 2, w), x)
    (y * z).sum().backward()
    return z is w, x.grad, w.grad


def a_gradient_inside(t: Any, run: Run) -> Any:
    def f(a: Any) -> Any:
        z = a.sin().cos()
        (g,) = t.autograd.grad(z.sum(), a, create_graph=True)
        return g * z

    x = leaf(t, 4)
    run(f, x.tanh()).sum().backward()
    return x.grad


def retained_gradients(t: Any, run: Run) -> Any:
    def f(a: Any) -> Any:
        y = a.exp()
        y.retain_grad()
        return y

    x = leaf(t, 4)
    y, z = run(f, x), run(lambda a: a.sin(), x)
    z.retain_grad()
    (y * y * z).sum().backward()
    return y.grad, z.grad, x.grad


def jacobians(t: Any, run: Run) -> Any:
    x = leaf(t, 3).detach()
    return (
        t.autograd.functional.jacobian(lambda a: run(lambda b: b.exp() * b.sum(), a), x),
        t.autograd.functional.hessian(lambda a: run(lambda b: (b**3).sum() * b.sum(), a), x),
    )


def anomaly_mode(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    with t.autograd.detect_anomaly(check_nan=True):
        run(m, x).sum().backward()
    return x.grad, grads(m)


def without_the_check(t: Any, run: Run) -> Any:
    x = leaf(t, 4)
    options = {} if run is plain else {"determinism_check": "none"}
    run(lambda a: a.exp() * a, x, **options).sum().backward()
    return x.grad


def in_another_thread(t: Any, run: Run) -> Any:
    x, m = leaf(t, 4, 6), _mlp(t)
    h = x.sin()
    y = run(lambda a: run(m, a) * h + a, h)
    thread = threading.Thread(target=(y * h).sum().backward)
    thread.start()
    thread.join()
    return x.grad, grads(m)


NOT_REENTRANT: list[Case] = [
    *BOTH,
    broadcast_uses,
    keywords_and_containers,
    an_input_without_gradient,
    a_captured_result,
    a_captured_attribute,
    weights_computed_inside,
    gradients_as_values,
    second_derivatives,
    third_derivatives_nested,
    backward_twice,
    hooks_once,
    pieces_of_one_result,
    a_view_and_its_base_written,
    an_argument_as_result,
    a_view_of_an_argument_that_is_a_view,
    the_same_result_twice,
    a_result_that_escapes,
    an_object_as_argument_and_result,
    a_named_tuple_as_result,
    a_parameter_as_result,
    a_gradient_inside,
    retained_gradients,
    jacobians,
    anomaly_mode,
    without_the_check,
    in_another_thread,
]

# Where sums are not rounded as without the checkpoint; whether the checkpoint is reentrant.
ROUNDED_OTHERWISE: set[tuple[Case, bool]] = {
    (half_of_the_results_unused_in_a_loop, True),  # the uses inside are summed by themselves
    (second_derivatives, False),  # the calls that run again stand later in the graph
    (third_derivatives_nested, False),
    (a_result_that_escapes, False),  # its part of the graph stays, besides the one that runs again
}
