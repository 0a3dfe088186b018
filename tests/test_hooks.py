"""Hooks, retained gradients, autograd.Function and anomaly mode, side by side with PyTorch; and that cycles are
freed."""

from __future__ import annotations

import gc
import re
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for the order and the values of hooks")


def both(program: Any) -> None:
    results = []
    for t in (torch, unspool):
        log: list[Any] = []
        program(t, log)
        results.append(log)
    assert results[1] == results[0]


def test_hooks_on_leaves_and_results_in_order() -> None:
    def program(t: Any, log: list[Any]) -> None:
        x = t.ones(3, requires_grad=True)
        w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        first = x.register_hook(lambda g: (log.append(("x", g.tolist())), g * 2)[1])
        x.register_hook(lambda g: log.append(("x again", g.tolist())))
        y = x * w
        y.register_hook(lambda g: log.append(("y", g.tolist())))
        y.retain_grad()
        z = (y * y + x).sum()
        z.backward(retain_graph=True)
        log.append((x.grad.tolist(), w.grad.tolist(), y.grad.tolist(), y.retains_grad, x.retains_grad))
        first.remove()
        first.remove()
        z.backward()
        log.append((x.grad.tolist(), y.grad.tolist()))

    both(program)


def test_a_leaf_with_a_hook_gets_its_whole_gradient_at_once() -> None:
    def program(t: Any, log: list[Any]) -> None:
        x = t.tensor([2.0], requires_grad=True)
        x.register_hook(lambda g: log.append(g.tolist()))
        x.register_post_accumulate_grad_hook(lambda p: log.append(("accumulated", p.grad.tolist())))
        y = x * 3
        (y * x + x.exp() * 0 + x).sum().backward()
        (x * 2).sum().backward()
        x.sum().backward()
        x.backward(t.ones(1))

    both(program)


def test_hooks_and_gradients_by_request() -> None:
    def program(t: Any, log: list[Any]) -> None:
        a = t.ones(2, requires_grad=True)
        b = a * 2
        b.register_hook(lambda g: g * 10)
        a.register_hook(lambda g: g + 1)
        log.extend(g.tolist() for g in t.autograd.grad((b * 3).sum(), [a, b]))

    both(program)


def test_hooks_of_calls() -> None:
    def program(t: Any, log: list[Any]) -> None:
        a = t.ones(2, requires_grad=True)
        b = t.full((2,), 3.0, requires_grad=True)
        y = a * b
        y.grad_fn.register_prehook(lambda gs: (log.append([g.tolist() for g in gs]), (gs[0] * 2,))[1])
        y.grad_fn.register_hook(lambda gx, gy: log.append(([g.tolist() for g in gx], [g.tolist() for g in gy])))
        y.sum().backward()
        log.append((a.grad.tolist(), b.grad.tolist()))
        names = [None if f is None else f.name() for f, _ in (y + 1).grad_fn.next_functions]
        log.append(names)
        log.append([f.name() for f, _ in y.grad_fn.next_functions])
        log.append(y.grad_fn.next_functions[0][0].variable is a)

    both(program)


def test_retained_gradients_follow_writes_in_place() -> None:
    def program(t: Any, log: list[Any]) -> None:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 1
        y.retain_grad()
        y.mul_(3)
        y.sum().backward()
        log.append((x.grad.tolist(), y.grad.tolist()))

    both(program)


def test_hooks_that_differentiate_again() -> None:
    def program(t: Any, log: list[Any]) -> None:
        x = t.tensor([1.0, 2.0], dtype=t.float64, requires_grad=True)
        y = x**3
        (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
        g.register_hook(lambda h: log.append(h.tolist()))
        (g * g).sum().backward()
        log.append(x.grad.tolist())

    both(program)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda t: t.ones(2).register_hook(print), RuntimeError, "register_hook"),
        (lambda t: t.ones(2, requires_grad=True).register_hook(3), TypeError, "3"),
        (lambda t: t.ones(2).retain_grad(), RuntimeError, "retain_grad"),
        (
            lambda t: (t.ones(2, requires_grad=True) * 2).register_post_accumulate_grad_hook(print),
            RuntimeError,
            "non-leaf",
        ),
    ],
)
def test_impossible_hooks(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make(unspool)


@pytest.mark.parametrize("value", ["a string", unspool.ones(3), unspool.ones(2, dtype=unspool.float64)])
def test_what_a_hook_returns_is_checked(value: Any) -> None:
    x = unspool.ones(2, requires_grad=True)
    x.register_hook(lambda g: value)
    y = (x * 2).sum()
    with pytest.raises((RuntimeError, TypeError), match="hook"):
        y.backward()
    assert x.grad is None


def test_an_exception_in_a_hook_comes_out() -> None:
    x = unspool.ones(2, requires_grad=True)
    y = x * 2

    def fail(g: Any) -> None:
        raise KeyError("mine")

    handle = y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    handle.remove()
    y.sum().backward()
    assert x.grad is not None


# autograd.Function


def _exp(t: Any) -> Any:
    class Exp(t.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, i: Any) -> Any:
            result = i.exp()
            ctx.save_for_backward(result)
            return result

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (result,) = ctx.saved_tensors
            return g * result

    return Exp


def test_a_function_has_derivatives_of_any_order() -> None:
    def program(t: Any, log: list[Any]) -> None:
        x = t.tensor([0.0, 1.0], dtype=t.float64, requires_grad=True)

        def digits(y: Any) -> list[float]:  # the last one is the instruction set's
            return [round(v, 14) for v in y.tolist()]

        y = _exp(t).apply(x)
        log.append((digits(y), y.grad_fn.name(), y.requires_grad, y.is_leaf))
        for _ in range(3):
            (y,) = t.autograd.grad(y.sum(), x, create_graph=True)
            log.append(digits(y))
        log.append(t.autograd.gradcheck(_exp(t).apply, (x,)))
        log.append(t.autograd.gradgradcheck(_exp(t).apply, (x,)))
        log.append(_exp(t).apply(x.detach()).requires_grad)

    both(program)


def test_a_function_of_several_inputs_and_outputs() -> None:
    def program(t: Any, log: list[Any]) -> None:
        class Two(t.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, a: Any, k: Any, b: Any) -> Any:
                ctx.k = k
                ctx.save_for_backward(a, b)
                positive = a > 0
                ctx.mark_non_differentiable(positive)
                return a * b, a + k, positive

            @staticmethod
            def backward(ctx: Any, g: Any, h: Any, _: Any) -> Any:
                a, b = ctx.saved_tensors
                log.append((ctx.needs_input_grad, h.tolist()))
                return g * b + h, None, (g * a if ctx.needs_input_grad[2] else None)

        a = t.tensor([1.0, -2.0], requires_grad=True)
        b = t.tensor([3.0, 4.0])
        y, z, m = Two.apply(a, 5, b)
        (y.sum() * 2).backward(retain_graph=True)
        z.sum().backward()
        log.append((a.grad.tolist(), b.grad, m.tolist(), m.requires_grad))
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()

    both(program)


def test_a_function_with_setup_context_and_in_place() -> None:
    def program(t: Any, log: list[Any]) -> None:
        class Scale(t.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(x: Any, k: float) -> Any:
                return x * k

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.k = inputs[1]

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * ctx.k, None

        class Double(t.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                x.mul_(2)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 2

        class Same(t.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 100

        x = t.ones(3, requires_grad=True)
        y = Scale.apply(x, 3.0) * 1
        z = Double.apply(y)
        log.append(z is y)
        w = Same.apply(z)
        log.append(w is z)
        w.sum().backward()
        log.append((x.grad.tolist(), w.tolist()))

    both(program)


def test_marks_of_writes_are_checked() -> None:
    class Write(unspool.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, other: bool) -> Any:
            ctx.mark_dirty(unspool.ones(2) if other else x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2, None

    leaf = unspool.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        Write.apply(leaf, False)
    assert leaf.is_leaf
    with pytest.raises(RuntimeError, match="inputs"):
        Write.apply(leaf * 1, True)


def test_a_wrong_backward_is_refused() -> None:
    class Bad(unspool.autograd.Function):
        answer: Any = None

        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return Bad.answer

    for answer, match in (
        ((unspool.ones(2),), "number of gradients"),
        ((unspool.ones(3), unspool.ones(2)), "index 0"),
        (("g", None), "str"),
    ):
        Bad.answer = answer
        x, y = unspool.ones(2, requires_grad=True), unspool.ones(2, requires_grad=True)
        with pytest.raises((RuntimeError, TypeError), match=match):
            Bad.apply(x, y).sum().backward()
        assert x.grad is None
    with pytest.raises(NotImplementedError):
        unspool.autograd.Function.apply(unspool.ones(1))


def test_gradcheck_finds_a_wrong_gradient() -> None:
    class Wrong(unspool.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3

    x = unspool.tensor([1.0, 2.0], dtype=unspool.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        unspool.autograd.gradcheck(Wrong.apply, (x,))
    assert not unspool.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)
    assert unspool.autograd.gradcheck(lambda a: (a * a).sum(), (x,))


# hooks of modules


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_backward_hooks_of_modules() -> None:
    def program(t: Any, log: list[Any]) -> None:
        t.manual_seed(0)

        class Two(t.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, a: Any, k: Any, b: Any) -> Any:
                return a * b * k, a + b

        def shown(grads: Any) -> Any:
            return tuple(None if g is None else g.tolist() for g in grads)

        two = Two()
        two.register_full_backward_pre_hook(lambda m, go: log.append(("pre", shown(go))))
        handle = two.register_full_backward_pre_hook(lambda m, go: (go[0] * 10, go[1]))
        two.register_full_backward_hook(lambda m, gi, go: log.append(("first", shown(gi), shown(go))))
        two.register_full_backward_hook(lambda m, gi, go: (gi[0] + 1, None, gi[2]))
        a, b = t.ones(2, requires_grad=True), t.full((2,), 3.0, requires_grad=True)
        y, z = two(a, 2, b)
        (y.sum() + (z * z).sum()).backward()
        log.append(shown((a.grad, b.grad)))
        handle.remove()
        y, _ = two(a.detach(), 2, b)
        y.sum().backward()
        log.append(shown((b.grad,)))
        net = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.Tanh(), t.nn.Linear(3, 1))
        for i, module in enumerate(net):
            module.register_full_backward_hook(lambda m, gi, go, i=i: log.append((i, gi[0] is None, go[0].shape[1])))
        net(t.ones(4, 2)).sum().backward()
        with t.no_grad():
            net(t.ones(4, 2))

    both(program)


# errors that name lines


def _line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as f:
        return next(i for i, line in enumerate(f, 1) if text in line)


def test_an_overwritten_tensor_is_reported_with_both_lines() -> None:
    x = unspool.ones(2, requires_grad=True)
    y = x.exp()  # the forward line
    y.add_(1)  # the line of the write
    with pytest.raises(RuntimeError, match="exp") as error:
        y.sum().backward()
    text = str(error.value)
    lines = [int(n) for n in re.findall(re.escape(__file__) + r":(\d+)", text)]
    assert lines == [_line_of("# the forward" + " line"), _line_of("# the line of" + " the write")]
    assert "add_" in text


def test_lines_of_layers_are_the_users() -> None:
    layer = unspool.nn.Linear(2, 2)
    y = layer(unspool.ones(1, 2)).sigmoid()
    loss = unspool.nn.functional.mse_loss(y, unspool.ones(1, 2))
    with unspool.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError) as error:
        loss.backward()
    assert str(error.value).count(__file__) == 2


def test_anomaly_mode_names_the_call() -> None:
    x = unspool.zeros(1, requires_grad=True)
    y = unspool.sqrt(x) * 0  # the infinite slope
    with pytest.raises(RuntimeError, match="SqrtBackward0") as error, unspool.autograd.detect_anomaly():
        y.sum().backward()
    assert f"{__file__}:{_line_of('# the infinite' + ' slope')}" in str(error.value)
    assert not unspool.is_anomaly_enabled()


# cycles


def _create_graph(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)
    x.grad.sum().backward()


def _kept_graph(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)


def _hook_captures_output(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g + 0 * y.detach())
    y.sum().backward()


def _hook_captures_gradient(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    (g,) = t.autograd.grad((x * x * x).sum(), x, create_graph=True)
    g.register_hook(lambda h: g * 0 + h)
    g.sum().backward()


def _hook_captures_leaf(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    x.register_hook(lambda g, kept=x: g + 0 * kept.detach())
    (x * x).sum().backward()


def _function_saves_output(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    _EXP.apply(x)


_EXP = _exp(unspool)


@pytest.mark.parametrize(
    "program",
    [
        _create_graph,
        _kept_graph,
        _hook_captures_output,
        _hook_captures_gradient,
        _hook_captures_leaf,
        _function_saves_output,
    ],
)
def test_cycles_are_freed_without_the_collector(program: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(1000):
            program(unspool)
        before = unspool.memory_stats()["live_bytes"]
        for _ in range(10_000):
            program(unspool)
        # what is not collected yet: some hundred rounds of about 2 kB
        assert unspool.memory_stats()["live_bytes"] - before < 1 << 20
    finally:
        gc.enable()


def test_a_hook_lives_as_long_as_its_tensor_is_reached() -> None:
    log: list[float] = []
    kept = []
    for _ in range(600):  # more than one collection of cycles
        x = unspool.ones(1, requires_grad=True)
        y = x * 2
        y.register_hook(lambda g, y=y: log.append(float(y.detach()[0])))
        kept.append((x, y.sum()))
    del x, y
    for x, s in kept:
        s.backward()
        assert float(x.grad[0]) == 2.0
    assert log == [2.0] * 600
