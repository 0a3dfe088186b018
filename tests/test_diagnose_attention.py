"""`unspool.diagnose` of attention: its four linear maps are layers as others are, measured, judged and repaired."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unspool
from test_diagnose import fingerprint, kinds
from unspool import nn
from unspool.diagnose import Monitor
from unspool.nn import functional as F

WIDTH, HEADS = 16, 4


class Attending(nn.Module):
    """Blocks x + attention(x), or attention alone, and a head; keys and values may be wider."""

    def __init__(self, blocks: int, plain: bool = False, memory: Any = None, **kwargs: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **kwargs) for _ in range(blocks)
        )
        self.head = nn.Linear(WIDTH, 3)
        self.plain, self.memory = plain, memory

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            memory = x if self.memory is None else self.memory
            y = block(x, memory, memory, need_weights=False)[0]
            x = y if self.plain else x + y
        return self.head(x)


def scaled(model: Any, name: str, by: float) -> Any:
    with unspool.no_grad():
        for parameter, t in model.named_parameters():
            if name in parameter:
                t.mul_(by)
    return model


@pytest.fixture(autouse=True)
def _seed() -> None:
    unspool.manual_seed(1)


def test_numbers_of_the_four_maps_are_numpy_s() -> None:
    model, x, y = Attending(1, plain=True), unspool.randn(8, 5, WIDTH), unspool.randn(8, 5, 3)
    nn.init.normal_(model.blocks[0].in_proj_bias, 0, 0.3)
    layers = unspool.diagnose(model, x, y).layers
    assert [layer.path for layer in layers] == [*(f"blocks.0.{n}" for n in ("q", "k", "v", "out_proj")), "head"]
    F.mse_loss(model(x), y).backward()
    attention = model.blocks[0]
    w, b = attention.in_proj_weight.detach().numpy(), attention.in_proj_bias.detach().numpy()
    a = x.numpy().astype(np.float64).reshape(40, WIDTH)
    parts = []
    for i, layer in enumerate(layers[:3]):
        rows = slice(WIDTH * i, WIDTH * (i + 1))
        z = a @ w[rows].T.astype(np.float64) + b[rows]
        parts.append(z.reshape(8, 5, HEADS, -1).transpose(0, 2, 1, 3))
        gradient = attention.in_proj_weight.grad.numpy()[rows]
        for got, expected in (
            (layer.z.variance, z.var()),
            (layer.weight_var, w[rows].var()),
            (layer.weight_target, 1 / WIDTH),
            (layer.bias_rms, np.sqrt((b[rows] ** 2).mean())),
            (layer.gradient_ratio, np.linalg.norm(gradient) / np.linalg.norm(w[rows])),
        ):
            assert got == pytest.approx(expected, rel=1e-4)
    q, k, v = parts
    scores = np.exp(q @ k.swapaxes(-1, -2) / math.sqrt(WIDTH / HEADS))
    mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(40, WIDTH)
    out = layers[3]
    assert out.input.variance == pytest.approx(mixed.var(), rel=1e-4)
    assert out.z.variance == pytest.approx((mixed @ attention.out_proj.weight.detach().numpy().T).var(), rel=1e-4)
    assert out.z.variance == pytest.approx(layers[4].input.variance, rel=1e-6)


def test_the_model_is_as_before_and_called_as_always() -> None:
    model, x = Attending(2), unspool.randn(8, 5, WIDTH)
    before, out = fingerprint(model), model(x).detach().numpy()
    report = unspool.diagnose(model, x, shadow=True)
    assert fingerprint(model) == before
    assert np.array_equal(model(x).detach().numpy(), out)
    assert report.healthy
    assert report.repair(model) == []
    assert fingerprint(model) == before


@pytest.mark.parametrize("separate", [False, True])
def test_keys_and_values_of_their_own_widths(separate: bool) -> None:
    memory = unspool.randn(8, 7, 12) if separate else unspool.randn(8, 7, WIDTH)
    widths = {"kdim": 12, "vdim": 12} if separate else {}
    model = Attending(1, memory=memory, **widths)
    scaled(model, "v_proj_weight" if separate else "in_proj_weight", 1e3)
    report = unspool.diagnose(model, unspool.randn(8, 5, WIDTH))
    fans = [(layer.fan_in, layer.fan_out) for layer in report.layers[:4]]
    assert fans == [(WIDTH, WIDTH), *[(12 if separate else WIDTH, WIDTH)] * 2, (WIDTH, WIDTH)]
    expected = ["blocks.0.v"] if separate else ["blocks.0.q", "blocks.0.k", "blocks.0.v"]
    off = next(f for f in report.findings if f.kind == "weight_scale")
    assert off.evidence["layers"] == expected


def test_only_values_and_results_are_in_the_chains() -> None:
    """Queries and keys of any size give weights that sum to 1."""
    model = Attending(8)
    with unspool.no_grad():
        for i, block in enumerate(model.blocks):
            block.in_proj_weight[: 2 * WIDTH].mul_(4.0**-i)
    report = unspool.diagnose(model, unspool.randn(8, 5, WIDTH))
    assert [layer.path for layer in report.facts.chain] == [
        f"blocks.{i}.{name}" for i in range(8) for name in ("v", "out_proj")
    ]
    assert report.forward.label == report.backward.label == "healthy"
    sizes = [layer.z.ln_var for layer in report.layers if layer.aside]
    assert sizes[0] - sizes[-1] > 10


def test_the_picture_sets_queries_and_keys_apart() -> None:
    pytest.importorskip("matplotlib")
    report = unspool.diagnose(Attending(3), unspool.randn(8, 5, WIDTH))
    layers = report.layers
    forward, backward = report.plot().axes[:2]
    for axis, ln_vars, start in (
        (forward, [layer.z.ln_var for layer in layers], 2),  # the first value
        (backward, [layer.gradient.ln_var for layer in layers], 11),  # the last result before the head
    ):
        line, apart = (drawn.get_xdata().tolist() for drawn in axis.lines)
        assert line == [3, 4, 7, 8, 11, 12, 13]
        assert apart == [1, 2, 5, 6, 9, 10]
        low, high = axis.patches[0].get_extents().transformed(axis.transData.inverted()).intervaly
        assert (low + high) / 2 == pytest.approx(ln_vars[start] / math.log(10))


@pytest.mark.parametrize("by", [8.0, 1 / 8])
def test_chains_of_attention_are_judged_and_repaired(by: float) -> None:
    """Large ones explode although each block adds its input; small ones vanish where none does."""
    model = scaled(Attending(12, plain=by < 1), "proj", by)
    nn.init.normal_(model.blocks[0].in_proj_bias, 0, 1e-3)
    x = unspool.randn(16, 5, WIDTH)
    report = unspool.diagnose(model, x)
    label = "exploding" if by > 1 else "vanishing"
    assert report.forward.label == label
    assert f"{label}_forward" in kinds(report)
    report.repair(model)
    again = unspool.diagnose(model, x)
    assert again.forward.label == "healthy"
    if by > 1:  # they add up, so that scaling by rule isn't enough
        assert [layer.z.variance for layer in again.layers] == pytest.approx([1.0] * 49, rel=1e-3)
    else:
        assert [layer.weight_var for layer in again.layers] == pytest.approx([1 / WIDTH] * 49, rel=1e-3)
    assert not model.blocks[0].in_proj_bias.any()


def test_symmetric_values_are_found_and_drawn_anew() -> None:
    model, x = Attending(1), unspool.randn(16, 5, WIDTH)
    with unspool.no_grad():
        model.blocks[0].in_proj_weight[2 * WIDTH :] = 0.25
        model.blocks[0].out_proj.weight.fill_(0.25)
    before = model.blocks[0].in_proj_weight.detach().numpy().copy()
    report = unspool.diagnose(model, x)
    found = {f.layer: f for f in report.findings if f.kind == "symmetric_units"}
    assert "blocks.0.v" in found
    assert not {"blocks.0.q", "blocks.0.k"} & set(found)
    report.repair(model)
    after = model.blocks[0].in_proj_weight.detach().numpy()
    assert len(np.unique(after[2 * WIDTH :])) > 200
    for rows in (slice(0, WIDTH), slice(WIDTH, 2 * WIDTH)):  # the others are scaled
        ratio = after[rows] / before[rows]
        assert np.ptp(ratio) < 1e-4 * ratio.mean()
    assert "symmetric_units" not in kinds(unspool.diagnose(model, x))


def test_a_remedy_is_code_that_runs() -> None:
    model, x = Attending(1), unspool.randn(16, 5, WIDTH)
    with unspool.no_grad():
        model.blocks[0].in_proj_bias[2 * WIDTH :] = 50.0
        model.blocks[0].in_proj_bias[:WIDTH] = 0.125
    found = [f for f in unspool.diagnose(model, x).findings if f.kind == "far_biases"]
    assert [f.layer for f in found] == ["blocks.0.v"]
    exec(found[0].remedy, {"nn": nn, "model": model})
    assert model.blocks[0].in_proj_bias[: WIDTH + 1].tolist() == [0.125] * WIDTH + [0.0]
    assert not model.blocks[0].in_proj_bias[WIDTH:].any()


def test_a_parameter_that_is_not_finite() -> None:
    model, x = Attending(2), unspool.randn(8, 5, WIDTH)
    nn.init.constant_(model.blocks[1].in_proj_weight, math.nan)
    report = unspool.diagnose(model, x)
    assert next(f for f in report.findings if f.kind == "non_finite").evidence["parameter"] == (
        "blocks.1.in_proj_weight"
    )
    report.repair(model)
    assert unspool.diagnose(model, x).healthy


def test_a_function_s_call_is_no_layer() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.o = (nn.Parameter(unspool.randn(n, WIDTH) / 4) for n in (3 * WIDTH, WIDTH))
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Any) -> Any:
            args = WIDTH, HEADS, self.w, None, None, None, False, 0.0, self.o, None
            return self.head(F.multi_head_attention_forward(x, x, x, *args)[0])

    assert [layer.path for layer in unspool.diagnose(Own(), unspool.randn(5, 8, WIDTH)).layers] == ["head"]


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformers_as_they_are_built_are_healthy(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
    model = nn.Sequential(nn.Linear(8, 32), nn.TransformerEncoder(layer, 12), nn.Linear(32, 5))
    report = unspool.diagnose(model, unspool.randn(16, 10, 8), unspool.randn(16, 10, 5))
    assert report.healthy, str(report)
    assert len(report.layers) == 2 + 12 * 6


def test_a_monitor_watches_values_and_results() -> None:
    model, said = Attending(1), []
    monitor = Monitor(model, every=5, tell=said.append)
    optimizer = unspool.optim.SGD(model.parameters(), lr=0.05)
    x, y = unspool.randn(16, 1, WIDTH), unspool.randn(16, 1, 3)  # one key, so that queries get no gradient
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        monitor(loss)
    assert said == []
    last = monitor.samples[-1]
    assert list(last.gradient) == ["blocks.0.v", "blocks.0.out_proj", "head"]
    whole = model.blocks[0].in_proj_weight
    grad, weight = (np.linalg.norm(t.detach().numpy()[2 * WIDTH :]) for t in (whole.grad, whole))
    assert last.gradient["blocks.0.v"] == pytest.approx(grad / weight, rel=1e-5)
    assert last.update["blocks.0.v"] == pytest.approx(0.05 * last.gradient["blocks.0.v"], rel=0.01)
