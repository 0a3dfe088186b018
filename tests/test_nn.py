"""Modules against PyTorch's: names, texts, state, initial values, and refusals that change nothing."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for names, texts and initial values")


class Net(unspool.nn.Module):
    """A module of ours that can be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = unspool.nn.Linear(3, 2)
        self.register_buffer("seen", unspool.zeros(2))

    def forward(self, x: Any) -> Any:
        return self.fc(x) + self.seen


def _custom(t: Any) -> Any:
    nn = t.nn

    class Inner(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3, bias=False)
            self.scale = nn.Parameter(t.ones(3))
            self.register_buffer("mean", t.zeros(3))
            self.register_buffer("scratch", t.zeros(2), persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("absent", None)

        def forward(self, x: Any) -> Any:
            return self.fc(x) * self.scale + self.mean

        def extra_repr(self) -> str:
            return "two\nlines"

    class Outer(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = Inner()
            self.again = self.first
            self.tied = nn.Linear(4, 3, bias=False)
            self.tied.weight = self.first.fc.weight
            self.list = nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 2)])
            self.dict = nn.ModuleDict({"a": nn.Tanh(), "b": nn.Linear(2, 1)})
            self.missing = None

        def forward(self, x: Any) -> Any:
            return self.first(x)

    return Outer()


def _models(t: Any) -> list[Any]:
    nn = t.nn
    return [
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Sequential(),
        nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 5)),
        nn.Sequential(OrderedDict([("first", nn.Linear(2, 2)), ("act", nn.ReLU(inplace=True))])),
        nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()), nn.Identity(), nn.Flatten(), nn.Softmax(dim=1)),
        nn.Sequential(nn.LogSoftmax(1), nn.Tanh(), nn.Softmax()),
        nn.ModuleList(),
        nn.ModuleList([nn.ReLU() for _ in range(3)]),
        nn.ModuleList([nn.Sequential(nn.Linear(1, 1), nn.ReLU()) for _ in range(3)]),
        nn.MSELoss(),
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(weight=t.ones(3), label_smoothing=0.1),
        _custom(t),
    ]


_COUNT = 14


def _pair(i: int, seed: int = 0) -> tuple[Any, Any]:
    made = []
    for t in (unspool, torch):
        t.manual_seed(seed)
        made.append(_models(t)[i])
    return made[0], made[1]


@pytest.mark.parametrize("i", range(_COUNT))
def test_text_names_and_values(i: int) -> None:
    a, b = _pair(i)
    assert repr(a) == repr(b)
    assert list(a.state_dict()) == list(b.state_dict())
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [name for name, _ in getattr(a, walk)()] == [name for name, _ in getattr(b, walk)()], walk
    for walk in ("named_parameters", "named_buffers", "named_modules"):
        ours = [name for name, _ in getattr(a, walk)(prefix="p", remove_duplicate=False)]
        assert ours == [name for name, _ in getattr(b, walk)(prefix="p", remove_duplicate=False)], walk
    for (_, p), (_, q) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert [repr(p) for p in a.parameters(recurse=False)] == [repr(p) for p in b.parameters(recurse=False)]


def test_the_same_state_twice_is_the_same_module() -> None:
    a, b = unspool.nn.Linear(3, 2), unspool.nn.Linear(3, 2)
    assert repr(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    assert a.weight.tolist() == b.weight.tolist()
    assert a.weight is not b.weight
    assert b.weight.requires_grad


def test_state_dict_shares_memory_and_keep_vars_gives_the_parameters() -> None:
    m = unspool.nn.Linear(2, 2)
    state = m.state_dict(prefix="x.")
    assert list(state) == ["x.weight", "x.bias"]
    assert not state["x.weight"].requires_grad
    with unspool.no_grad():
        m.weight.fill_(3.0)
    assert state["x.weight"].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert m.state_dict(keep_vars=True)["weight"] is m.weight


_STATES: list[tuple[str, Any]] = [
    ("missing", lambda t: {"0.weight": t.ones(2, 2)}),
    ("unexpected", lambda t: {"0.weight": t.ones(2, 2), "0.bias": t.ones(2), "1.weight": t.ones(1)}),
    ("misshapen", lambda t: {"0.weight": t.ones(3), "0.bias": t.ones(2)}),
    ("all at once", lambda t: {"0.weight": t.ones(3), "x": t.ones(2)}),
    ("no tensor", lambda t: {"0.weight": 3, "0.bias": t.ones(2)}),
    ("a list", lambda t: []),
    ("nothing", lambda t: {}),
]


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize(("name", "state"), _STATES, ids=[name for name, _ in _STATES])
def test_a_state_that_does_not_fit_changes_nothing(name: str, state: Any, assign: bool) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        torch.nn.Sequential(torch.nn.Linear(2, 2)).load_state_dict(state(torch), assign=assign)
    m = unspool.nn.Sequential(unspool.nn.Linear(2, 2))
    before, held = [p.tolist() for p in m.parameters()], list(m.parameters())
    with pytest.raises(reference.type) as caught:
        m.load_state_dict(state(unspool), assign=assign)
    assert [p.tolist() for p in m.parameters()] == before
    assert all(p is q for p, q in zip(m.parameters(), held, strict=True))
    if reference.type is RuntimeError:
        assert str(caught.value) == str(reference.value)


def test_loading_leniently_and_by_assignment() -> None:
    m = unspool.nn.Linear(2, 2)
    kept = m.bias.tolist()
    result = m.load_state_dict({"weight": unspool.ones(2, 2), "other": unspool.ones(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]
    assert m.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert m.bias.tolist() == kept
    new = unspool.zeros(2, 2)
    m.load_state_dict({"weight": new}, strict=False, assign=True)
    assert isinstance(m.weight, unspool.nn.Parameter)
    new.fill_(4.0)
    assert m.weight.tolist() == [[4.0, 4.0], [4.0, 4.0]]


def test_extra_state_travels() -> None:
    class Counting(unspool.nn.Module):
        count = 1

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    a, b = Counting(), Counting()
    a.count = 7
    assert list(a.state_dict()) == ["_extra_state"]
    b.load_state_dict(a.state_dict())
    assert b.count == 7


_BAD: list[tuple[str, Any]] = [
    ("dot", lambda t, m: m.register_parameter("a.b", t.nn.Parameter(t.ones(1)))),
    ("taken", lambda t, m: m.register_parameter("forward", t.nn.Parameter(t.ones(1)))),
    ("empty name", lambda t, m: m.register_parameter("", t.nn.Parameter(t.ones(1)))),
    ("a tensor", lambda t, m: m.register_parameter("a", t.ones(2))),
    ("name 3", lambda t, m: m.register_parameter(3, None)),
    ("buffer taken", lambda t, m: m.register_buffer("0", t.ones(1))),
    ("buffer 3", lambda t, m: m.register_buffer("a", 3)),
    ("module 3", lambda t, m: m.add_module("x", 3)),
    ("tensor for parameter", lambda t, m: setattr(m[0], "weight", t.ones(2))),
    ("int for module", lambda t, m: setattr(m, "0", 3)),
    ("no attribute", lambda t, m: m.foo),
    ("delete nothing", lambda t, m: delattr(m, "foo")),
    ("no parameter", lambda t, m: m.get_parameter("0.foo")),
    ("parameter of a parameter", lambda t, m: m.get_parameter("0.weight.x")),
    ("no submodule", lambda t, m: m.get_submodule("7")),
    ("no buffer", lambda t, m: m.get_buffer("0.weight")),
    ("to int64", lambda t, m: m.to(t.int64)),
    ("train 3", lambda t, m: m.train(3)),
    ("index", lambda t, m: m[3]),
    ("index of text", lambda t, m: m["0"]),
    ("no forward", lambda t, m: t.nn.Module()(3)),
    ("no input", lambda t, m: m()),
    ("sequence of 3", lambda t, m: t.nn.Sequential(3)),
    ("negative size", lambda t, m: t.nn.Linear(-1, 2)),
    ("fractional size", lambda t, m: t.nn.Linear(2.5, 2)),
    ("arguments", lambda t, m: t.nn.Module(3)),
    ("width", lambda t, m: m(t.ones(1, 7))),
    ("reduction", lambda t, m: t.nn.MSELoss(reduction="x")(t.ones(1), t.ones(1))),
    ("broadcast", lambda t, m: t.nn.functional.mse_loss(t.ones(3), t.ones(3), reduction="avg")),
    ("list of 3", lambda t, m: t.nn.ModuleList([3])),
    ("dict of 3", lambda t, m: t.nn.ModuleDict({"a": 3})),
    ("dict key", lambda t, m: t.nn.ModuleDict({})["a"]),
    ("vector too short", lambda t, m: t.nn.utils.vector_to_parameters(3, m.parameters())),
    ("unknown name", lambda t, m: t.func.functional_call(m, {"9.weight": t.ones(1)}, t.ones(1, 2), strict=True)),
]


@pytest.mark.parametrize(("name", "call"), _BAD, ids=[name for name, _ in _BAD])
def test_bad_input_raises_pytorchs_type(name: str, call: Any) -> None:
    def model(t: Any) -> Any:
        return t.nn.Sequential(t.nn.Linear(2, 2), t.nn.ReLU())

    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch, model(torch))
    m = model(unspool)
    text, before = repr(m), list(m.state_dict())
    with pytest.raises(reference.type) as caught:
        call(unspool, m)
    assert str(caught.value)
    assert repr(m) == text
    assert list(m.state_dict()) == before


def test_assigning_before_init_is_refused() -> None:
    class Early(unspool.nn.Module):
        def __init__(self) -> None:
            self.fc = unspool.nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"before Module\.__init__"):
        Early()


def test_names_move_between_tables() -> None:
    for t in (unspool, torch):
        m = t.nn.Module()
        m.a = 3
        m.a = t.nn.Parameter(t.ones(1))
        assert "a" not in m.__dict__
        assert [n for n, _ in m.named_parameters()] == ["a"]
        with pytest.raises(TypeError):
            m.a = t.nn.ReLU()
        del m.a
        m.a = t.nn.ReLU()
        assert [n for n, _ in m.named_parameters()] == []
        assert [n for n, _ in m.named_children()] == ["a"]
        m.a = None
        assert m.a is None
        del m.a
        m.a = t.ones(2)
        assert list(m.state_dict()) == []
        m.b = t.nn.Buffer(t.ones(2), persistent=False)
        m.c = t.nn.Buffer(t.ones(2))
        m.c = t.zeros(2)
        assert list(m.state_dict()) == ["c"]
        assert [n for n, _ in m.named_buffers()] == ["b", "c"]
        assert "c" in dir(m)


def test_sequential_as_a_list() -> None:
    for t in (unspool, torch):
        nn = t.nn
        m = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
        assert [type(x).__name__ for x in m[1:]] == ["Tanh", "Sigmoid"]
        assert list(m[1:]._modules) == ["1", "2"]
        assert isinstance(m[-1], nn.Sigmoid)
        m.append(nn.Identity()).insert(1, nn.Flatten())
        m.extend([nn.ReLU()])
        m[0] = nn.Tanh()
        del m[2]
        assert [type(x).__name__ for x in m] == ["Tanh", "Flatten", "Sigmoid", "Identity", "ReLU"]
        assert list(m._modules) == ["0", "1", "2", "3", "4"]
        assert len(m) == 5
        assert len(m + nn.Sequential(nn.ReLU())) == 6
        assert isinstance(m.pop(0), nn.Tanh)


def test_modes_apply_and_gradients() -> None:
    m = _custom(unspool)
    assert m.training
    assert not m.eval().first.fc.training
    assert m.train().first.training
    seen: list[str] = []
    m.apply(lambda sub: seen.append(type(sub).__name__))
    other: list[str] = []
    _custom(torch).apply(lambda sub: other.append(type(sub).__name__))
    assert seen == other
    m(unspool.ones(2, 4)).sum().backward()
    assert m.first.scale.grad is not None
    m.zero_grad(set_to_none=False)
    assert m.first.scale.grad.tolist() == [0.0, 0.0, 0.0]
    m.zero_grad()
    assert m.first.scale.grad is None
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())


def test_conversion_keeps_the_parameters_themselves() -> None:
    m = _custom(unspool)
    m.register_buffer("count", unspool.zeros((), dtype=unspool.int64))
    held = list(m.parameters())
    m(unspool.ones(2, 4)).sum().backward()
    assert m.double() is m
    assert all(p is q and p.dtype == unspool.float64 for p, q in zip(m.parameters(), held, strict=True))
    assert m.first.scale.grad.dtype == unspool.float64
    assert m.first.mean.dtype == unspool.float64
    assert m.count.dtype == unspool.int64
    assert m.to("cpu").float().first.scale.dtype == unspool.float32
    with pytest.raises(RuntimeError, match="only the device 'cpu'"):
        m.to("cuda")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_equal(copied: Any) -> None:
    a = Net()
    b = copied(a)
    assert repr(a) == repr(b)
    assert isinstance(b.fc.weight, unspool.nn.Parameter)
    assert b.fc.weight.requires_grad
    assert not b.seen.requires_grad
    assert a.fc.weight.tolist() == b.fc.weight.tolist()
    with unspool.no_grad():
        b.fc.weight.fill_(0.0)
    assert a.fc.weight.tolist() != b.fc.weight.tolist()


def test_tied_parameters_stay_tied_in_a_copy() -> None:
    b = copy.deepcopy(_custom(unspool))
    assert b.tied.weight is b.first.fc.weight
    assert b.again is b.first


def test_deepcopy_of_tensors() -> None:
    x = unspool.ones(2, requires_grad=True)
    x.grad = unspool.ones(2)
    x.note = [1]
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.grad.tolist() == [1.0, 1.0]
    assert y.note == [1]
    assert y.note is not x.note
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_losses_and_functions_agree_with_pytorch() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    labels, weight = rng.integers(0, 4, 6), np.array([1.0, 2.0, 0.5, 1.0], np.float32)
    results = []
    for t in (unspool, torch):
        x, y, k, w = t.tensor(a), t.tensor(b), t.tensor(labels), t.tensor(weight)
        f, nn = t.nn.functional, t.nn
        got = [nn.MSELoss(reduction=r)(x, y) for r in ("mean", "sum", "none")]
        got += [nn.CrossEntropyLoss(weight=w, ignore_index=2, reduction=r)(x, k) for r in ("mean", "sum", "none")]
        got += [nn.CrossEntropyLoss(label_smoothing=0.1)(x, k), f.cross_entropy(x, f.softmax(y, 1))]
        got += [f.relu(x), f.linear(x, y), f.log_softmax(x, dim=1), nn.Flatten(0)(x), nn.Softmax(dim=0)(x)]
        got += [nn.Tanh()(x), nn.Sigmoid()(x), nn.Identity()(x), nn.LogSoftmax(-1)(x)]
        results.append([r.numpy() for r in got])
    for ours, reference in zip(*results, strict=True):
        assert ours.shape == reference.shape
        np.testing.assert_allclose(ours, reference, rtol=2e-6, atol=2e-6)


def test_warnings_of_losses() -> None:
    with pytest.warns(UserWarning, match="broadcast"):
        loss = unspool.nn.functional.mse_loss(unspool.ones(3), unspool.zeros(3, 1))
    assert loss.item() == 1.0
    with pytest.warns(UserWarning, match="broadcast"):
        unspool.nn.MSELoss()(unspool.ones(3), unspool.zeros(3, 1))
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert unspool.nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="dim=1"):
        unspool.nn.Softmax()(unspool.ones(2, 2))


def test_hooks() -> None:
    for t in (unspool, torch):
        m, seen = t.nn.Linear(2, 2), []
        before = m.register_forward_pre_hook(lambda mod, args: (args[0] * 2,))
        after = m.register_forward_hook(lambda mod, args, out, seen=seen: seen.append(args[0].tolist()))
        m(t.ones(1, 2))
        before.remove()
        m(t.ones(1, 2))
        after.remove()
        m(t.ones(1, 2))
        assert seen == [[[2.0, 2.0]], [[1.0, 1.0]]]


def test_clipping_and_vectors() -> None:
    values = []
    for t in (unspool, torch):
        m = t.nn.Linear(2, 2)
        t.nn.utils.vector_to_parameters(t.arange(6, dtype=t.float32), m.parameters())
        (m(t.ones(3, 2)) * t.arange(6, dtype=t.float32).reshape(3, 2)).sum().backward()
        norm = t.nn.utils.clip_grad_norm_(m.parameters(), 2.0)
        clipped = [p.grad.tolist() for p in m.parameters()]
        t.nn.utils.clip_grad_value_(m.parameters(), 0.7)
        flat = t.nn.utils.parameters_to_vector(m.parameters())
        values.append([norm.item(), *np.ravel(clipped[0]), *clipped[1], *flat.tolist()])
        values[-1] += np.ravel(m.weight.grad.tolist()).tolist()
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


def test_a_parameter_can_be_replaced_by_a_tensor_attribute() -> None:
    m = unspool.nn.Linear(2, 2, bias=False)
    del m.weight
    m.weight = unspool.eye(2)
    assert m(unspool.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]
