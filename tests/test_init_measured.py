"""`init.lsuv_`, `standardize_` and `fixup_`: what they promise of each layer's output, measured in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unspool
from models_to_initialise import Conv1d, Failing, Idle, Written, mlp, same, squares, state
from unspool import nn
from unspool.nn import init


def outputs(model: Any, *batch: Any) -> dict[str, Any]:
    """The output of each layer, as rows of units, in evaluation."""
    found: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(module: Any, args: Any, result: Any) -> None:
            y = (result[0] if isinstance(result, tuple) else result).detach().double()
            y = y.movedim(1, -1) if isinstance(module, Conv1d) else y
            found.setdefault(path, y.reshape(-1, y.shape[-1]).numpy())

        return hook

    kinds = (nn.Linear, nn.MultiheadAttention, Conv1d)
    handles = [m.register_forward_hook(keep(path)) for path, m in model.named_modules() if isinstance(m, kinds)]
    mode = model.training
    with unspool.no_grad():
        model.eval()(*batch)
    model.train(mode)
    for handle in handles:
        handle.remove()
    return found


def biased(model: Any) -> Any:
    """The same, with biases and buffers that would show if they counted."""
    with unspool.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.fill_(0.7)
    return model


def encoder() -> Any:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(48, 4, 100, batch_first=True), 2)


def convolutions() -> Any:
    return nn.Sequential(Conv1d(6, 9, 3), nn.ReLU(), Conv1d(9, 4, 2))


def without_bias() -> Any:
    return nn.Sequential(nn.Linear(5, 9, bias=False), nn.SiLU(), nn.Linear(9, 1))


def blocks() -> Any:
    return nn.Sequential(*(nn.Residual(nn.Linear(40, 40), nn.ReLU()) for _ in range(9)))


CASES: list[tuple[str, Any, Any]] = [
    ("deep ReLU", lambda: mlp(*[nn.ReLU() for _ in range(20)], width=64), lambda: unspool.randn(256, 64)),
    ("mixed", lambda: mlp(nn.Tanh(), nn.GELU(), nn.Dropout(0.5), width=64), lambda: 30 * unspool.rand(256, 64)),
    ("written", Written, lambda: unspool.randn(128, 300)),
    ("convolution", convolutions, lambda: unspool.randn(40, 6, 9)),
    ("attention", encoder, lambda: unspool.randn(16, 10, 48)),
    ("no bias", without_bias, lambda: unspool.rand(99, 5)),
    ("residual", blocks, lambda: unspool.randn(200, 40)),
]


@pytest.mark.parametrize(("make", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_lsuv(make: Any, data: Any) -> None:
    unspool.manual_seed(0)
    model, batch = biased(make()), data()
    assert init.lsuv_(model, batch) is model
    for path, y in outputs(model, batch).items():
        if not path.endswith("out_proj"):
            assert y.var() == pytest.approx(1.0, rel=1e-4), path
    for path, m in model.named_modules():
        if isinstance(m, nn.Linear) and m.bias is not None:
            assert not m.bias.any(), path
        if isinstance(m, nn.Linear):
            w = m.weight.detach().double().numpy()
            w = w if w.shape[0] <= w.shape[1] else w.T
            gram = w @ w.T
            np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(w)), atol=1e-5, err_msg=path)
    for attention in (m for m in model.modules() if isinstance(m, nn.MultiheadAttention)):
        for w in attention.in_proj_weight.detach().double().chunk(3):
            np.testing.assert_allclose((w @ w.T).numpy(), np.eye(48), atol=1e-5)


@pytest.mark.parametrize(("make", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_standardize(make: Any, data: Any) -> None:
    unspool.manual_seed(0)
    model, batch = biased(make()), data()
    assert init.standardize_(model, batch) is model
    layers = dict(model.named_modules())
    for path, y in outputs(model, batch).items():
        if path.endswith("out_proj"):
            continue
        np.testing.assert_allclose(y.var(axis=0), 1.0, rtol=2e-3, err_msg=path)
        own = layers[path]
        bias = own.in_proj_bias if isinstance(own, nn.MultiheadAttention) else own.bias
        if bias is not None:
            np.testing.assert_allclose(y.mean(axis=0), 0.0, atol=2e-4, err_msg=path)


def test_lsuv_is_the_paper_s_algorithm() -> None:
    """Written out in NumPy, layer by layer, from the same draws."""
    unspool.manual_seed(0)
    model, batch = mlp(nn.ReLU(), nn.Tanh(), width=30), unspool.randn(100, 30)
    unspool.manual_seed(5)
    drawn = [init.orthogonal_(unspool.empty(30, 30)).double().numpy() for _ in range(3)]
    unspool.manual_seed(5)
    init.lsuv_(model, batch)
    h = batch.double().numpy()
    for i, w in enumerate(drawn):
        w = w / (h @ w.T).std()
        np.testing.assert_allclose(model[2 * i].weight.detach().numpy(), w, rtol=1e-4, atol=1e-6)
        h = h @ w.T
        h = np.maximum(h, 0) if i == 0 else np.tanh(h)


def test_a_layer_that_runs_twice_is_scaled_by_its_first_run() -> None:
    unspool.manual_seed(0)
    layer = nn.Linear(30, 30)
    model, x = nn.Sequential(layer, nn.Tanh(), layer), unspool.randn(200, 30)
    init.lsuv_(model, x)
    assert np.var(layer(x).detach().numpy()) == pytest.approx(1.0, rel=1e-4)


def test_normalisation_uses_the_batch_in_training_and_keeps_its_buffers() -> None:
    unspool.manual_seed(0)
    parts = (nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.9), nn.Linear(30, 4))
    model, x = nn.Sequential(*parts), unspool.randn(500, 20)
    with unspool.no_grad():
        model[1].running_mean.fill_(40.0)
        model[1].running_var.fill_(1e6)
    before = {name: b.clone().numpy() for name, b in model.named_buffers()}
    init.lsuv_(model, x)
    assert same(before, {name: b.numpy() for name, b in model.named_buffers()})
    assert all(m.training for m in model.modules())
    h = x.numpy() @ model[0].weight.detach().numpy().T
    assert h.var() == pytest.approx(1.0, rel=1e-4)
    h = np.maximum((h - h.mean(axis=0)) / h.std(axis=0), 0)
    assert (h @ model[4].weight.detach().numpy().T).var() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("initialise", [init.lsuv_, init.standardize_])
def test_generators_dtypes_and_several_inputs(initialise: Any) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 50), nn.Linear(3, 50)

        def forward(self, x: Any, y: Any, times: int) -> Any:
            return self.a(x) + self.b(input=y) * times

    unspool.manual_seed(0)
    model, x, y = Two(), unspool.randn(300, 6), unspool.randn(300, 3)
    stream = unspool.get_rng_state()
    initialise(model, (x, y, 3), generator=unspool.Generator().manual_seed(1))
    assert (unspool.get_rng_state() == stream).all()
    first = state(model)
    initialise(model, (x, y, 3), generator=unspool.Generator().manual_seed(1))
    assert same(first, state(model))
    halves = mlp(nn.ReLU(), width=40).bfloat16()
    initialise(halves, unspool.randn(200, 40).bfloat16())
    for values in outputs(halves, unspool.randn(2000, 40).bfloat16()).values():
        assert values.var() == pytest.approx(1.0, rel=0.3)


X = unspool.ones(4, 3)
BAD: list[tuple[str, type[Exception], str, Any, Any]] = [
    ("no module", TypeError, "model must be a Module, got int", 3, X),
    ("no layer", ValueError, "Tanh has no linear layer", nn.Tanh(), X),
    ("no tensor", TypeError, "must be a tensor or a tuple with tensors, got NoneType", Idle(), None),
    ("empty", ValueError, r"must not be empty, its shape is \(0, 3\)", Idle(), X[:0]),
    ("infinite", ValueError, "it holds NaN or infinity", Idle(), X / 0),
    ("constant", ValueError, "layer 'used' has variance 0.0", Idle(), X * 0),
    ("idle", ValueError, "layer 'idle' takes no part", Idle(), unspool.randn(4, 3)),
    ("own error", RuntimeError, "no more", Failing(), unspool.randn(4, 3)),
]


@pytest.mark.parametrize("initialise", [init.lsuv_, init.standardize_])
@pytest.mark.parametrize(("kind", "said", "model", "batch"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_leaves_all_as_it_was(initialise: Any, kind: Any, said: str, model: Any, batch: Any) -> None:
    if isinstance(model, Failing):
        model.calls = 1
    before = state(model) if isinstance(model, nn.Module) else {}
    stream = unspool.get_rng_state()
    with pytest.raises(kind, match=said) as caught:
        initialise(model, batch)
    assert f"{initialise.__name__}: " in str(caught.value) or said == "no more"
    assert (unspool.get_rng_state() == stream).all()
    if before:
        assert same(before, state(model))
        assert not any("_hooked" in m.__dict__ for m in model.modules())


# --- fixup ---------------------------------------------------------------------------------------------------------


def block(width: int = 100) -> Any:
    return nn.Residual(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def stack(blocks: int, head: bool = True) -> Any:
    parts = [nn.Linear(100, 100), *(block() for _ in range(blocks))]
    return nn.Sequential(*parts, *([nn.ReLU(), nn.Linear(100, 5)] if head else []))


def test_fixup_scales_all_but_the_last_of_a_branch() -> None:
    unspool.manual_seed(0)
    model = stack(16)
    unspool.manual_seed(3)
    init.he_(model)
    he = state(model)
    unspool.manual_seed(3)
    assert init.fixup_(model) is model
    fixed = state(model)
    for name, value in fixed.items():
        if ".body.1.weight" in name:
            np.testing.assert_allclose(value, he[name] * 16 ** (-1 / 2), rtol=1e-6)  # m = 2: L^(-1/2)
        elif ".body.3.weight" in name or name.startswith("18."):
            assert not value.any()
        else:
            np.testing.assert_array_equal(value, he[name])


def test_fixup_counts_the_weights_of_each_branch() -> None:
    unspool.manual_seed(0)
    three = nn.Residual(*mlp(nn.ReLU(), nn.ReLU(), width=200))
    model = nn.Sequential(nn.Linear(200, 200), three, nn.Residual(nn.Linear(200, 200)), nn.ReLU(), nn.Linear(200, 9))
    init.fixup_(model, head=False)
    factor = 2 ** (-1 / 4)  # L = 2, m = 3
    assert squares(model) == pytest.approx(
        # before the first two comes no activation
        {"0": 1, "1.body.0": factor**2, "1.body.2": 2 * factor**2, "1.body.4": 0, "2.body.0": 0, "4": 2},
        rel=0.05,
    )


def test_a_residual_stack_keeps_its_variance_where_he_s_doubles_it() -> None:
    unspool.manual_seed(0)
    model, x = stack(12, head=False), unspool.randn(100, 100)
    with unspool.no_grad():
        init.he_(model)
        doubled = np.var(model(x).numpy()) / np.var(model[0](x).numpy())
        init.fixup_(model)
        kept = np.var(model(x).numpy()) / np.var(model[0](x).numpy())
    assert 2**10 < doubled < 2**14
    assert kept == pytest.approx(1.0)


def test_the_first_step_moves_the_output_as_far_for_any_depth() -> None:
    """Zhang et al.: Θ(η), whatever the number of branches; measured from 4 to 64."""
    moves = []
    for blocks in (4, 16, 64):
        unspool.manual_seed(0)
        model, x, y = stack(blocks), unspool.randn(50, 100), unspool.randint(0, 5, (50,))
        init.fixup_(model)
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):  # in the first step only the head learns
            before = model(x).detach()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        moves.append((model(x).detach() - before).abs().max().item())
    assert max(moves) < 2 * min(moves)


def test_branches_that_are_named() -> None:
    unspool.manual_seed(0)
    model = encoder()
    pairs = [[layer.linear1, layer.linear2] for layer in model.layers]
    init.fixup_(model, branches=[*(layer.self_attn for layer in model.layers), *pairs], head=False)
    for layer in model.layers:
        q, k, v = (np.var(w.detach().numpy()) * 48 for w in layer.self_attn.in_proj_weight.chunk(3))
        assert (q, k, v) == pytest.approx((1, 1, 1 / 4), rel=0.15)  # L = 4, m = 2: (1/√4)²
        assert not layer.self_attn.out_proj.weight.any()
        assert squares(layer)["linear1"] == pytest.approx(1 / 4, rel=0.15)
        assert not layer.linear2.weight.any()


def test_branches_within_branches_are_branches_of_their_own() -> None:
    unspool.manual_seed(0)
    inner = block(200)
    model = nn.Sequential(nn.Residual(nn.Linear(200, 200), inner, nn.ReLU(), nn.Linear(200, 200)))
    init.fixup_(model)
    assert not inner.body[3].weight.any()
    assert not model[0].body[3].weight.any()
    found = squares(model)
    assert found["0.body.0"] == pytest.approx(0.5 * 2, rel=0.1)  # L = 2, m = 2; it reads the data
    assert found["0.body.1.body.1"] == pytest.approx(0.5 * 2, rel=0.1)


def test_bad_branches_leave_all_as_it_was() -> None:
    model, other = stack(2), nn.Linear(3, 3)
    before = state(model)
    for branches, kind, said in (
        ([3], TypeError, "modules or lists of modules, got 3"),
        ([[model[0], 3]], TypeError, "lists of modules"),
        ([nn.ReLU()], ValueError, "must have layers, got ReLU"),
        ([other], ValueError, "one holds a layer that is not"),
        ([], ValueError, "Sequential has no nn.Residual"),
    ):
        with pytest.raises(kind, match=said) as caught:
            init.fixup_(model, branches=branches)
        assert str(caught.value).startswith("fixup_: ")
    with pytest.raises(ValueError, match=r"Sequential has no nn\.Residual with layers"):
        init.fixup_(mlp(nn.ReLU()))
    with pytest.raises(ValueError, match="holds NaN"):
        init.fixup_(model, unspool.full((2, 100), math.nan))
    assert same(before, state(model))
