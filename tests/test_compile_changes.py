"""What changes between calls, beside an eager run of the same program: every change is seen, to the bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import nn, optim
from unspool.errors import PlanError

Call = Callable[[Callable[..., Any]], Any]


def agree(program: Callable[[Call], list[Any]]) -> list[Any]:
    """What the program sees with frozen functions must be what it sees with plain ones; gives the frozen ones."""
    made: list[Any] = []

    def freeze(function: Callable[..., Any]) -> Any:
        made.append(unspool.compile(function))
        return made[-1]

    expected = program(lambda function: function)
    assert program(freeze) == expected
    return made


def _hooked(net: Any, opt: Any) -> None:
    net[0].weight.register_hook(lambda g: g * 2)


def _hooked_twice(net: Any, opt: Any) -> None:
    net.handle.remove()
    net.handle = net[0].weight.register_hook(lambda g: g * 3)


def _popped(net: Any, opt: Any) -> None:
    opt.param_groups[0]["params"].pop()


def _replaced_hook(net: Any, opt: Any) -> None:
    net.module_handle.remove()
    net.module_handle = net[2].register_forward_hook(lambda m, args, y: y * 3)


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "a weight needs no gradient": lambda net, opt: net[0].weight.requires_grad_(False),
    "a layer needs no gradient": lambda net, opt: net[0].requires_grad_(False),
    "a frozen bias thaws": lambda net, opt: net[3].bias.requires_grad_(True),
    "a hook of a tensor": _hooked,
    "another hook of a tensor": _hooked_twice,
    "another hook of a module": _replaced_hook,
    "a parameter leaves the optimizer": _popped,
}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Adagrad"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_training_sees(change: str, optimizer: str) -> None:
    def program(call: Call) -> list[Any]:
        unspool.manual_seed(0)
        net: Any = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
        net[3].bias.requires_grad_(False)
        net.handle = net[0].weight.register_hook(lambda g: g * 0.5)
        net.module_handle = net[2].register_forward_hook(lambda m, args, y: y * 0.5)
        opt = getattr(optim, optimizer)(net.parameters(), lr=0.05)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            opt.step()
            return loss

        run, seen = call(step), []
        for i in range(10):
            if (i in (1, 6) and change != "a parameter leaves the optimizer") or i == 6:
                CHANGES[change](net, opt)
            seen.append(bits(run(unspool.randn(6, 4), unspool.randn(6, 3))))
            seen += [bits(p) for p in net.parameters()] + [bits(p.grad) for p in net.parameters()]
        return seen

    (frozen,) = agree(program)
    assert frozen.plans >= 1


def test_a_branch_that_an_optimizer_takes_off_and_on_within_a_step_is_no_change() -> None:
    """As in adversarial training: another loss must not reach the weights."""

    def program(call: Call) -> list[Any]:
        unspool.manual_seed(0)
        judge, maker = nn.Linear(3, 1), nn.Linear(2, 3)
        opt = optim.SGD([*judge.parameters(), *maker.parameters()], lr=0.1)

        def step(x: Any) -> Any:
            opt.zero_grad()
            judge.requires_grad_(False)
            judge(maker(x)).mean().backward()
            judge.requires_grad_(True)
            loss = judge(maker(x).detach()).square().mean()
            loss.backward()
            opt.step()
            return loss

        run = call(step)
        return [[bits(run(unspool.randn(4, 2))), *map(bits, judge.parameters())] for _ in range(6)]

    assert agree(program)[0].plans == 1


SCALE = 2.0


def _helper(x: Any) -> Any:
    return [x * SCALE for _ in range(2)][1]


class _Object:
    def __init__(self, net: Any) -> None:
        self.net, self.factor = net, 2.0

    def helper(self, x: Any) -> Any:
        return self.net(x) * self.factor * SCALE

    def method(self, x: Any) -> Any:
        return self.helper(x)

    def __call__(self, x: Any) -> Any:
        return self.net(x) * self.factor


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.drop(x) * SCALE


def _with_default(x: Any, scale: float = 2.0) -> Any:
    return x * scale


def _eval(o: _Object) -> None:
    o.net.eval()


def _factor(o: _Object) -> None:
    o.factor = 7.0


def _scale(_: _Object) -> None:
    globals()["SCALE"] = 5.0


def _default(_: _Object) -> None:
    _with_default.__defaults__ = (5.0,)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda o: o, _eval),
        (lambda o: o, _factor),
        (lambda o: o.method, _eval),
        (lambda o: o.method, _factor),
        (lambda o: o.method, _scale),
        (lambda o: functools.partial(lambda net, x: net(x), o.net), _eval),
        (lambda o: functools.partial(_helper), _scale),
        (lambda o: _helper, _scale),
        (lambda o: _with_default, _default),
        (lambda o: o.net, _scale),
        (lambda o: lambda x: o.net(x), _eval),
        (lambda o: lambda x: o.net(x), _scale),
    ],
)
def test_what_functions_and_objects_name(make: Any, change: Any) -> None:
    def program(call: Call) -> list[Any]:
        globals()["SCALE"], _with_default.__defaults__ = 2.0, (2.0,)
        o = _Object(_Layer())
        run, seen = call(make(o)), []
        unspool.manual_seed(0)
        for i in range(9):
            if i == 5:
                change(o)
            seen.append(bits(run(unspool.ones(8) * i)))
        return seen

    assert agree(program)[0].plans == 2


@pytest.mark.parametrize(
    "values",
    [(0.0, -0.0), (float("nan"), float("nan")), (1, 1.0, True), (0j, -0j)],
    ids=["zeros", "NaN", "ones", "complex zeros"],
)
@pytest.mark.parametrize("where", ["argument", "closure", "tuple"])
def test_equal_numbers_that_are_not_the_same(values: tuple[Any, ...], where: str) -> None:
    def program(call: Call) -> list[Any]:
        closed: Any = None

        def function(x: Any, k: Any = None) -> Any:
            k = closed[0] if isinstance(closed, tuple) else closed if k is None else k
            return x * (k.imag if isinstance(k, complex) else k)

        run, seen = call(function), []
        for value in values * 3:
            closed = (value,) if where == "tuple" else value
            for _ in range(3):
                seen.append(bits(run(unspool.ones(2, dtype=unspool.int64), *([value] if where == "argument" else []))))
        return seen

    assert agree(program)[0].plans == len({(type(v), repr(v)) for v in values})


def test_an_argument_that_is_a_tensor_the_function_names() -> None:
    def program(call: Call) -> list[Any]:
        w = unspool.ones(4)

        def function(a: Any) -> Any:
            a.add_(1)
            return w * 2

        run, seen = call(function), []
        for i in range(12):
            x = w if i in (3, 4, 5, 9) else w[:] if i in (6, 10) else unspool.ones(4)
            seen.append((bits(run(x)), bits(x)))
        return seen

    agree(program)


def test_arguments_with_and_without_a_gradient_take_turns() -> None:
    def program(call: Call) -> list[Any]:
        run, seen = call(lambda x: x.exp() * 2), []
        for i in range(8):
            y = run(unspool.full((2,), float(i), requires_grad=i % 2 == 1))
            seen.append((bits(y), y.requires_grad))
        return seen

    assert agree(program)[0].plans == 2


# ---- The order of sums ------------------------------------------------------------------------------------


class _Uses(nn.Module):
    """Its argument and its weight are used several times."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * x.tanh() + self.inner(x * 2)


@pytest.mark.parametrize("residual", [True, False])
def test_gradients_that_come_from_inside_and_outside_are_added_in_the_eager_order(residual: bool) -> None:
    def program(call: Call) -> list[Any]:
        unspool.manual_seed(0)
        layer = _Uses()
        run, w, seen = call(layer), unspool.randn(6, requires_grad=True), []
        for i in range(9):
            if i % 4 == 0:  # else they are added to those that are there
                layer.zero_grad()
                w.grad = None
            x = unspool.randn(5, 6) * w
            y = x.exp() * 0.1 + run(x) if residual else run(run(x))
            y.square().sum().backward()
            seen.append([bits(w.grad), *(bits(p.grad) for p in layer.parameters())])
        return seen

    agree(program)


def test_one_argument_that_is_made_of_another() -> None:
    def program(call: Call) -> list[Any]:
        run, w, seen = call(lambda a, b: a * b + a), unspool.ones(3, requires_grad=True), []
        for i in range(6):
            w.grad = None
            a = w * (i + 1)
            run(a, a.exp()).sum().backward()
            seen.append(bits(w.grad))
        return seen

    agree(program)


# ---- Python that a replay would leave out -------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda held, x: held.append(x),
        lambda held, x: held.pop(),
        lambda held, x: held.reverse(),
        lambda held, x: held.__setitem__(0, x),
    ],
)
def test_a_list_of_tensors_that_the_function_changes(change: Any) -> None:
    held = [unspool.zeros(1), unspool.ones(1)]

    def function(x: Any) -> Any:
        change(held, x)
        return x * 2

    with pytest.raises(PlanError, match="changes which tensors the list held holds"):
        unspool.compile(function)(unspool.ones(2))


@pytest.mark.parametrize("kind", ["list", "dict", "attribute"])
def test_lists_and_dicts_of_tensors_are_seen(kind: str) -> None:
    def program(call: Call) -> list[Any]:
        class Layer(nn.Module):
            weights: Any

            def forward(self, x: Any) -> Any:
                return sum(w * x for w in self.weights)

        layer = Layer()
        held: Any = {} if kind == "dict" else []
        layer.weights = held
        add = (lambda t: held.__setitem__(len(held), t)) if kind == "dict" else held.append
        add(unspool.ones(2))

        def function(x: Any) -> Any:
            return sum(w * x for w in (held.values() if kind == "dict" else held))

        run, seen = call(layer if kind == "attribute" else function), []
        for i in range(12):
            if i == 4:
                held[0] = unspool.ones(2) * 2
            if i == 8:
                add(unspool.ones(2) * 3)
            seen.append(bits(run(unspool.ones(2) * i)))
        return seen

    assert agree(program)[0].plans == 3


def test_a_dict_of_tensors_that_a_method_changes() -> None:
    class Caches:
        def __init__(self) -> None:
            self.cache: dict[str, Any] = {}

        def step(self, x: Any) -> Any:
            self.cache["last"] = x
            return x * 2

    with pytest.raises(PlanError, match="changes which tensors the dict cache holds"):
        unspool.compile(Caches().step)(unspool.ones(2))


@pytest.mark.parametrize("what", ["a schedule's step", "a setting"])
def test_learning_rates_are_set_outside(what: str) -> None:
    w = unspool.ones(2, requires_grad=True)
    opt = optim.SGD([w], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(opt, 100)

    def step(x: Any) -> Any:
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()
        if what == "a setting":
            opt.param_groups[0]["lr"] *= 0.5
        else:
            schedule.step()

    match = "it changes settings of an optimizer" if what == "a setting" else r"lr_scheduler.step at .*_changes\.py"
    with pytest.raises(PlanError, match=match):
        unspool.compile(step)(unspool.ones(2))
    frozen = unspool.compile(step, fallback="eager")
    lr = opt.param_groups[0]["lr"]
    with pytest.warns(UserWarning, match=match):
        _ = [frozen(unspool.ones(2)) for _ in range(3)]
    assert opt.param_groups[0]["lr"] == (lr / 8 if what == "a setting" else lr)


def test_a_generator_is_no_result() -> None:
    def yields(x: Any) -> Any:
        yield x * 2

    with pytest.raises(PlanError, match="returns a generator, which runs once"):
        unspool.compile(yields)(unspool.ones(1))


def test_what_is_frozen_twice_is_frozen_once() -> None:
    frozen = unspool.compile(unspool.compile(lambda x: x * 2))
    assert [frozen(unspool.ones(1) * i).item() for i in range(4)] == [0, 2, 4, 6]
    assert frozen.plans == 1


def test_a_gradient_that_is_returned_is_the_one_that_stays() -> None:
    w = unspool.ones(2, requires_grad=True)

    def function(x: Any) -> Any:
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    frozen = unspool.compile(function)
    for i in range(5):
        g = frozen(unspool.ones(2) * i)
        assert g is w.grad
        assert g.tolist() == [i, i]


def test_data_that_is_moved_between_two_recorded_calls() -> None:
    """Such a call is one of another kind, which is recorded anew: no plan yet, and no refusal."""
    layer = nn.Linear(3, 2)
    frozen = unspool.compile(lambda x: layer(x).detach())
    x = unspool.randn(4, 3)
    for _ in range(5):
        layer.weight.data = unspool.randn(2, 3)
        assert bits(frozen(x)) == bits(layer(x))
        assert frozen.plans == 0
    for _ in range(3):
        assert bits(frozen(x)) == bits(layer(x))
    assert frozen.plans == 1
