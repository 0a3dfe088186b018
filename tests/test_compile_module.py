"""Frozen forwards with backward outside: the results carry one record, whose backward is frozen, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import LOSSES, MODELS, batch_of, bits
from unspool import nn, optim
from unspool.errors import PlanError


def _trained(freeze: bool, model: str, loss: str, dtype: Any, argument: bool) -> tuple[list[Any], int]:
    unspool.manual_seed(3)
    net = MODELS[model]().to(dtype)
    criterion, kind = LOSSES[loss]
    opt = optim.Adam(net.parameters(), lr=0.01)
    run = unspool.compile(net) if freeze else net
    seen: list[Any] = []
    for i in range(6):
        x, y = batch_of(kind, dtype)
        x.requires_grad_(argument)
        if i % 2:
            opt.zero_grad()  # in between gradients are added to those that are there
        out = run(x)
        value = criterion(out, y)
        value.backward()
        opt.step()
        seen += [bits(out), bits(value), *(None if p.grad is None else bits(p.grad) for p in net.parameters())]
        seen += [bits(x.grad)] if argument and x.grad is not None else []
    seen += [bits(t) for t in (*net.parameters(), *net.buffers())]
    return [*seen, bits(unspool.rand(3))], run.plans if freeze else 1


@pytest.mark.parametrize("argument", [False, True], ids=["plain", "argument"])
@pytest.mark.parametrize("model", [m for m in MODELS if m not in ("embedding",)])
def test_every_model_has_the_bits_of_the_eager_one(model: str, argument: bool) -> None:
    expected, _ = _trained(False, model, "mse", unspool.float32, argument)
    seen, plans = _trained(True, model, "mse", unspool.float32, argument)
    assert plans == 1
    assert seen == expected


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_outside(loss: str) -> None:
    expected, _ = _trained(False, "three layers", loss, unspool.float64, True)
    seen, plans = _trained(True, "three layers", loss, unspool.float64, True)
    assert plans == 1
    assert seen == expected


# Of every layer and loss, by name: what it is made with, and the shapes of its arguments, or what kind they are.
_ONE: list[Any] = [(3, 4)]
_MADE: dict[str, tuple[tuple[Any, ...], list[Any]]] = {
    "Linear": ((4, 3), _ONE),
    "LazyLinear": ((3,), _ONE),
    "Bilinear": ((4, 5, 3), [(2, 4), (2, 5)]),
    "Embedding": ((7, 3), ["index"]),
    "EmbeddingBag": ((7, 3), ["indices"]),
    "LayerNorm": ((4,), _ONE),
    "RMSNorm": ((4,), _ONE),
    "GroupNorm": ((2, 4), _ONE),
    "BatchNorm1d": ((4,), _ONE),
    "BatchNorm2d": ((2,), [(3, 2, 4, 4)]),
    "BatchNorm3d": ((2,), [(3, 2, 2, 2, 2)]),
    "InstanceNorm1d": ((3,), [(2, 3, 4)]),
    "InstanceNorm2d": ((2,), [(3, 2, 4, 4)]),
    "InstanceNorm3d": ((2,), [(3, 2, 2, 2, 2)]),
    "LocalResponseNorm": ((2,), [(2, 4, 3)]),
    "MultiheadAttention": ((4, 2), [(3, 2, 4)] * 3),
    "Transformer": ((8, 2, 1, 1, 16), [(3, 2, 8), (2, 2, 8)]),
    "TransformerEncoderLayer": ((8, 2, 16), [(3, 2, 8)]),
    "TransformerDecoderLayer": ((8, 2, 16), [(3, 2, 8), (2, 2, 8)]),
    "Unflatten": ((1, (2, 2)), _ONE),
    "Threshold": ((0.1, 0.2), _ONE),
    "Softmax": ((1,), _ONE),
    "Softmin": ((1,), _ONE),
    "LogSoftmax": ((1,), _ONE),
    "Softmax2d": ((), [(2, 3, 4, 4)]),
    "PairwiseDistance": ((), _ONE * 2),
    "CosineSimilarity": ((), _ONE * 2),
    "MarginRankingLoss": ((), [(3,), (3,), "signs"]),
    "TripletMarginLoss": ((), _ONE * 3),
    "TripletMarginWithDistanceLoss": ((), _ONE * 3),
    "CosineEmbeddingLoss": ((), [*_ONE * 2, "signs"]),
    "HingeEmbeddingLoss": ((), [(3,), "signs"]),
    "SoftMarginLoss": ((), [(3,), "signs"]),
    "CrossEntropyLoss": ((), [*_ONE, "classes"]),
    "NLLLoss": ((), [*_ONE, "classes"]),
    "MultiMarginLoss": ((), [*_ONE, "classes"]),
    "MultiLabelMarginLoss": ((), [*_ONE, "labels"]),
    "MultiLabelSoftMarginLoss": ((), [*_ONE, "shares"]),
    "BCELoss": ((), ["shares", "shares"]),
    "BCEWithLogitsLoss": ((), [*_ONE, "shares"]),
    "GaussianNLLLoss": ((), [*_ONE * 2, "shares"]),
    "PoissonNLLLoss": ((), [*_ONE, "shares"]),
    "KLDivLoss": ((), [*_ONE, "shares"]),
    "CTCLoss": ((), [(6, 3, 4), "spelled", "frames", "letters"]),
    **{f"{kind}Pad1d": ((1,), [(2, 3, 4)]) for kind in ("Circular", "Reflection", "Replication", "Zero")},
    **{f"{kind}Pad2d": ((1,), [(1, 2, 4, 4)]) for kind in ("Circular", "Reflection", "Replication", "Zero")},
    **{f"{kind}Pad3d": ((1,), [(1, 1, 3, 3, 3)]) for kind in ("Circular", "Reflection", "Replication", "Zero")},
    **{f"ConstantPad{n}d": ((1, 0.5), [(1, 2, *[3] * n)]) for n in (1, 2, 3)},
    **{f"{kind}{n}d": ((2, 4, 3), [(2, 2, *[4] * n)]) for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"{kind}Pool{n}d": ((2,), [(2, 2, *[4] * n)]) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": ((3,), [(2, 2, *[4] * n)]) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"LPPool{n}d": ((2, 2), [(2, 2, *[4] * n)]) for n in (1, 2, 3)},
    **{f"MaxUnpool{n}d": ((2,), [(1, 2, *[2] * n), f"places {n}"]) for n in (1, 2, 3)},
    **{f"Lazy{kind}{n}d": ((4, 3), [(2, 2, *[4] * n)]) for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"Lazy{kind}Norm{n}d": ((), [(2, 2, *[4] * n)]) for kind in ("Batch", "Instance") for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": ((2, 2), [(2, 2, *[4] * n)]) for n in (2, 3)},
    "ChannelShuffle": ((2,), [(1, 4, 2, 2)]),
    "Fold": ((4, 2), [(1, 8, 9)]),
    **{kind: ((5,), [(1, 2, 3, 3)]) for kind in ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d")},
    "PixelShuffle": ((2,), [(1, 4, 2, 2)]),
    "PixelUnshuffle": ((2,), [(1, 1, 4, 4)]),
    "Unfold": ((2,), [(1, 2, 4, 4)]),
    **{kind: ((3, 4), [(3, 2, 3)]) for kind in ("RNN", "LSTM", "GRU")},
    **{f"{kind}Cell": ((3, 4), [(2, 3)]) for kind in ("RNN", "LSTM", "GRU")},
}
# Containers; layers of layers that the others stand for; RReLU, which draws as many numbers as values say; and those
# whose shapes follow from values.
_NOT_MADE = {
    *("Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"),
    *("TransformerDecoder", "TransformerEncoder", "RReLU", "RNNBase", "RNNCellBase", "DataParallel"),
    "AdaptiveLogSoftmaxWithLoss",
}
_LAYERS = sorted(
    name
    for name, layer in vars(nn).items()
    if isinstance(layer, type) and issubclass(layer, nn.Module) and name not in _NOT_MADE
)


def _argument(what: Any) -> Any:
    made: dict[str, Callable[[], Any]] = {
        "index": lambda: unspool.randint(0, 7, (5,)),
        "indices": lambda: unspool.randint(0, 7, (5, 2)),
        "signs": lambda: unspool.randint(0, 2, (3,)) * 2.0 - 1,
        "classes": lambda: unspool.randint(0, 4, (3,)),
        "labels": lambda: unspool.tensor([[1, 0, -1, 2], [3, -1, 0, 0], [0, 1, 2, 3]]),
        "spelled": lambda: unspool.randint(1, 4, (3, 2)),
        "frames": lambda: unspool.randint(4, 7, (3,)),
        "letters": lambda: unspool.randint(0, 3, (3,)),
        "shares": lambda: unspool.rand(3, 4) * 0.9 + 0.05,
        **{f"places {n}": lambda n=n: unspool.randint(0, 4**n, (1, 2, *[2] * n)) for n in (1, 2, 3)},  # type: ignore[misc]
    }
    return made[what]() if isinstance(what, str) else unspool.randn(what).requires_grad_()


def _tensors(result: Any) -> list[Any]:
    if unspool.is_tensor(result):
        return [result]
    return [t for part in result for t in _tensors(part)] if isinstance(result, (tuple, list)) else []


@pytest.mark.filterwarnings("ignore:kl_div", "ignore:.*batch_first", "ignore:dropout")
@pytest.mark.parametrize("name", _LAYERS)
def test_every_layer_and_loss_that_exists(name: str) -> None:
    arguments, kinds = _MADE.get(name, ((), _ONE * (2 if name.endswith("Loss") else 1)))
    layer = getattr(nn, name)(*arguments)
    layer(*map(_argument, kinds))  # lazy ones are made
    frozen = unspool.compile(layer)
    for seed in range(4):
        seen = []
        before = [b.clone() for b in layer.buffers()]
        for call in (layer, frozen):
            with unspool.no_grad():
                for b, kept in zip(layer.buffers(), before, strict=True):
                    b.copy_(kept)
            layer.zero_grad()
            unspool.manual_seed(seed)
            xs = [_argument(kind) for kind in kinds]
            outs = _tensors(call(*xs))
            loss: Any = sum((o * o).sum() for o in outs if o.is_floating_point())
            if loss.requires_grad:
                loss.backward()
            seen.append([*outs, *(p.grad for p in layer.parameters()), *(x.grad for x in xs), *layer.buffers()])
            seen[-1] = [None if t is None else bits(t) for t in seen[-1]]
        assert seen[0] == seen[1]
    assert frozen.plans == 1


def _layer(freeze: bool, function: Callable[[Any], Any], n: int = 4) -> tuple[Any, Any]:
    unspool.manual_seed(1)
    layer = nn.Linear(3, 3)
    call = (lambda x: function(layer(x))) if function else layer
    frozen = unspool.compile(call) if freeze else call
    if freeze:
        for _ in range(2):
            frozen(unspool.randn(n, 3))
        assert frozen.plans == 1
    return layer, frozen


def test_forwards_may_be_many_before_their_backwards() -> None:
    xs = [unspool.randn(4, 3) for _ in range(3)]
    grads = []
    for freeze in (False, True):
        layer, f = _layer(freeze, unspool.tanh)
        outs = [f(x) for x in xs]
        for i in (1, 0, 2):
            (outs[i] * (i + 1)).sum().backward()
        grads.append([bits(p.grad) for p in layer.parameters()] + [bits(o) for o in outs])
    assert grads[0] == grads[1]


def test_backward_a_second_time() -> None:
    layer, f = _layer(True, unspool.tanh)
    out = f(unspool.ones(4, 3)).sum()
    out.backward(retain_graph=True)
    once = layer.weight.grad.clone()
    out.backward()
    assert layer.weight.grad.tolist() == (once + once).tolist()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.backward()


def test_what_backward_reads_may_not_be_written() -> None:
    layer, f = _layer(True, unspool.tanh)
    for write, fails in ((layer.weight, False), (layer.bias, False)):
        out = f(unspool.ones(4, 3))
        with unspool.no_grad():
            write.add_(1)
        if not fails:
            out.sum().backward()  # neither is read: x needs no gradient
    x = unspool.ones(4, 3, requires_grad=True)
    for _ in range(2):
        f(x).sum().backward()
    out = f(x)
    with unspool.no_grad():
        layer.bias.add_(1)
    out.sum().backward()
    out = f(x)
    with unspool.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    out = f(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.mul_(2).sum().backward()
    assert f(x).requires_grad


def test_double_backward_is_refused_clearly() -> None:
    layer, f = _layer(True, unspool.tanh)
    with pytest.raises(RuntimeError, match="no derivative of its own"):
        unspool.autograd.grad(f(unspool.ones(4, 3)).sum(), [layer.weight], create_graph=True)


def test_several_results_of_which_some_have_a_history() -> None:
    def function(y: Any) -> Any:
        return {"a": unspool.tanh(y), "b": [y.detach() * 2, y.sum()], "n": 3, "none": None}

    seen = []
    for freeze in (False, True):
        layer, f = _layer(freeze, function)
        x = unspool.arange(12.0).reshape(4, 3)
        got = f(x)
        assert (got["n"], got["none"]) == (3, None)
        assert [t.requires_grad for t in (got["a"], *got["b"])] == [True, False, True]
        (got["b"][1] * 2).backward(retain_graph=True)
        one = [bits(p.grad) for p in layer.parameters()]
        got["a"].sum().backward()
        seen.append([one, [bits(p.grad) for p in layer.parameters()], bits(got["a"]), *map(bits, got["b"])])
    assert seen[0] == seen[1]


def test_views_arguments_and_parameters_as_results() -> None:
    layer = nn.Linear(3, 3)
    seen = []
    for freeze in (False, True):
        layer.zero_grad()
        call = lambda x: (layer(x).t()[1:], x, layer.weight * 1)  # noqa: E731
        f = unspool.compile(call) if freeze else call
        for i in range(4):
            x = unspool.ones(2, 3) * i
            y, same, w = f(x)
            assert same.tolist() == x.tolist()
            (y.sum() + w.sum() * i).backward()
            seen.append([y.tolist(), w.tolist(), layer.weight.grad.tolist()])
    assert seen[:4] == seen[4:]


def test_guards() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    frozen = unspool.compile(net)
    x = unspool.ones(2, 3)
    for _ in range(3):
        frozen(x).sum().backward()
    assert frozen.plans == 1
    net[0].weight.requires_grad_(False)
    net.zero_grad()
    for _ in range(3):
        frozen(x).sum().backward()
    assert (frozen.plans, net[0].weight.grad) == (2, None)
    net[0].weight.requires_grad_(True)
    frozen.eval()
    assert not net[1].training
    for _ in range(3):
        assert bits(frozen(x)) == bits(net(x))
    assert frozen.plans == 3
    with unspool.no_grad():
        assert not any(frozen(x).requires_grad for _ in range(3))
    net[0].weight = nn.Parameter(unspool.zeros(3, 3))
    assert frozen(x).tolist() == net(x).tolist()
    handle = net[0].weight.register_hook(lambda g: g * 0 + 7)
    for _ in range(4):  # recorded with the hook, which is not part of the plan
        net.zero_grad()
        frozen(x).sum().backward()
        assert net[0].weight.grad.unique().tolist() == [7.0]
    handle.remove()
    net.zero_grad()
    frozen(x).sum().backward()
    assert 7.0 not in net[0].weight.grad.unique().tolist()


def test_a_hook_on_a_parameter_sees_the_gradient() -> None:
    layer, f = _layer(True, unspool.tanh)
    layer.weight.register_hook(lambda g: g * 0 + 7)
    f(unspool.ones(4, 3)).sum().backward()
    assert layer.weight.grad.unique().tolist() == [7.0]


def test_the_data_of_a_parameter_moves() -> None:
    layer, f = _layer(True, unspool.tanh)
    x = unspool.randn(4, 3, requires_grad=True)
    for _ in range(3):
        f(x)
    out = f(x)
    layer.weight.data = layer.weight.data.clone()
    with pytest.raises(RuntimeError, match="needed for gradient computation"):
        out.sum().backward()
    for _ in range(3):  # recorded anew
        assert bits(f(x)) == bits(unspool.tanh(layer(x)))


def test_it_acts_as_the_module() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    frozen = unspool.compile(net)
    assert isinstance(frozen, nn.Module)
    assert frozen._orig_mod is net
    assert [id(p) for p in frozen.parameters()] == [id(p) for p in net.parameters()]
    assert list(frozen.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]  # as torch.compile names them
    assert (
        frozen[0] is net[0] if hasattr(type(frozen), "__getitem__") else frozen.get_submodule("_orig_mod.0") is net[0]
    )
    assert "Sequential" in repr(frozen)
    assert frozen.training
    assert not frozen.eval().training
    with pytest.raises(AttributeError, match="nothing"):
        _ = frozen.nothing


def test_a_loss_function_with_its_history() -> None:
    seen = []
    for freeze in (False, True):
        unspool.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        opt = optim.SGD(net.parameters(), lr=0.1)

        def loss(x: Any, y: Any, net: Any = net) -> Any:
            return F.cross_entropy(net(x), y)

        f = unspool.compile(loss) if freeze else loss
        for _ in range(5):
            value = f(unspool.randn(6, 3), unspool.randint(0, 2, (6,)))
            opt.zero_grad()
            value.backward()
            opt.step()
            seen.append(bits(value))
        seen += map(bits, net.parameters())
        if freeze:
            assert f.plans == 1
            with pytest.raises(IndexError, match="out of bounds"):
                f(unspool.randn(6, 3), unspool.full((6,), 9))
    half = len(seen) // 2
    assert seen[:half] == seen[half:]


def test_what_has_a_history_and_sets_gradients_is_refused() -> None:
    layer = nn.Linear(2, 2)

    def step(x: Any) -> Any:
        y = layer(x)
        y.sum().backward(retain_graph=True)
        return y

    with pytest.raises(PlanError, match="reads or sets gradients, too"):
        unspool.compile(step)(unspool.ones(2))


def test_a_graph_before_the_argument_goes_on() -> None:
    seen = []
    for freeze in (False, True):
        unspool.manual_seed(0)
        first, second = nn.Linear(3, 4), nn.Linear(4, 2)
        f = unspool.compile(second) if freeze else second
        for _ in range(4):
            first.zero_grad()
            second.zero_grad()
            f(first(unspool.randn(5, 3)).tanh()).square().sum().backward()
            seen.append([bits(p.grad) for p in (*first.parameters(), *second.parameters())])
    assert seen[:4] == seen[4:]


def test_the_arguments_of_pytorchs_compiler() -> None:
    layer = nn.Linear(2, 1)
    assert unspool.compile(layer, disable=True) is layer
    frozen = unspool.compile(layer, mode="max-autotune", backend="inductor", fullgraph=True, dynamic=False)
    x = unspool.ones(3, 2)
    for _ in range(3):
        assert bits(frozen(x)) == bits(layer(x))
