"""What `unspool.diagnose` finds beside its verdicts, in models of all kinds."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import unspool
from test_diagnose import kinds, mlp
from unspool import nn
from unspool.nn import functional as F


@pytest.fixture(autouse=True)
def _seed() -> None:
    unspool.manual_seed(1)


def batch(width: int = 32, classes: int = 10) -> tuple[Any, Any]:
    return unspool.randn(128, width), unspool.randint(0, classes, (128,))


def finding(report: Any, kind: str) -> Any:
    return next(f for f in report.findings if f.kind == kind)


class Functional(nn.Module):
    """No module for the nonlinearity, a gate, a view: what follows what is seen in the graph."""

    def __init__(self, after: Any) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.after = after

    def forward(self, x: Any) -> Any:
        return self.c(F.relu(self.b(self.after(self.a(x)))))


@pytest.mark.parametrize(
    ("after", "collapses"),
    [
        (lambda h: h, True),
        (lambda h: F.dropout(h.view(-1, 32) * 3 + 1, 0.1), True),
        (F.relu, False),
        (lambda h: h * h.sigmoid(), False),
        (lambda h: F.layer_norm(h, (32,)), False),
        (lambda h: h + h.tanh(), False),
        (lambda h: h.softmax(-1), False),
    ],
)
def test_two_linear_layers_without_a_nonlinearity(after: Any, collapses: bool) -> None:
    model = Functional(after)
    report = unspool.diagnose(model, *batch())
    assert ("collapsed_linear" in kinds(report)) == collapses
    if collapses:
        found = finding(report, "collapsed_linear")
        a, b = (m.weight.detach().numpy().astype(np.float64) for m in (model.a, model.b))
        assert found.evidence["layers"] == ["a", "b"]
        np.testing.assert_allclose(found.evidence["matrix"], b @ a, rtol=1e-12, atol=1e-12)


def test_a_narrow_layer_in_between_may_be_meant() -> None:
    model = nn.Sequential(nn.Linear(32, 4), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 10))
    found = finding(unspool.diagnose(model, *batch()), "collapsed_linear")
    assert found.severity == "info"
    assert "rank 4" in found.message


def test_a_chain_of_linear_layers_is_one_finding() -> None:
    model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(5)))
    found = [f for f in unspool.diagnose(model, unspool.randn(64, 32)).findings if f.kind == "collapsed_linear"]
    assert [f.evidence["layers"] for f in found] == [["0", "1", "2", "3", "4"]]


def test_dead_layer() -> None:
    model = mlp(4, 32)
    nn.init.constant_(model[2].bias, -50.0)
    report = unspool.diagnose(model, *batch())
    found = finding(report, "dead_units")
    assert (found.layer, found.severity, found.evidence["share"]) == ("2", "error", 1.0)
    assert finding(report, "far_biases").layer == "2"


def test_dead_units_are_counted_behind_a_normalisation() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    nn.init.constant_(model[1].bias, -50.0)
    assert finding(unspool.diagnose(model, *batch()), "dead_units").layer == "0"


def test_units_that_are_always_on() -> None:
    model = mlp(4, 32)
    nn.init.constant_(model[4].bias, 50.0)
    assert finding(unspool.diagnose(model, *batch()), "always_on_units").layer == "4"


@pytest.mark.parametrize("act", [nn.Tanh, nn.Sigmoid, nn.Hardtanh])
def test_saturated_units(act: Any) -> None:
    wild = mlp(3, 32, act=act)
    nn.init.normal_(wild[0].weight, 0.0, 3.0)
    assert "saturated_units" not in kinds(unspool.diagnose(mlp(3, 32, 0.25, act=act), *batch()))
    assert finding(unspool.diagnose(wild, *batch()), "saturated_units").layer == "0"


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.f = mlp(1, width, out=width)

    def forward(self, x: Any) -> Any:
        return x + self.f(x)


@pytest.mark.parametrize("own", [True, False])
def test_a_residual_stack_that_doubles_its_variance(own: bool) -> None:
    blocks = [Block(64) if own else nn.Residual(mlp(1, 64, out=64)) for _ in range(16)]
    model = nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10))
    found = finding(unspool.diagnose(model, *batch(64)), "residual_growth")
    assert found.evidence["blocks"] == 16
    assert found.evidence["factor_per_block"] == pytest.approx(2.0, rel=0.15)
    scaled = [nn.Residual(mlp(1, 64, out=64), scale=0.25) for _ in range(16)]
    calm = nn.Sequential(nn.Linear(64, 64), *scaled, nn.Linear(64, 10))
    assert "residual_growth" not in kinds(unspool.diagnose(calm, *batch(64)), "info")


@pytest.mark.parametrize(
    ("spoil", "bad"),
    [
        (lambda x: x, False),
        (lambda x: x * 255, True),
        (lambda x: x * 1e-4, True),
        (lambda x: x * unspool.logspace(0, 3, 32), True),
        (lambda x: x + 30, True),
        (lambda x: x.abs() / 4, False),
    ],
)
def test_inputs_that_are_not_scaled(spoil: Any, bad: bool) -> None:
    report = unspool.diagnose(mlp(3, 32), spoil(unspool.randn(128, 32)))
    assert ("unscaled_inputs" in kinds(report)) == bad


@pytest.mark.parametrize(
    ("loss", "labels", "expected"),
    [
        (None, lambda: unspool.randint(0, 10, (128,)), math.log(10)),
        (nn.CrossEntropyLoss(), lambda: unspool.randint(0, 10, (128,)), math.log(10)),
        (nn.BCEWithLogitsLoss(), lambda: unspool.rand(128, 10).round(), math.log(2)),
        (None, lambda: 3 * unspool.randn(128, 10), 9.0),
        (F.mse_loss, lambda: 3 * unspool.randn(128, 10), 9.0),
    ],
)
def test_a_loss_far_from_that_of_an_uninformed_prediction(loss: Any, labels: Any, expected: float) -> None:
    x, y = unspool.randn(128, 32), labels()
    model = mlp(3, 32)
    report = unspool.diagnose(model, x, y, loss)
    assert report.facts.measures.uninformed == pytest.approx(expected, rel=0.1)
    direct = (loss or (F.mse_loss if y.is_floating_point() else F.cross_entropy))(model(x), y)
    assert report.loss == pytest.approx(float(direct.detach()), rel=1e-6)
    assert "start_loss" not in kinds(report)
    with unspool.no_grad():
        model[-1].weight.mul_(40)
    spoilt = unspool.diagnose(model, x, y, loss)
    assert finding(spoilt, "start_loss").evidence["loss"] == spoilt.loss
    spoilt.repair(model)
    assert "start_loss" not in kinds(unspool.diagnose(model, x, y, loss))


def test_targets_far_from_0() -> None:
    x, y = unspool.randn(128, 32), 100 + unspool.randn(128, 10)
    model = mlp(3, 32)
    report = unspool.diagnose(model, x, y)
    assert kinds(report) == {"start_loss"}
    weight, bias = report.repair(model)
    assert re.fullmatch(r"6: weight times 0\.\d+, for a start near (0\.9|1)\d*\.?\d*", weight)
    assert bias == "6: bias set to the mean of y"
    with unspool.no_grad():
        assert (model(x) - model[-1].bias).numpy().var() == pytest.approx(0.1, rel=0.1)
    np.testing.assert_allclose(model[-1].bias.detach().numpy(), y.numpy().mean(0), rtol=1e-5)
    assert unspool.diagnose(model, x, y).healthy


def test_weights_of_which_a_module_makes_little_are_not_too_large() -> None:
    class Scaled(nn.Module):
        """Weights of variance 1, whose scale is in the forward pass."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(unspool.randn(32, 32))

        def forward(self, x: Any) -> Any:
            return F.linear(x, self.weight / math.sqrt(32))

    model = nn.Sequential(Scaled(), nn.Tanh(), Scaled(), nn.Tanh(), Scaled())
    found = {f.kind: f.severity for f in unspool.diagnose(model, unspool.randn(64, 32)).findings}
    assert found == {"weight_scale": "info"}


def test_last_biases_far_from_the_targets() -> None:
    """They say nothing of the weights, which keep their scale where outputs without them are small."""
    x, y = unspool.randn(128, 32), unspool.randn(128, 10)
    model = mlp(3, 32)
    with unspool.no_grad():
        model[-1].weight.mul_(0.1)
    nn.init.normal_(model[-1].bias, 0, 50.0)
    report = unspool.diagnose(model, x, y)
    assert kinds(report) == {"start_loss"}
    assert report.repair(model) == ["6: bias set to the mean of y"]
    assert unspool.diagnose(model, x, y).healthy


def test_last_biases_near_the_targets_stay() -> None:
    x, y = unspool.randn(128, 32), unspool.randn(128, 10)
    model = mlp(3, 32)
    nn.init.normal_(model[-1].bias, 0, 0.01)
    before = model[-1].bias.tolist()
    with unspool.no_grad():
        model[-1].weight.mul_(30.0)
    report = unspool.diagnose(model, x, y)
    assert kinds(report) == {"start_loss"}
    (line,) = report.repair(model)
    assert line.startswith("6: weight times ")
    assert model[-1].bias.tolist() == before
    assert unspool.diagnose(model, x, y).healthy


def test_the_largest_curvature() -> None:
    """Of a linear regression it is known: 2 / (n·outputs) times the largest eigenvalue of xᵀx."""
    x, y = unspool.randn(256, 6) * unspool.tensor([3.0, 1, 1, 1, 1, 1]), unspool.randn(256, 4)
    model = nn.Sequential(nn.Linear(6, 4, bias=False))
    exact = 2 * np.linalg.eigvalsh(x.numpy().T @ x.numpy())[-1] / (256 * 4)
    report = unspool.diagnose(model, x, y, curvature=True)
    assert report.facts.curvature == pytest.approx(exact, rel=0.05)
    assert finding(report, "learning_rate").severity == "info"
    assert finding(unspool.diagnose(model, x, y, lr=2.2 / exact), "learning_rate").severity == "warning"
    assert finding(unspool.diagnose(model, x, y, lr=1.5 / exact), "learning_rate").severity == "info"


def test_a_shadow_run_sees_what_float16_loses() -> None:
    x, model = unspool.randn(64, 32), mlp(12, 32, 0.3)
    report = unspool.diagnose(model, x, dtype=unspool.float16)
    assert report.facts.measures.dtype == "float16"
    assert report.facts.shadow is not None
    assert report.facts.shadow.dtype == "float64"
    assert unspool.diagnose(mlp(3, 32), x).facts.shadow is None
    assert unspool.diagnose(mlp(3, 32), x, shadow=True).facts.shadow is not None


def test_parameters_that_are_not_finite() -> None:
    model = mlp(3, 32)
    model[2].weight.data[3, 4] = math.nan
    report = unspool.diagnose(model, *batch())
    assert finding(report, "non_finite").layer == "2"
    report.repair(model)
    assert unspool.diagnose(model, *batch()).healthy


def test_values_that_are_flat_at_the_right_scale_are_no_finding() -> None:
    """A third of N(0, 1) lies where hardtanh is flat."""
    model = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.Hardtanh(), nn.Linear(32, 10))
    report = unspool.diagnose(model, *batch())
    assert report.layers[0].saturated > 0.3
    assert report.healthy
    with unspool.no_grad():
        model[1].weight.fill_(4.0)
    assert "saturated_units" in kinds(unspool.diagnose(model, *batch()))


def test_two_layers_as_they_are_built_are_healthy() -> None:
    """From one output to 256 units the gradient's variance falls by 1500, which is no chain's doing."""
    model = nn.Sequential(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 1))
    x = unspool.randn(256, 10)
    report = unspool.diagnose(model, x, unspool.randn(256, 1))
    assert report.layers[0].gradient.variance < report.layers[1].gradient.variance / 1000
    assert report.healthy
    assert "forward:  no verdict: a chain is two layers and more" in str(report)


class Cut(nn.Module):
    def __init__(self, several: bool) -> None:
        super().__init__()
        self.several = several
        self.first, self.second, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        h = F.relu(self.first(x))
        other = self.second(h)
        out = self.head(h if self.several else F.relu(other).detach())
        return (out, other) if self.several else out


@pytest.mark.parametrize("several", [False, True])
def test_layers_that_the_loss_does_not_depend_on(several: bool) -> None:
    x, y = batch()
    report = unspool.diagnose(Cut(several), x, y, lambda out, y: F.cross_entropy(out[0] if several else out, y))
    found = finding(report, "no_gradient")
    assert found.evidence["layers"] == (["second"] if several else ["first", "second"])
    assert found.severity == ("info" if several else "warning")


class LastStep(nn.Module):
    """Its last state is made and not read."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        for _ in range(3):
            before, x = x, unspool.tanh(self.cell(x))
        return self.head(before)


def test_a_layer_of_which_one_call_counts_is_none_of_them() -> None:
    assert "no_gradient" not in kinds(unspool.diagnose(LastStep(), *batch()), "info")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_inputs_that_are_the_same_for_all_examples(value: float) -> None:
    x, y = batch()
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    assert "unscaled_inputs" not in kinds(unspool.diagnose(model, x, y), "info")
    assert "same for all 128" in finding(unspool.diagnose(model, 0 * x + value, y), "unscaled_inputs").message


@pytest.mark.parametrize("dtype", [unspool.float32, unspool.float64])
@pytest.mark.parametrize("value", [0.1, 0.3])
def test_equal_units_whose_gradients_are_what_rounding_left(value: float, dtype: Any) -> None:
    """What equal classes send back cancels; dropout makes different numbers of the rest."""
    model = nn.Sequential(nn.Linear(128, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, 10))
    model.to(dtype)
    for linear in (model[0], model[4]):
        nn.init.constant_(linear.weight, value)
        nn.init.zeros_(linear.bias)
    for _ in range(5):
        x, y = unspool.randn(256, 128, dtype=dtype) + 1, unspool.randint(0, 10, (256,))
        found = finding(unspool.diagnose(model, x, y), "symmetric_units")
        assert found.layer == "0"
        assert found.evidence["groups"] == [list(range(128))]


def test_several_inputs_and_outputs_and_shared_layers() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.a, self.twice = nn.Embedding(7, 8), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, words: Any, x: Any) -> Any:
            h = F.relu(self.a(self.table(words).mean(1) + x))
            return {"out": self.twice(F.relu(self.twice(h))), "h": h}

    report = unspool.diagnose(Two(), (unspool.randint(0, 7, (16, 5)), unspool.randn(16, 8)))
    assert [layer.path for layer in report.layers] == ["a", "twice", "twice"]
    assert report.loss is None


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.h, self.o = nn.Linear(4, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 2)

    def forward(self, x: Any) -> Any:
        h = unspool.zeros(len(x), 16)  # of the default dtype, in the float64 shadow too
        for k in range(x.shape[1]):
            h = unspool.tanh(self.i(x[:, k]) + self.h(h))
        return self.o(h)


def test_a_recurrent_network_vanishes_over_time() -> None:
    report = unspool.diagnose(Recurrent(), unspool.randn(16, 30, 4), unspool.randint(0, 2, (16,)))
    assert [layer.path for layer in report.layers] == ["i", *["i", "h"] * 29, "o"]
    assert (report.forward.label, report.backward.label) == ("healthy", "vanishing")
    assert finding(report, "vanishing_backward").evidence["confirmed_in_float64"]
    assert unspool.get_default_dtype() == unspool.float32


def test_weights_made_of_others() -> None:
    from unspool.nn.utils.parametrizations import weight_norm

    model = nn.Sequential(weight_norm(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 2))
    nn.init.constant_(model[0].bias, -100.0)
    x = unspool.randn(32, 8)
    report = unspool.diagnose(model, x)
    assert {"dead_units", "far_biases"} <= kinds(report)
    assert "0: bias 0" in report.repair(model)
    assert unspool.diagnose(model, x).healthy


def test_transformers_and_linear_layers_of_one_s_own() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(unspool.randn(32, 16) / 4)

        def forward(self, x: Any) -> Any:
            return x @ self.weight.t()

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    report = unspool.diagnose(nn.Sequential(Own(), nn.Tanh(), encoder), unspool.randn(8, 10, 16))
    assert [(x.path, x.activation.name) for x in report.layers] == [
        ("0", "tanh"),
        *(
            (f"2.layers.{i}.{name}", "relu" if name == "linear1" else "none")
            for i in range(2)
            for name in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.out_proj", "linear1", "linear2")
        ),
    ]
    assert report.healthy


def test_a_compiled_module_is_looked_through() -> None:
    model = mlp(2, 8)
    x = unspool.randn(16, 8)
    assert unspool.diagnose(unspool.compile(model), x).to_dict() == unspool.diagnose(model, x).to_dict()
