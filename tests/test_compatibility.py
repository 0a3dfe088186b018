"""Names that PyTorch's programs lean on and that hold little here: old tensor types, Variable, cuda, backends."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference")

_TYPES = ("BoolTensor", "ByteTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor")


@pytest.mark.parametrize("name", _TYPES)
def test_old_tensor_types(name: str) -> None:
    def seen(t: Any) -> list[Any]:
        kind = getattr(t, name)
        values = [
            kind([1, 0]),
            kind([[1, 2], [3, 4]]),
            kind((2, 3)),
            kind(range(3)),
            kind(np.ones(2, kind(1).numpy().dtype)),
        ]
        shapes = [kind(2, 3), kind(), kind(4), kind(t.Size([1, 2]))]
        others = [t.ones(2).type(kind), t.ones(2, dtype=t.int64).type(kind)]
        return [
            *map(repr, values + others),
            *[(tuple(x.shape), str(x.dtype)) for x in shapes],
            [isinstance(x, getattr(t, other)) for x, other in itertools.product(values[:1], _TYPES)],
            isinstance(3, kind),
            kind.__name__,
        ]

    assert seen(unspool) == seen(torch)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.FloatTensor(3.5),
        lambda t: t.FloatTensor("a"),
        lambda t: t.FloatTensor(t.ones(2, dtype=t.int64)),
        lambda t: t.ByteTensor([300]),
        lambda t: t.FloatTensor(-1),
        lambda t: t.autograd.Variable([1.0]),
    ],
)
def test_what_old_types_refuse(call: Any) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)) as theirs:
        call(torch)
    with pytest.raises(theirs.type):
        call(unspool)


def test_variable_makes_leaves_that_share_memory() -> None:
    x = unspool.ones(3, requires_grad=True)
    y = x * 2
    v = unspool.autograd.Variable(y)
    w = unspool.autograd.Variable(y, requires_grad=True)
    assert (v.requires_grad, v.grad_fn, w.requires_grad, w.is_leaf) == (False, None, True, True)
    assert v.data_ptr() == y.data_ptr() == w.data_ptr()
    assert isinstance(x, unspool.autograd.Variable)
    assert not isinstance(3, unspool.autograd.Variable)
    assert type(v) is unspool.Tensor


def test_there_is_no_gpu() -> None:
    for path in ("cuda.is_available", "cuda.device_count", "backends.mps.is_available", "backends.cudnn.is_available"):
        ours: Any = unspool
        for part in path.split("."):
            ours = getattr(ours, part)
        assert not ours()
    for name in (
        "accelerator.is_available",
        "accelerator.current_accelerator",
        "cuda.memory_allocated",
        "cuda.max_memory_allocated",
        "cuda.is_bf16_supported",
        "xpu.is_available",
        "compiler.is_compiling",
    ):
        ours, theirs = unspool, torch
        for part in name.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        assert ours() == theirs(), name
    assert unspool.version.cuda is torch.version.cuda is None
    unspool.backends.cudnn.deterministic = True
    unspool.cuda.manual_seed_all(1)
    with pytest.raises(RuntimeError, match=r"cuda.current_device: there is no CUDA device"):
        unspool.cuda.current_device()


@pytest.mark.filterwarnings("ignore")  # that there is no GPU, and that a name is old
def test_mixed_precision_for_a_gpu_is_off() -> None:
    def trained(t: Any) -> list[Any]:
        t.manual_seed(0)
        model = t.nn.Linear(3, 1)
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        seen: list[Any] = []
        for scaler in (t.amp.GradScaler("cuda"), t.GradScaler(enabled=False), t.cuda.amp.GradScaler()):
            for scope in (t.autocast("cuda"), t.autocast(device_type="cpu", enabled=False), t.cuda.amp.autocast()):
                with scope:
                    loss = model(t.ones(2, 3)).square().mean()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
                seen += [f"{loss.item():.4f}", str(loss.dtype)]
            scaler.load_state_dict(scaler.state_dict())
            seen += [scaler.get_scale(), scaler.is_enabled(), scaler.state_dict()]
        return [*seen, t.autocast("cuda")(lambda x: x + 1)(3)]

    assert trained(unspool) == trained(torch)


def test_autocast_refuses_what_it_does_not_know() -> None:
    with pytest.warns(UserWarning, match="float32 is not supported"):
        assert not unspool.autocast("cpu", dtype=unspool.float32)._enabled
    with pytest.raises(AssertionError, match="growth"):
        unspool.amp.GradScaler("cpu", growth_factor=0.5)
    with pytest.warns(UserWarning, match="cuda is not available"):
        unspool.autocast("cuda")
    for bad in ("tpu", 3):
        with pytest.raises((RuntimeError, ValueError)) as theirs:
            torch.autocast(bad)
        with pytest.raises(theirs.type):
            unspool.autocast(bad)


def test_autocast_is_this_threads_and_is_left_by_an_exception() -> None:
    seen: list[Any] = []

    def ask() -> None:
        seen.append((unspool.ones(2, 2) @ unspool.ones(2, 2)).dtype)

    def inside() -> None:
        with unspool.autocast("cpu"):
            other = threading.Thread(target=ask)
            other.start()
            other.join()
            ask()
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    ask()
    assert seen == [unspool.float32, unspool.bfloat16, unspool.float32]


_COMPARED: list[Any] = [
    lambda t: (t.tensor([1.0, 2.0, 3.0]), t.tensor([1.0, 2.5, 7.0])),
    lambda t: (t.tensor([[1.0, float("nan")]]), t.tensor([[1.0, float("nan")]])),
    lambda t: (t.tensor([[1, 2], [3, 4]]), t.tensor([[1, 2], [3, 9]])),
    lambda t: (t.tensor([True, False]), t.tensor([True, True])),
    lambda t: (t.ones(2, dtype=t.float64), t.ones(2)),
    lambda t: (t.ones(2), t.ones(3)),
    lambda t: (t.tensor(1.0), t.tensor(2.0)),
    lambda t: (t.tensor(1), t.tensor(0)),
    lambda t: (1.0, 1.5),
    lambda t: (3, 4),
    lambda t: (True, False),
    lambda t: (None, 3),
    lambda t: ({"a": t.ones(2), "b": [t.ones(1), t.zeros(1)]}, {"a": t.ones(2), "b": [t.ones(1), t.ones(1)]}),
    lambda t: (t.ones(2), 1.0),
    lambda t: (np.ones(2), t.ones(2)),
    lambda t: (np.ones(2), np.zeros(2)),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0 + 1e-6, 2.0])),
    lambda t: ([1.0, (2, None)], [1.0 + 1e-9, (2, None)]),
]


@pytest.mark.parametrize("pair", _COMPARED)
@pytest.mark.parametrize(
    "options",
    [{}, {"rtol": 0, "atol": 0}, {"rtol": 0.1, "atol": 0.5}, {"equal_nan": True}, {"msg": "so"},
     {"check_dtype": False}, {"msg": lambda text: f"no: {text}"}],
)  # fmt: skip
def test_assert_close_says_what_pytorch_says(pair: Any, options: Any) -> None:
    def outcome(t: Any) -> Any:
        try:
            return t.testing.assert_close(*pair(t), **options)
        except TypeError as e:
            return type(e)
        except (AssertionError, ValueError) as e:
            return type(e), str(e)

    assert outcome(unspool) == outcome(torch)


@pytest.mark.parametrize("pair", [({"a": 1}, {"b": 1}), ([1, 2], [1, 2, 3])])
def test_containers_of_another_form_are_not_close(pair: Any) -> None:
    with pytest.raises(AssertionError) as theirs:
        torch.testing.assert_close(*pair)
    with pytest.raises(AssertionError) as ours:
        unspool.testing.assert_close(*pair)
    assert str(ours.value) == str(theirs.value)


def test_one_tolerance_is_not_enough() -> None:
    with pytest.raises(ValueError, match="but got no atol"):
        unspool.testing.assert_close(1.0, 1.0, rtol=0.1)


def test_a_recorded_call_has_a_type_of_its_own() -> None:
    class Twice(unspool.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    def walk(fn: Any) -> list[str]:
        names, queue = [], [fn]
        while queue:
            fn = queue.pop()
            names.append(type(fn).__name__)
            queue += [f for f, _ in fn.next_functions if f is not None]
        return names

    def program(t: Any) -> Any:
        x = t.ones(2, 2, requires_grad=True)
        return ((x @ x).relu().sum(0) + x[0]).mean().grad_fn

    assert walk(program(unspool)) == walk(program(torch))
    x = unspool.ones(2, requires_grad=True)
    assert type((x * x).grad_fn) is type((x * 3).grad_fn)
    assert repr((x * x).grad_fn).startswith("<MulBackward0 object at 0x")
    made = Twice.apply(x).grad_fn
    assert type(made).__name__ == made.name() == "TwiceBackward"
    assert repr(made).startswith("<torch.autograd.function.TwiceBackward object at 0x")
    assert isinstance(made, type((x + 1).grad_fn).__base__)
    assert made == Twice.apply(x).grad_fn or made != (x + 1).grad_fn


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (2, 3, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    def drawn(t: Any) -> np.ndarray:
        t.manual_seed(3)
        w = t.empty(*shape, requires_grad=True)
        assert t.nn.init.orthogonal_(w, gain=1.5) is w
        return w.detach().numpy()

    ours = drawn(unspool)
    np.testing.assert_allclose(ours, drawn(torch), atol=2e-6)
    flat = ours.reshape(shape[0], -1)
    gram = flat @ flat.T if shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(gram, 2.25 * np.eye(len(gram)), atol=1e-5)
    with pytest.raises(ValueError, match="orthogonal_: the tensor needs 2 or more dimensions"):
        unspool.nn.init.orthogonal_(unspool.empty(3))


def test_sparse() -> None:
    def drawn(t: Any) -> list[Any]:
        t.manual_seed(3)
        return t.nn.init.sparse_(t.empty(7, 4), sparsity=0.4, std=0.5).tolist()

    assert drawn(unspool) == drawn(torch)
    with pytest.raises(ValueError, match="sparse_: the tensor must have 2 dimensions"):
        unspool.nn.init.sparse_(unspool.empty(3), 0.1)


def test_products_with_hessians() -> None:
    def products(t: Any) -> list[np.ndarray]:
        f = t.autograd.functional
        a = t.tensor([0.3, -1.2], dtype=t.float64)
        b = t.tensor([[1.0, 2.0]], dtype=t.float64)
        va, vb = t.tensor([1.0, 0.5], dtype=t.float64), t.tensor([[-1.0, 3.0]], dtype=t.float64)

        def fn(a: Any, b: Any) -> Any:
            return (a.sin() * b.exp()).sum() + (a**3).sum()

        out = []
        for op in (f.hvp, f.vhp):
            value, (pa, pb) = op(fn, (a, b), (va, vb))
            out += [value.numpy(), pa.numpy(), pb.numpy()]
            out.append(op(lambda a: a.pow(4).sum(), a, va)[1].numpy())
        leaf = a.clone().requires_grad_()
        f.hvp(lambda a: a.pow(4).sum(), leaf, va, create_graph=True)[1].sum().backward()
        return [*out, leaf.grad.numpy()]

    for ours, theirs in zip(products(unspool), products(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    with pytest.raises(RuntimeError, match="vhp: the function must return one tensor of one element"):
        unspool.autograd.functional.hvp(lambda a: a * 2, unspool.ones(2), unspool.ones(2))


@pytest.mark.parametrize("replacement", [True, False])
def test_weighted_sampler(replacement: bool) -> None:
    def drawn(t: Any) -> list[Any]:
        t.manual_seed(4)
        Sampler = t.utils.data.WeightedRandomSampler
        weights = [0.1, 3.0, 0.0, 1.0, 0.5]
        g = t.Generator().manual_seed(9)
        first = Sampler(weights, 4, replacement)
        return [list(first), list(first), len(first), list(Sampler(t.tensor(weights), 3, replacement, g))]

    assert drawn(unspool) == drawn(torch)


@pytest.mark.parametrize("bad", [{"num_samples": 0}, {"num_samples": True}, {"replacement": 1}, {"weights": [[1.0]]}])
def test_weighted_sampler_refuses(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        unspool.utils.data.WeightedRandomSampler(**({"weights": [1.0, 2.0], "num_samples": 2} | bad))


def test_only_inputs_is_taken_and_changes_nothing() -> None:
    x = unspool.ones(2, requires_grad=True)
    (g,) = unspool.autograd.grad((x * 3).sum(), x, None, False, False, True, True)
    assert g.tolist() == [3.0, 3.0]
    with pytest.warns(FutureWarning, match="only_inputs"):
        unspool.autograd.grad((x * 3).sum(), x, only_inputs=False)


def test_a_plain_dict_of_parameters_is_sorted() -> None:
    def keys(t: Any) -> list[str]:
        p = {"b": t.nn.Parameter(t.ones(1)), "a": t.nn.Parameter(t.zeros(2))}
        return [*t.nn.ParameterDict(p), *t.nn.ParameterDict(list(p.items()))]

    assert keys(unspool) == keys(torch)
