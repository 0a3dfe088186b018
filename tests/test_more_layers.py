"""Layers of the second row beside PyTorch's, and functions that no layer wraps; `Residual` beside its formula."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn
from beside_torch import agree, behaviour

RNG = np.random.default_rng(2)
X = {d: RNG.normal(size=(4, 6, 3, 2, 2)[:d]).astype("float32") for d in range(1, 6)}
IDS = np.array([[1, 4, 1], [0, 2, 2], [3, 4, 4]])

LAYERS: list[tuple[Callable[[Any], Any], Any]] = [
    *[
        (lambda nn, name=name, p=p: getattr(nn, name)(p), X[d])
        for p in (0.4, 1.0, 0.0)
        for name, d in (
            ("Dropout1d", 2),
            ("Dropout1d", 3),
            ("Dropout2d", 3),
            ("Dropout2d", 4),
            ("Dropout3d", 4),
            ("Dropout3d", 5),
            ("AlphaDropout", 1),
            ("AlphaDropout", 4),
            ("FeatureAlphaDropout", 2),
            ("FeatureAlphaDropout", 4),
        )
    ],
    (lambda nn: nn.BatchNorm2d(6), X[4]),
    (lambda nn: nn.BatchNorm2d(6, momentum=None, bias=False), X[4]),
    (lambda nn: nn.BatchNorm3d(6, eps=0.1), X[5]),
    (lambda nn: nn.BatchNorm3d(6, affine=False, track_running_stats=False), X[5]),
    (lambda nn: nn.InstanceNorm1d(6), X[3]),
    (lambda nn: nn.InstanceNorm1d(4), X[2]),
    (lambda nn: nn.InstanceNorm1d(6, affine=True, track_running_stats=True), X[3]),
    (lambda nn: nn.InstanceNorm2d(6, affine=True, eps=0.1, momentum=0.3, track_running_stats=True), X[4]),
    (lambda nn: nn.InstanceNorm2d(4, affine=True), X[3]),
    (lambda nn: nn.InstanceNorm3d(6, affine=True, bias=False), X[5]),
    (lambda nn: nn.GroupNorm(1, 6), X[2]),
    (lambda nn: nn.GroupNorm(2, 6), X[4]),
    (lambda nn: nn.GroupNorm(6, 6, affine=False, eps=1e-3), X[4]),
    (lambda nn: nn.GroupNorm(1, 6, bias=False), X[5]),
    (lambda nn: nn.RReLU(), X[3]),
    (lambda nn: nn.RReLU(0.0, 0.9), X[2]),
    (lambda nn: nn.Softmax2d(), X[3]),
    (lambda nn: nn.Softmax2d(), X[4]),
    (lambda nn: nn.Unflatten(1, (2, -1)), X[3]),
    (lambda nn: nn.Unflatten(-2, [2, 3]), X[3]),
    *[
        (lambda nn, name=name, d=d, pads=pads: getattr(nn, f"{name}Pad{d}d")(pads), X[d + extra])
        for name in ("Reflection", "Replication", "Circular", "Zero")
        for d in (1, 2, 3)
        for extra in (1, 2)
        for pads in (1, (1, 0) * d)
    ],
    *[(lambda nn, d=d: getattr(nn, f"ConstantPad{d}d")((1, 2) * d, 0.5), X[d + 2]) for d in (1, 2, 3)],
    (lambda nn: nn.Embedding(5, 3, max_norm=1.0), IDS),
    (lambda nn: nn.Embedding(5, 3, padding_idx=2, max_norm=0.5, norm_type=1.0), IDS),
    (lambda nn: nn.Embedding(5, 3, padding_idx=4, scale_grad_by_freq=True), IDS),
    *[
        (lambda nn, mode=mode, options=options: nn.EmbeddingBag(5, 3, mode=mode, **options), IDS)
        for mode in ("sum", "mean", "max")
        for options in ({}, {"padding_idx": -1}, {"max_norm": 0.7})
    ],
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_a_layer_is_pytorchs(i: int, torch: Any) -> None:
    make, data = LAYERS[i]
    agree(behaviour(unspool, make, data), behaviour(torch, make, data), repr(make(unspool.nn)))


def both(torch: Any, call: Callable[[Any], Any]) -> None:
    """What `call` gives must agree; it is a tensor, or a nest of lists of tensors and plain values."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return value.detach().numpy() if hasattr(value, "detach") else value

    seen = []
    for m in (unspool, torch):
        m.manual_seed(5)
        seen.append(plain(call(m)))
    agree(seen[0], seen[1], "")


def with_gradients(m: Any, fn: Callable[..., Any], *arrays: Any) -> list[Any]:
    """The value, and the first and second gradients by all floating inputs."""
    tensors = [m.tensor(a) for a in arrays]
    wanted = [t.requires_grad_() for t in tensors if t.is_floating_point()]
    y = fn(*tensors)
    weights = m.tensor(np.cos(np.arange(y.numel())).reshape(tuple(y.shape)), dtype=y.dtype)
    first = m.autograd.grad((y * y * weights).sum(), wanted, create_graph=True)
    second = m.autograd.grad(sum((g * g).sum() for g in first), wanted)
    return [y, list(first), list(second)]


Q, K, V = RNG.normal(size=(2, 3, 5, 4)), RNG.normal(size=(2, 3, 7, 4)), RNG.normal(size=(2, 3, 7, 6))
MASK = RNG.uniform(size=(5, 7)) < 0.6
MASK[2] = False
PADS: list[tuple[int, tuple[int, ...], str, float | None]] = [
    *[(d, pads, mode, None) for mode in ("reflect", "replicate", "circular") for d, pads in (
        (2, (1, 2)), (3, (2, 0)), (3, (-1, 2)), (4, (1, 0, 2, 1)), (3, (1, 1, 2, 0)), (5, (1, 1, 0, 1, 1, 0)),
        (4, (1, 0, 0, 1, 2, 0)),
    )],
    *[(d, pads, "constant", value) for value in (None, 0, 2.5) for d, pads in (
        (1, (2, 1)), (2, (1, 0)), (3, (0, 2, -1, 3)), (3, (-2, 0)), (4, (0, 0, -1, -2, 1, 1, 0, 1)), (2, ()),
    )],
]  # fmt: skip
WIDE = {d: RNG.normal(size=(4, 3, 5, 6, 3)[-d:]) for d in range(1, 6)}
FUNCTIONS: list[Callable[[Any], Any]] = [
    *[
        lambda m, case=case: with_gradients(m, lambda x: m.nn.functional.pad(x, *case[1:]), WIDE[case[0]])
        for case in PADS
    ],
    *[
        lambda m, options=options: with_gradients(
            m, lambda q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v, **options(m)), Q, K, V
        )
        for options in (
            lambda m: {},
            lambda m: {"is_causal": True},
            lambda m: {"scale": 0.3},
            lambda m: {"attn_mask": m.tensor(MASK)},
            lambda m: {"attn_mask": m.tensor(Q[0, 0] @ K[0, 0].T), "scale": 2.0},
            lambda m: {"dropout_p": 0.4},
        )
    ],
    lambda m: with_gradients(
        m,
        lambda q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        Q.repeat(2, 1), K, V,
    ),
    *[
        lambda m, hard=hard, dtype=dtype, dim=dim: m.nn.functional.gumbel_softmax(
            m.tensor(Q, dtype=getattr(m, dtype)), 0.7, hard, dim=dim
        )
        for hard in (False, True)
        for dtype in ("float32", "float64")
        for dim in (-1, 1)
    ],
    lambda m: with_gradients(m, lambda x: m.nn.functional.softmin(x, 1), Q),
    lambda m: with_gradients(m, m.nn.functional.bilinear, Q, K[:, :, :5, :3], RNG_W, RNG_B),
    lambda m: with_gradients(m, lambda *a: m.nn.functional.bilinear(*a), Q[0, 0], Q[0, 1], Q[0, :, :4]),
]  # fmt: skip
RNG_W, RNG_B = RNG.normal(size=(2, 4, 3)), RNG.normal(size=2)


@pytest.mark.parametrize("i", range(len(FUNCTIONS)))
def test_a_function_is_pytorchs(i: int, torch: Any) -> None:
    both(torch, FUNCTIONS[i])


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3,)), ((3,), (3,)), ((4, 2, 3), (3,), ()), ((3,), (3,), ()), ((2, 3), (4, 3), (1,)),
        ((5, 2, 3), (4, 3), ()), ((2, 3), (4, 3), (2, 4)), ((2, 3), (4, 3), (2, 1)), ((3,), (4, 3), (1,)),
    ],
)  # fmt: skip
def test_linear_of_a_vector_and_of_other_biases(shapes: Any, torch: Any) -> None:
    arrays = [RNG.normal(size=shape) for shape in shapes]
    both(torch, lambda m: with_gradients(m, m.nn.functional.linear, *arrays))


@pytest.mark.parametrize("shapes", [((2, 3), (4,)), ((2, 3), (4, 3), (3,)), ((3,), (4, 3), (2, 4)), ((), (4, 3))])
def test_linear_names_both_shapes(shapes: Any) -> None:
    with pytest.raises(unspool.ShapeError, match=r"linear: .* has shape .* has shape"):
        unspool.nn.functional.linear(*(unspool.ones(shape) for shape in shapes))


def test_a_hard_gumbel_draw_has_the_soft_gradient(torch: Any) -> None:
    def call(m: Any) -> list[Any]:
        x = m.tensor(Q, requires_grad=True)
        y = m.nn.functional.gumbel_softmax(x, hard=True)
        (y * m.tensor(Q)).sum().backward()
        return [y, x.grad]

    both(torch, call)


IN_PLACE: list[tuple[str, tuple[Any, ...]]] = [
    ("relu_", ()), ("elu_", (0.7,)), ("leaky_relu_", (0.2,)), ("hardtanh_", (-0.5, 0.8)), ("selu_", ()),
    ("celu_", (1.3,)), ("threshold_", (0.1, 2.0)), ("rrelu_", (0.1, 0.3, True)), ("rrelu_", ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), IN_PLACE)
def test_activations_in_place(name: str, args: tuple[Any, ...], torch: Any) -> None:
    def call(m: Any) -> list[Any]:
        x = m.tensor(Q, requires_grad=True)
        y = x * 1
        same = getattr(m.nn.functional, name)(y, *args)
        (same * m.tensor(Q)).sum().backward()
        return [same is y, y, x.grad]

    both(torch, call)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_divide_gradients_by_each_rows_own_frequency(mode: str) -> None:
    """Beside the formula: PyTorch divides by the counts of other rows."""
    grads = []
    for by_freq in (False, True):
        unspool.manual_seed(0)
        bag = unspool.nn.EmbeddingBag(5, 3, mode=mode, scale_grad_by_freq=by_freq)
        (bag(unspool.tensor(IDS)) * unspool.arange(9).reshape(3, 3)).sum().backward()
        grads.append(bag.weight.grad.numpy())
    count = np.bincount(IDS.reshape(-1), minlength=5)[:, None]
    np.testing.assert_allclose(grads[1], grads[0] / count, rtol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
def test_bags_of_any_length(mode: str, last: bool, torch: Any) -> None:
    def call(m: Any) -> list[Any]:
        bag = m.nn.EmbeddingBag(6, 3, mode=mode, include_last_offset=last, padding_idx=3, dtype=m.float64)
        offsets = m.tensor([0, 2, 2, 5, 6])
        weights = m.tensor([0.5, 2.0, -1.0, 3.0, 0.1, 1.0, 0.7, 2.0], dtype=m.float64, requires_grad=True)
        extra = {"per_sample_weights": weights} if mode == "sum" else {}
        y = bag(m.tensor([1, 5, 3, 3, 1, 3, 0, 0]), offsets, **extra)
        (y * m.arange(y.numel()).reshape(y.shape)).sum().backward()
        return [y, bag.weight.grad, *([weights.grad] if mode == "sum" else [])]

    both(torch, call)


def test_bilinear_layer(torch: Any) -> None:
    def call(m: Any) -> list[Any]:
        layer = m.nn.Bilinear(4, 3, 5)
        plain = m.nn.Bilinear(4, 3, 5, bias=False)
        y = layer(m.tensor(X[2][:, :4]), m.tensor(X[2][:, 3:]))
        y.sum().backward()
        return [repr(layer), repr(plain), list(layer.state_dict()), *layer.parameters(), y, layer.weight.grad]

    both(torch, call)


def test_parameter_lists_and_dicts(torch: Any) -> None:
    def call(m: Any) -> list[Any]:
        nn = m.nn
        numbers = nn.ParameterList([m.ones(2), nn.Parameter(m.zeros(3, 1)), 5, "x"])
        numbers += [m.full((1,), 7.0)]
        numbers[0] = m.zeros(2, 2)
        names = nn.ParameterDict({"a": m.ones(2), "n": 3})
        names.update([("b", nn.Parameter(m.zeros(1)))])
        names |= {"z": m.ones(1)}
        joined = names | nn.ParameterDict({"q": m.ones(4)})
        shown = [repr(numbers), repr(numbers[1:]), repr(names), repr(joined), list(names.keys()), list(joined)]
        shown += [list(numbers.state_dict()), list(names.state_dict()), len(numbers), len(names), "a" in names]
        shown += [list(names.values()), [k for k, _ in names.items()], names.get("none", 4), list(reversed(names))]
        shown += [names.setdefault("s", m.ones(2)), names.pop("a"), names.popitem()[0], list(names.copy())]
        shown += [numbers[-1], numbers[-3], [type(p).__name__ for p in numbers], list(names.fromkeys("xy", 1).keys())]
        nested = nn.ParameterDict({"t": nn.ParameterList([m.ones(1)])})
        names.clear()
        return [*shown, repr(nested), list(nested.state_dict()), len(names), list(names.state_dict())]

    both(torch, call)


def test_parameter_containers_are_copied_and_pickled() -> None:
    held = unspool.nn.ParameterDict({"a": unspool.ones(2), "l": unspool.nn.ParameterList([unspool.zeros(1), 3])})
    for other in (copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert repr(other) == repr(held)
        assert other["a"] is not held["a"]
        assert other["l"][1] == 3


def test_a_residual_block_adds_its_input() -> None:
    unspool.manual_seed(0)
    nn, x = unspool.nn, unspool.tensor(X[2])
    plain = nn.Residual(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    assert bool((plain(x) == x + plain.body(x)).all())
    assert list(plain.state_dict()) == ["body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    changed = nn.Residual(OrderedDict(up=nn.Linear(6, 9)), shortcut=nn.Linear(6, 9, bias=False), scale=0.5)
    assert bool((changed(x) == changed.shortcut(x) + 0.5 * changed.body.up(x)).all())
    assert repr(nn.Residual(nn.ReLU(), scale=0.5)) == (
        "Residual(\n  scale=0.5\n  (body): Sequential(\n    (0): ReLU()\n  )\n  (shortcut): None\n)"
    )


def test_a_residual_block_can_learn_its_scale() -> None:
    nn, x = unspool.nn, unspool.tensor(X[2])
    block = nn.Residual(nn.Linear(6, 6), scale=nn.Parameter(unspool.zeros(6)))
    y = block(x)
    assert bool((y == x).all())
    y.sum().backward()
    np.testing.assert_allclose(block.scale.grad.numpy(), block.body(x).sum(0).detach().numpy(), rtol=1e-5)
    assert not block.body[0].weight.grad.any()


def test_a_residual_block_refuses_to_broadcast() -> None:
    block = unspool.nn.Residual(unspool.nn.Linear(6, 1))
    with pytest.raises(unspool.ShapeError, match=r"body gives shape \(4, 1\), the shortcut \(4, 6\)"):
        block(unspool.tensor(X[2]))


BAD: list[tuple[str, Callable[[Any], Any]]] = [
    ("Dropout2d", lambda m: m.nn.Dropout2d(1.5)),
    ("dropout1d", lambda m: m.nn.functional.dropout1d(m.ones(2))),
    ("dropout1d", lambda m: m.nn.functional.dropout1d(m.ones(2, 2), -1.0)),
    ("feature_alpha_dropout", lambda m: m.nn.functional.feature_alpha_dropout(m.ones(2), training=True)),
    ("BatchNorm2d", lambda m: m.nn.BatchNorm2d(4)(m.ones(5, 4))),
    ("InstanceNorm2d", lambda m: m.nn.InstanceNorm2d(4)(m.ones(5, 4))),
    ("InstanceNorm1d", lambda m: m.nn.InstanceNorm1d(4, affine=True)(m.ones(2, 3, 5))),
    ("instance_norm", lambda m: m.nn.InstanceNorm1d(3)(m.ones(2, 3, 1))),
    ("GroupNorm", lambda m: m.nn.GroupNorm(2, 3)),
    ("group_norm", lambda m: m.nn.functional.group_norm(m.ones(2, 3), 2)),
    ("group_norm", lambda m: m.nn.functional.group_norm(m.ones(1, 2), 2)),
    ("group_norm", lambda m: m.nn.functional.group_norm(m.ones(4), 2)),
    ("Softmax2d", lambda m: m.nn.Softmax2d()(m.ones(3, 3))),
    ("Unflatten", lambda m: m.nn.Unflatten(1, 3)),
    ("Unflatten", lambda m: m.nn.Unflatten(1, (2, 3.0))),
    ("Bilinear", lambda m: m.nn.Bilinear(0, 1, 2)),
    ("bilinear", lambda m: m.nn.Bilinear(3, 4, 2)(m.ones(5, 3), m.ones(5, 3))),
    ("bilinear", lambda m: m.nn.Bilinear(3, 4, 2)(m.ones(5, 3), m.ones(4, 4))),
    ("rrelu", lambda m: m.nn.functional.rrelu(m.ones(2), 0.5, 0.1, training=True)),
    ("pad", lambda m: m.nn.functional.pad(m.ones(2, 3), (1,))),
    ("CircularPad2d", lambda m: m.nn.CircularPad2d(1)(m.ones(2, 3))),
    ("pad", lambda m: m.nn.functional.pad(m.ones(3), (1, 1, 1, 1))),
    ("pad", lambda m: m.nn.functional.pad(m.ones(3), (-2, -2))),
    ("pad", lambda m: m.nn.functional.pad(m.ones(3), (1, 1), "wrap")),
    ("pad", lambda m: m.nn.functional.pad(m.ones(3), (1, 1), "reflect")),
    ("pad", lambda m: m.nn.functional.pad(m.ones(2, 3), (3, 0), "reflect")),
    ("pad", lambda m: m.nn.functional.pad(m.ones(2, 3), (4, 0), "circular")),
    ("pad", lambda m: m.nn.functional.pad(m.ones(2, 3), (1, 0), "replicate", 2.0)),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2)(m.tensor([0, 1]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2)(m.tensor([[0, 1]]), m.tensor([0]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2, mode="max", scale_grad_by_freq=True)(m.tensor([[0, 1]]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2)(m.tensor([0, 1]), m.tensor([1]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2)(m.tensor([0, 1]), m.tensor([0, 3]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2, mode="min")(m.tensor([[0, 1]]))),
    ("embedding_bag", lambda m: m.nn.EmbeddingBag(3, 2)(m.tensor([[0]]), per_sample_weights=m.ones(1, 1))),
    ("ParameterList", lambda m: m.nn.ParameterList([m.ones(1)])[1]),
    ("ParameterDict", lambda m: m.nn.ParameterDict([("a",)])),
    ("ParameterDict", lambda m: m.nn.ParameterDict().__setitem__(3, m.ones(1))),
    ("ParameterList", lambda m: m.nn.ParameterList()(m.ones(1))),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_a_bad_call_raises_pytorchs_kind_and_names_the_function(
    name: str, call: Callable[[Any], Any], torch: Any
) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch)
    with pytest.raises(reference.type, match=name):
        call(unspool)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", ["dropout2d", "dropout3d"])
def test_odd_dimensions_warn_as_in_pytorch(name: str, d: int, torch: Any) -> None:
    seen = []
    for m in (unspool, torch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                getattr(m.nn.functional, name)(m.ones((2,) * d), 0.5, True)
                outcome = ""
            except RuntimeError:
                outcome = "refused"
        seen.append((outcome, len(caught)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
def test_dropout_draws_in_the_order_of_memory(order: tuple[int, ...], torch: Any) -> None:
    both(torch, lambda m: m.nn.functional.dropout(m.tensor(X[3]).permute(order), 0.5))
    both(torch, lambda m: m.nn.functional.alpha_dropout(m.tensor(X[3])[:, ::2].permute(order), 0.5, True))
