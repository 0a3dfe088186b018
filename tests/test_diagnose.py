"""`unspool.diagnose`: its verdicts against NumPy's, what it finds and what it doesn't, and that it changes nothing.

60 networks and 1,000 random draws by default; `UNSPOOL_NETWORKS=400 UNSPOOL_DRAWS=10000` is the campaign over the
whole grid, of which the figures are printed with `-s`.
"""

from __future__ import annotations

import collections
import gc
import hashlib
import json
import math
import os
import pickle
from typing import Any

import numpy as np
import pytest

import unspool
from diagnosed_networks import build, grid, truth
from unspool import nn
from unspool.nn import functional as F

NETWORKS = int(os.environ.get("UNSPOOL_NETWORKS", "60"))
DRAWS = int(os.environ.get("UNSPOOL_DRAWS", "1000"))
MOST_WORK = 4e6 if NETWORKS <= 60 else math.inf


def mlp(depth: int, width: int, scale: float = 1.0, bias: float = 0.0, act: Any = nn.ReLU, out: int = 10) -> Any:
    layers: list[Any] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, 0, math.sqrt(2 * scale / width))
        nn.init.constant_(linear.bias, bias)
        layers += [linear, act()]
    head = nn.Linear(width, out)
    nn.init.normal_(head.weight, 0, math.sqrt(1 / width))
    nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, head)


def kinds(report: Any, least: str = "warning") -> set[str]:
    order = ("info", "warning", "error")
    return {f.kind for f in report.findings if order.index(f.severity) >= order.index(least)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    unspool.manual_seed(1)


def test_verdicts_are_those_of_numpy_on_another_batch() -> None:
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for spec in grid(NETWORKS, MOST_WORK):
        model = build(spec)
        report = unspool.diagnose(model, unspool.randn(256, spec.width))
        expected = truth(spec, model)
        if expected is None:
            counts["dead"] += 1
            continue
        for way, (right, near) in expected.items():
            said = getattr(report, way).label
            counts["near, right" if near and said == right else "near" if near else right] += 1
            assert (f"{said}_{way}" in kinds(report)) == (said != "healthy")
            if said != right and not near:
                wrong.append((spec, way, right, said))
    judged = sum(counts[x] for x in ("healthy", "vanishing", "exploding"))
    print(f"\n{judged} verdicts, {len(wrong)} wrong; {dict(counts)}", *wrong, sep="\n")
    assert min(counts["healthy"], counts["vanishing"], counts["exploding"]) > judged / 40
    assert len(wrong) <= judged // 100


@pytest.mark.parametrize("scale", [1.6, 2.0, 4.0, 16.0, 1 / 16, 1 / 4, 0.5])
def test_the_depth_at_which_numbers_leave_their_range(scale: float) -> None:
    """The first layer that is inf (or all below the smallest normal number) when NumPy runs it in float16."""
    model = mlp(60, 64, scale)
    x = unspool.randn(128, 64)
    report = unspool.diagnose(model, x)
    finding = next(f for f in report.findings if f.kind in ("exploding_forward", "vanishing_forward"))
    assert finding.evidence["confirmed_in_float64"]
    end = "overflow" if scale > 1 else "underflow"
    h = x.numpy().astype(np.float64)
    expected: dict[str, int] = {}
    for number, linear in enumerate([m for m in model if isinstance(m, nn.Linear)][:-1], 1):
        z = h @ linear.weight.detach().numpy().astype(np.float64).T
        for name, top, bottom in (("float16", np.finfo(np.float16).max, np.finfo(np.float16).tiny),
                                  ("float32", np.finfo(np.float32).max, np.finfo(np.float32).tiny)):  # fmt: skip
            if abs(z).max() > top if end == "overflow" else abs(z).max() < bottom:
                expected.setdefault(name, number)
        h = np.maximum(z, 0)
    depths = finding.evidence[f"{end}_depth"]
    assert "float16" in expected
    for name, number in expected.items():
        assert abs(depths[name] - number) <= 1
    if "float32" not in expected:  # followed on along the slope
        assert depths["float32"] > 60
    assert depths["bfloat16"] is not None
    assert abs(depths["bfloat16"] - depths["float32"]) <= 1


def test_what_float16_really_does() -> None:
    model = mlp(30, 64, 4.0)
    x = unspool.randn(64, 64)
    said = next(f for f in unspool.diagnose(model, x).findings if f.kind == "exploding_forward")
    half = unspool.diagnose(model, x, dtype=unspool.float16)
    first = next(i for i, layer in enumerate(half.layers, 1) if not layer.z.finite)
    assert abs(said.evidence["overflow_depth"]["float16"] - first) <= 1
    assert {"exploding_forward", "non_finite"} <= kinds(half)


# symmetry


def _constant(m: Any) -> None:
    for p in m.parameters():
        nn.init.constant_(p, 0.3 / math.sqrt(16))


def _zero(m: Any) -> None:
    for p in m.parameters():
        nn.init.zeros_(p)


def _equal_rows(m: Any) -> None:
    """All units of the first layer get the same weights, and the same readers."""
    with unspool.no_grad():
        m[0].weight.copy_(m[0].weight[:1].expand(m[0].weight.shape))
        m[0].bias.zero_()
        m[2].weight.copy_(m[2].weight[:, :1].expand(m[2].weight.shape))


def _two_units(m: Any) -> None:
    """Units 3 and 7 of the first layer get the same weights, and the same readers."""
    with unspool.no_grad():
        m[0].weight[7] = m[0].weight[3]
        m[0].bias[7] = m[0].bias[3]
        m[2].weight[:, 7] = m[2].weight[:, 3]


def _opposite_units(m: Any) -> None:
    """Odd nonlinearities: unit 7 is minus unit 3, and so are its readers' weights."""
    with unspool.no_grad():
        m[0].weight[7] = -m[0].weight[3]
        m[0].bias[7] = -m[0].bias[3]
        m[2].weight[:, 7] = -m[2].weight[:, 3]


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("depth", [1, 2, 6])
@pytest.mark.parametrize("spoil", [_constant, _zero, _equal_rows])
def test_symmetric_layers_are_found(spoil: Any, depth: int, act: Any) -> None:
    model = mlp(depth, 16, act=act)
    spoil(model)
    report = unspool.diagnose(model, unspool.randn(64, 16), unspool.randint(0, 10, (64,)))
    found = {f.layer: f for f in report.findings if f.kind == "symmetric_units"}
    assert {str(2 * i) for i in range(1 if spoil is _equal_rows else depth)} <= set(found)
    assert found["0"].evidence["groups"] == [list(range(16))]
    assert found["0"].severity == "error"


@pytest.mark.parametrize(("spoil", "act"), [(_two_units, nn.ReLU), (_two_units, nn.Tanh), (_opposite_units, nn.Tanh)])
def test_pairs_are_found(spoil: Any, act: Any) -> None:
    model = mlp(3, 16, act=act)
    spoil(model)
    report = unspool.diagnose(model, unspool.randn(64, 16), unspool.randint(0, 10, (64,)))
    assert [(f.layer, f.evidence["groups"]) for f in report.findings if f.kind == "symmetric_units"] == [
        ("0", [[3, 7]])
    ]


def test_equal_units_that_training_tells_apart_are_none() -> None:
    """The same weights, but other readers: their gradients differ. Opposite ones of ReLU's are different functions."""
    for spoil in (_two_units, _opposite_units):
        model = mlp(3, 16)
        spoil(model)
        if spoil is _two_units:
            nn.init.normal_(model[2].weight, 0, 0.3)
        assert "symmetric_units" not in kinds(unspool.diagnose(model, unspool.randn(64, 16)), "info")


def test_no_symmetry_in_random_networks() -> None:
    x = unspool.randn(32, 8)
    for draw in range(DRAWS):
        unspool.manual_seed(draw)
        width = 2 + draw % 15
        act = (nn.ReLU, nn.Tanh, nn.SELU)[draw % 3]
        model = nn.Sequential(nn.Linear(8, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 2))
        if draw % 2:
            for p in model.parameters():
                nn.init.normal_(p, 0, 0.5)
        assert "symmetric_units" not in kinds(unspool.diagnose(model, x), "info"), draw


# nothing changes


class Everything(nn.Module):
    """What a pass may leave behind: statistics, random numbers, attributes, writes in place, hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.block = nn.Residual(nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Linear(16, 16))
        self.head = nn.Linear(16, 4)
        self.register_buffer("count", unspool.zeros(1))
        self.state = unspool.zeros(16)
        self.calls = 0
        self.log: list[int] = []
        self.seen: dict[str, int] = {}

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.log.append(self.calls)
        self.seen["last"] = self.calls
        self.count += 1
        h = self.drop(F.relu(self.norm(self.first(x))))
        self.state.add_(h.detach().mean(0))
        self.last = h
        return self.head(self.block(h))


def fingerprint(model: Any) -> str:
    """A hash of all that a model is, and of the default generator."""
    h = hashlib.sha256()
    for name, t in [*model.named_parameters(), *model.named_buffers()]:
        h.update(f"{name} {id(t)} {t.requires_grad} {t._version} {t.grad is None}".encode())
        h.update(t.detach().numpy().tobytes())
        if t.grad is not None:
            h.update(f"{t.grad.data_ptr()}".encode() + t.grad.numpy().tobytes())
    for name, m in model.named_modules():
        plain = {k: v for k, v in vars(m).items() if isinstance(v, (int, float, str, list, bool))}
        tables = {k: [id(x) for x in v.values()] for k, v in vars(m).items() if k.endswith("_hooks")}
        h.update(f"{name} {m.training} {sorted(vars(m))} {plain} {tables} {type(m)}".encode())
    state = getattr(model, "state", None)
    h.update(b"" if state is None else state.numpy().tobytes())
    h.update(unspool.random.get_rng_state().numpy().tobytes())
    return h.hexdigest()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_model_changes(training: bool, fails: bool) -> None:
    model = Everything().train(training)
    seen = []
    model.first.register_forward_hook(lambda m, a, out: seen.append(1))
    model.head.weight.requires_grad_(False)
    F.cross_entropy(model(unspool.randn(8, 12)), unspool.randint(0, 4, (8,))).backward()
    del model.last
    x, y, bad = unspool.randn(64, 12), unspool.randint(0, 4, (64,)), unspool.randn(64, 5)
    before, inputs = fingerprint(model), (x.numpy().copy(), y.numpy().copy())
    if fails:
        with pytest.raises(RuntimeError, match=r"'first' \(Linear\)"):
            unspool.diagnose(model, bad, y)
    else:
        report = unspool.diagnose(model, x, y, shadow=True, curvature=True, lr=0.1)
        assert [layer.path for layer in report.layers] == ["first", "block.body.0", "block.body.2", "head"]
        assert [layer.activation.name for layer in report.layers] == ["relu", "relu", "none", "none"]
    assert fingerprint(model) == before
    assert np.array_equal(x.numpy(), inputs[0])
    assert np.array_equal(y.numpy(), inputs[1])
    assert model.calls == 1


def test_the_report_does_not_hold_the_graph() -> None:
    model = mlp(2, 8)
    report = unspool.diagnose(model, unspool.randn(16, 8))
    assert all(p.grad is None for p in model.parameters())
    assert json.loads(report.to_json())["model"] == "Sequential"
    assert pickle.loads(pickle.dumps(report)).to_dict() == report.to_dict()


def test_what_a_pass_recorded_is_freed_without_the_collector() -> None:
    model, x = mlp(6, 64), unspool.randn(64, 64)
    gc.collect()
    gc.disable()
    try:
        before = unspool.memory_stats()["live_bytes"]
        for _ in range(3):
            unspool.diagnose(model, x, shadow=True, curvature=True)
        assert unspool.memory_stats()["live_bytes"] == before
    finally:
        gc.enable()


# numbers a layer


def test_numbers_of_a_layer_are_numpy_s() -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
    x, y = unspool.randn(50, 6), unspool.randn(50, 4)
    first, second = unspool.diagnose(model, x, y).layers
    a, c = (m.weight.detach().numpy().astype(np.float64) for m in (model[0], model[2]))
    b, d = (m.bias.detach().numpy().astype(np.float64) for m in (model[0], model[2]))
    z = x.numpy().astype(np.float64) @ a.T + b
    h = np.maximum(z, 0)
    out = h @ c.T + d
    back = 2 * (out - y.numpy()) / out.size
    gradient = (back @ c) * (z > 0)
    assert (first.fan_in, first.fan_out, first.activation.name) == (6, 9, "relu")
    assert first.weight_target == pytest.approx(2 / 6)
    assert second.weight_target == pytest.approx(1 / 9)
    s = np.linalg.svd(h, compute_uv=False)
    for got, expected in (
        (first.weight_var, a.var()),
        (first.z.mean, z.mean()),
        (first.z.variance, z.var()),
        (first.h.mean, h.mean()),
        (first.h.variance, h.var()),
        (first.gradient.variance, gradient.var()),
        (second.gradient.variance, back.var()),
        (first.gradient_ratio, np.linalg.norm(gradient.T @ x.numpy()) / np.linalg.norm(a)),
        (first.bias_rms, np.sqrt((b**2).mean())),
        (first.dead, (z <= 0).all(0).mean()),
        (first.always_on, (z > 0).all(0).mean()),
        (first.h.rank, (s**2).sum() ** 2 / (s**4).sum()),
    ):
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("act", "gain"),
    [
        (nn.ReLU(), 2.0),
        (nn.LeakyReLU(0.2), 2 / 1.04),
        (nn.SELU(), 1.0),
        (nn.Tanh(), 1 / 0.394294),
        (nn.GELU(), 1 / 0.425216),
        (nn.Identity(), 1.0),
    ],
)
def test_targets_follow_the_nonlinearity(act: Any, gain: float) -> None:
    model = nn.Sequential(nn.Linear(10, 10), act, nn.Linear(10, 3))
    layer = unspool.diagnose(model, unspool.randn(20, 10)).layers[0]
    assert layer.weight_target * 10 == pytest.approx(gain, rel=1e-4)
