"""`init.he_`: each layer gets the gain of what it reads, found by module order or in a forward pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unspool
from models_to_initialise import Conv1d, Failing, Idle, Written, mlp, same, squares, state
from unspool import nn
from unspool.nn import functional as F
from unspool.nn import init

TANH, SILU, GELU = 2.5361754, 2.8107611, 2.3517156


def check(model: Any, expected: dict[str, float], rel: float = 0.05) -> None:
    found = squares(model)
    assert found == {path: pytest.approx(square, rel=rel) for path, square in expected.items()}
    for name, p in model.named_parameters():
        if name.endswith("bias") and "norm" not in name:
            assert not p.any(), name


CASES: list[tuple[str, Any, dict[str, float]]] = [
    ("ReLU: 2 everywhere", lambda: mlp(nn.ReLU(), nn.ReLU()), {"0": 2, "2": 2, "4": 2}),
    ("slopes", lambda: mlp(nn.LeakyReLU(0.5), nn.ReLU()), {"0": 1.6, "2": 1.6, "4": 2}),
    ("the data have no activation", lambda: mlp(nn.Tanh(), nn.Tanh()), {"0": 1, "2": TANH, "4": TANH}),
    ("each its own", lambda: mlp(nn.SELU(), nn.SiLU(), nn.GELU()), {"0": 1, "2": 1, "4": SILU, "6": GELU}),
    ("a mixture", lambda: mlp(nn.ReLU(), nn.Tanh()), {"0": 1, "2": 2, "4": TANH}),
    (
        "what passes numbers on",
        lambda: nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Dropout(), nn.Flatten(), nn.Linear(300, 300)),
        {"0": 1, "4": TANH},
    ),
    (
        "a normalisation comes between",
        lambda: nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.LayerNorm(300), nn.Linear(300, 300)),
        {"0": 1, "3": 1},
    ),
    (
        "before the activation it does not",
        lambda: nn.Sequential(nn.Linear(300, 300), nn.BatchNorm1d(300), nn.Tanh(), nn.Linear(300, 300)),
        {"0": 1, "3": TANH},
    ),
    (
        "two activations are one function",
        lambda: nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Hardtanh(), nn.Linear(300, 300)),
        {"0": 1, "3": 2 / 0.516059},
    ),
    ("no activation", lambda: nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300)), {"0": 1, "1": 1}),
    ("the last layer's own, of one", lambda: nn.Sequential(nn.Linear(300, 300), nn.ReLU()), {"0": 2}),
    ("nested", lambda: nn.Sequential(mlp(nn.Tanh()), nn.ReLU(), mlp()), {"0.0": 1, "0.2": TANH, "2.0": 2}),
    ("an embedding", lambda: nn.Sequential(nn.Embedding(5, 300), nn.Linear(300, 300)), {"1": 1}),
    (
        "branches",
        lambda: nn.Sequential(mlp(), nn.Residual(nn.ReLU(), nn.Linear(300, 300)), nn.Linear(300, 300)),
        {"0.0": 2, "1.body.1": 2, "2": 1},
    ),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_by_order(make: Any, expected: dict[str, float]) -> None:
    unspool.manual_seed(4)
    model = make()
    assert init.he_(model) is model
    check(model, expected)


@pytest.mark.parametrize("make", [case[1] for case in CASES[:-2]], ids=[case[0] for case in CASES[:-2]])
@pytest.mark.parametrize("training", [False, True])
def test_a_batch_tells_the_same_and_changes_no_bit(make: Any, training: bool) -> None:
    batch = unspool.randn(32, 300)
    outcomes = []
    for given in (None, batch):
        unspool.manual_seed(4)
        model = make().train(training)
        before = {name: b.clone().numpy() for name, b in model.named_buffers()}
        unspool.manual_seed(5)
        init.he_(model, given)
        outcomes.append((state(model), unspool.rand(1).item()))
        assert model.training is training
        assert same(before, {name: b.numpy() for name, b in model.named_buffers()})
        assert not any(m.__dict__.get("_forward_hooks") or m.__dict__.get("_hooked") for m in model.modules())
    assert same(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]


def test_a_forward_that_someone_wrote() -> None:
    unspool.manual_seed(0)
    model = Written()
    with pytest.raises(ValueError, match=r"he_: the forward of the model \(Written\) .* batch="):
        init.he_(model)
    with pytest.raises(ValueError, match=r"the forward of module '1' \(Written\)"):
        init.he_(nn.Sequential(nn.ReLU(), Written()))
    init.he_(model, unspool.randn(32, 300))
    check(model, {"first": 1, "middle": SILU, "last": TANH})
    for p in model.parameters():
        p.requires_grad_(False)
    init.he_(model, unspool.randn(32, 300))
    check(model, {"first": 1, "middle": SILU, "last": TANH})


def test_a_wrapped_sequential_needs_no_batch() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = nn.Flatten()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Any) -> Any:
            return self.net(self.flatten(x))

    check(init.he_(Wrapped()), {"net.0": 1, "net.2": TANH})


def test_what_is_unknown_is_measured() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(400, 400) for _ in range(3))

        def forward(self, x: Any) -> Any:
            h = F.leaky_relu(self.a(x), 0.5)
            return self.c(h + 2.0 * self.b(h))

    unspool.manual_seed(0)
    model, x = Net(), unspool.randn(300, 400)
    init.he_(model, x)
    # h has the mean square 1.25 / 2 of x' = a(x); b makes it 1, c reads h + 2 b: 0.625 + 4
    check(model, {"a": 1, "b": 1.6, "c": 1 / (0.625 + 4)})
    with unspool.no_grad():
        assert np.var(model(x).numpy()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("measured", [False, True])
def test_convolutions(measured: bool) -> None:
    unspool.manual_seed(0)
    model = nn.Sequential(Conv1d(40, 60, 5), nn.ReLU(), Conv1d(60, 80, 3))
    x = unspool.randn(50, 40, 20)
    init.he_(model, x if measured else None)
    assert (model[0].weight.detach().numpy() ** 2).mean() == pytest.approx(2 / (40 * 5), rel=0.03)
    assert (model[2].weight.detach().numpy() ** 2).mean() == pytest.approx(2 / (60 * 3), rel=0.03)
    assert not model[0].bias.any()
    assert np.var(model(x).detach().numpy()) == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("sizes", [{}, {"kdim": 96, "vdim": 48}])
@pytest.mark.parametrize("mode", ["fan_in", "fan_avg"])
def test_attention_has_three_fans(sizes: dict[str, int], mode: str) -> None:
    unspool.manual_seed(0)
    model = nn.MultiheadAttention(128, 4, **sizes)
    init.he_(model, mode=mode)
    own = model._parameters
    whole = own["in_proj_weight"]
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    parts = list(whole.chunk(3)) if whole is not None else [own[name] for name in names]
    for weight in (*parts, model.out_proj.weight):
        rows, columns = weight.shape
        fan = columns if mode == "fan_in" else (rows + columns) / 2
        assert np.var(weight.detach().numpy()) * fan == pytest.approx(1.0, rel=0.05)
    assert not model.in_proj_bias.any()
    assert not model.out_proj.bias.any()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_transformers(norm_first: bool, name: str) -> None:
    unspool.manual_seed(0)
    layer = nn.TransformerEncoderLayer(96, 4, 200, activation=name, norm_first=norm_first, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(96))
    gain = {"relu": 2.0, "gelu": GELU}[name]
    expected = {f"layers.{i}.linear{j}": (1.0, gain)[j - 1] for i in (0, 1) for j in (1, 2)}
    for batch in (None, unspool.randn(3, 6, 96)):
        init.he_(model, batch)
        found = squares(model)
        assert {k: v for k, v in found.items() if "linear" in k} == pytest.approx(expected, rel=0.06)
        assert found["layers.1.self_attn.out_proj"] == pytest.approx(1.0, rel=0.06)
    decoder = nn.Transformer(96, 4, 1, 1, 200, activation=name, norm_first=norm_first)
    check_second = {"encoder.layers.0.linear2": gain, "decoder.layers.0.linear2": gain}
    found = squares(init.he_(decoder))
    assert {k: found[k] for k in check_second} == pytest.approx(check_second, rel=0.06)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 300), ("fan_out", 500), ("fan_avg", 400)])
def test_modes_and_distributions(distribution: str, mode: str, fan: int) -> None:
    unspool.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 500), nn.ReLU())
    generator = unspool.Generator().manual_seed(3)
    before = unspool.get_rng_state()
    init.he_(model, mode=mode, distribution=distribution, generator=generator)
    assert (unspool.get_rng_state() == before).all()
    reference = unspool.empty(500, 300)
    filled = getattr(init, f"kaiming_{distribution}_")
    filled(reference, mode=mode, nonlinearity="relu", generator=unspool.Generator().manual_seed(3))
    w = model[0].weight.detach().numpy()
    assert np.var(w) == pytest.approx(2 / fan, rel=0.02)
    np.testing.assert_allclose(w, reference.numpy(), rtol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.SELU, nn.ELU])
def test_the_variance_stays_over_50_layers(activation: Any) -> None:
    """Each seed within a factor 8, as in test_he.py, of what the first layer gives: 2 or, but for ReLUs, 1."""
    x = unspool.randn(16, 400)
    for seed in range(3):
        unspool.manual_seed(seed)
        model = init.he_(mlp(*[activation() for _ in range(50)], width=400))
        with unspool.no_grad():
            first = (model[0](x).numpy() ** 2).mean()
            last = (model(x).numpy() ** 2).mean()
        assert first == pytest.approx(squares(model)["0"], rel=0.15)
        assert 1 / 8 < last / first < 8


def test_shared_layers_are_drawn_once() -> None:
    layer = nn.Linear(300, 300)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.ReLU(), layer)
    unspool.manual_seed(0)
    init.he_(model)
    after = unspool.rand(1).item()
    unspool.manual_seed(0)
    unspool.empty(300, 300).normal_()
    assert unspool.rand(1).item() == after
    assert squares(model)["0"] == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("dtype", [unspool.float64, unspool.bfloat16, unspool.float16])
def test_dtypes(dtype: Any) -> None:
    model = mlp(nn.ReLU(), nn.Tanh()).to(dtype)
    init.he_(model, unspool.randn(8, 300).to(dtype))
    check(model, {"0": 1, "2": 2, "4": TANH})


# --- explain -------------------------------------------------------------------------------------------------------


def explained(capsys: Any, model: Any, *args: Any, **kwargs: Any) -> str:
    init.he_(model, *args, explain=True, **kwargs)
    text: str = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    return text


def test_explanation_of_relu(capsys: Any) -> None:
    text = explained(capsys, nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 50)))
    flowing = " ".join(text.split())
    assert "E[relu(z)²] = σ²/2: hence the 2 in Var W = 2 / D" in flowing
    assert "Var f = D · Var W · E[h²]" in flowing
    assert "He et al. (2015) give it the same 2" in flowing
    rows = [line.split() for line in text.splitlines() if line.startswith(("0", "2"))]
    assert rows == [
        ["0", "the", "data", "100", "200", "2.0000", "2.000e-02"],
        ["2", "relu", "200", "50", "2.0000", "1.000e-02"],
    ]


def test_explanation_of_everything(capsys: Any) -> None:
    deep: Any = nn.Linear(30, 30)
    for _ in range(12):
        deep = nn.Sequential(deep)
    model = nn.Sequential(deep, nn.Tanh(), nn.LayerNorm(30), nn.Linear(30, 40), nn.LeakyReLU(0.2), nn.Linear(40, 30))
    text = explained(capsys, model, mode="fan_avg", distribution="uniform")
    flowing = " ".join(text.split())
    for part in (
        "U(-√(3 Var W), √(3 Var W))",
        "Var W = 4 / (D + D')",
        "(1² + 0.2²)/2 σ² = 0.52 σ²: hence gain² = 2 / 1.04 = 1.92308",
        "variance 1: what a normalisation",
        "E[x²] = 1 is taken for granted",
        "leaky_relu",
    ):
        assert part in flowing, part
    assert "E[tanh" not in text  # nothing reads it
    text = explained(capsys, Written(), unspool.randn(4, 300))
    assert "E[tanh(z)²] = 0.394294 for z ~ N(0, 1), by numerical integration" in " ".join(text.split())
    text = explained(capsys, nn.Sequential(nn.Residual(nn.Linear(4, 4)), nn.Linear(4, 4)))
    assert "a residual block adds variances" in " ".join(text.split())
    text = explained(capsys, nn.Sequential(nn.Residual(nn.Linear(4, 4)), nn.Linear(4, 4)), unspool.randn(9, 4))
    assert "measured: gain² = 1 / E[h²]" in " ".join(text.split())
    assert "(the model)" in explained(capsys, nn.Linear(3, 3))


def test_silent_by_default(capsys: Any) -> None:
    init.he_(mlp(nn.ReLU()))
    assert capsys.readouterr().out == ""


# --- bad input -----------------------------------------------------------------------------------------------------


X = unspool.ones(4, 3)
PARAMETRIZED = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
BAD: list[tuple[str, type[Exception], str, Any, dict[str, Any]]] = [
    ("no module", TypeError, "model must be a Module, got list", [], {}),
    ("no layer", ValueError, "ReLU has no linear layer", nn.ReLU(), {}),
    ("mode", ValueError, "mode must be one of 'fan_in', 'fan_out', 'fan_avg', got 'fan'", mlp(), {"mode": "fan"}),
    ("distribution", ValueError, "'normal', 'uniform', got 'cauchy'", mlp(), {"distribution": "cauchy"}),
    ("lazy", ValueError, r"layer '0' \(LazyLinear\) has no weights yet", nn.Sequential(nn.LazyLinear(3)), {}),
    ("parametrized", ValueError, "layer '0' is parametrized", nn.Sequential(PARAMETRIZED), {}),
    ("unknown order", ValueError, r"the forward of the model \(ModuleList\)", nn.ModuleList([nn.Linear(3, 3)]), {}),
    ("batch of nothing", TypeError, "must be a tensor or a tuple with tensors, got list", Idle(), {"batch": [1]}),
    ("empty batch", ValueError, r"must not be empty, its shape is \(0, 3\)", Idle(), {"batch": X[:0]}),
    ("bad batch", ValueError, "it holds NaN or infinity", Idle(), {"batch": X / 0}),
    ("idle layer", ValueError, "layer 'idle' takes no part", Idle(), {"batch": X}),
    ("own error", RuntimeError, "no more", Failing(), {"batch": X}),
    (
        "zeros to measure",
        ValueError,
        "layer '1' reads numbers of mean square 0.0",
        nn.Sequential(nn.Residual(nn.Linear(3, 3)), nn.Linear(3, 3)),
        {"batch": X * 0},
    ),
    ("constant", ValueError, r"it is 0\.0 of threshold", mlp(nn.Threshold(99.0, 0.0), width=3), {}),
]


@pytest.mark.parametrize(("kind", "said", "model", "kwargs"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_leaves_all_as_it_was(kind: type[Exception], said: str, model: Any, kwargs: dict[str, Any]) -> None:
    module = isinstance(model, nn.Module)
    before = state(model) if module else {}
    stream = unspool.get_rng_state()
    generator = unspool.Generator().manual_seed(1)
    own = generator.get_state()
    with pytest.raises(kind, match=said) as caught:
        init.he_(model, generator=generator, **kwargs)
    assert "he_: " in str(caught.value) or "no more" in said
    assert (unspool.get_rng_state() == stream).all()
    assert (generator.get_state() == own).all()
    if module:
        assert same(before, state(model))
        assert all(m.training for m in model.modules())
        assert not any("_hooked" in m.__dict__ for m in model.modules())


def test_gradients_and_the_batch_stay() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3))
    x = unspool.tensor([[-1.0, 2.0, -3.0]])
    model(x.clone()).sum().backward()
    grad = model[1].weight.grad
    init.he_(model, x)
    assert x.tolist() == [[-1.0, 2.0, -3.0]]
    assert x.grad is None
    assert not x.requires_grad
    assert model[1].weight.grad is grad
    assert math.isfinite(model[1].weight.sum().item())
