"""What `Report.repair` mends, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unspool
from test_diagnose import fingerprint, kinds, mlp
from test_diagnose_findings import batch
from unspool import nn


@pytest.fixture(autouse=True)
def _seed() -> None:
    unspool.manual_seed(1)


def _residual(scale: float) -> Any:
    blocks = [nn.Residual(mlp(1, 32, scale, out=32)) for _ in range(20)]
    return nn.Sequential(nn.Linear(32, 32), *blocks, nn.Linear(32, 10))


def _all(fill: Any) -> Any:
    model = mlp(5, 32)
    for p in model.parameters():
        fill(p)
    return model


SICK: dict[str, Any] = {
    "vanishing": lambda: mlp(30, 32, 1 / 16),
    "exploding": lambda: mlp(30, 32, 16),
    "tanh": lambda: mlp(30, 32, 16, act=nn.Tanh),
    "selu": lambda: mlp(30, 32, 1 / 16, act=nn.SELU),
    "gelu": lambda: mlp(30, 32, 8, act=nn.GELU),
    "residual": lambda: _residual(4.0),
    "constant": lambda: _all(lambda p: nn.init.constant_(p, 0.1)),
    "zero": lambda: _all(nn.init.zeros_),
    "positive": lambda: _all(nn.init.uniform_),
    "overflow": lambda: mlp(100, 32, 16),
    "dead": lambda: mlp(4, 32, bias=-60.0),
    "always on": lambda: mlp(4, 32, bias=60.0),
}


@pytest.mark.parametrize("name", list(SICK))
def test_what_is_repaired_is_healthy_then(name: str) -> None:
    model = SICK[name]()
    x, y = batch()
    report = unspool.diagnose(model, x, y)
    assert not report.healthy
    said = report.repair(model)
    assert said
    assert not any(line.startswith("left") for line in said)
    again = unspool.diagnose(model, x, y)
    assert again.healthy, str(again)
    assert again.repair(model) == []


@pytest.mark.parametrize("scale", [1 / 16, 16])
@pytest.mark.parametrize("classes", [True, False])
def test_what_is_repaired_starts_near_the_loss_of_knowing_nothing(scale: float, classes: bool) -> None:
    """Outputs of a tenth of the targets' variance add a tenth to Var y, and half of 0.1 to ln 10."""
    model, (x, y) = mlp(20, 32, scale, act=nn.SELU), batch()
    if not classes:
        y = 2 * unspool.randn(128, 10)
        y -= y.mean(0)
    unspool.diagnose(model, x, y).repair(model)
    start = unspool.diagnose(model, x, y)
    expected = math.log(10) + 0.05 if classes else 1.1 * y.numpy().var(0).mean()
    assert start.loss == pytest.approx(expected, rel=0.03)


def test_a_last_layer_that_is_not_the_output_keeps_its_scale() -> None:
    model, x = nn.Sequential(*mlp(20, 32, 1 / 16), nn.LayerNorm(10)), unspool.randn(64, 32)
    said = unspool.diagnose(model, x, unspool.randn(64, 10)).repair(model)
    assert not any("for a start" in line for line in said)
    assert model[40].weight.detach().numpy().var() == pytest.approx(1 / 32, rel=0.01)


@pytest.mark.parametrize("depth", [1, 5, 30])
def test_repairing_the_healthy_changes_no_bit(depth: int) -> None:
    model = mlp(depth, 64)
    report = unspool.diagnose(model, *batch(64))
    assert report.healthy
    before = fingerprint(model)
    assert report.repair(model) == []
    assert fingerprint(model) == before


def test_what_weights_cannot_mend_is_said() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    report = unspool.diagnose(model, 1000 * unspool.randn(64, 32))
    before = fingerprint(model)
    said = report.repair(model)
    assert [line.split(":")[1].strip() for line in said] == ["collapsed_linear at 0", "unscaled_inputs"]
    assert fingerprint(model) == before


def _normalised(affine: bool) -> Any:
    layers = [part for _ in range(30) for part in (nn.Linear(32, 32), nn.BatchNorm1d(32, affine=affine), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(32, 10))


def test_what_gets_no_better_stays_as_it_was() -> None:
    """Batch normalisation makes gradients grow, whatever the weights are."""
    model = _normalised(affine=False)
    report = unspool.diagnose(model, *batch())
    before = [p.detach().numpy().tobytes() for p in model.parameters()]
    said = report.repair(model)
    assert [line.split(":")[:2] for line in said] == [["left", f" exploding_backward at {report.findings[0].layer}"]]
    assert [p.detach().numpy().tobytes() for p in model.parameters()] == before


def test_weights_that_only_make_steps_small_get_their_size() -> None:
    """Behind a normalisation their size changes no number of the report but gradient / weight."""
    model = _normalised(affine=False)
    for linear in model[::3]:
        nn.init.normal_(linear.weight, 0.0, math.sqrt(8 / 32))
    said = unspool.diagnose(model, *batch()).repair(model)
    assert said[-1].startswith("left: exploding_backward")
    assert model[0].weight.var().item() == pytest.approx(2 / 32, rel=0.01)


def test_weights_too_large_behind_normalisations_get_their_size() -> None:
    """The verdicts are healthy there, but steps of a usual size are too small to change such weights."""
    layers = [part for _ in range(4) for part in (nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU())]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    for linear in model[::3]:
        nn.init.normal_(linear.weight, 0.0, math.sqrt(16 / 32))
    report = unspool.diagnose(model, *batch())
    assert "weight_scale" in kinds(report)
    assert report.forward.label == report.backward.label == "healthy"
    report.repair(model)
    again = unspool.diagnose(model, *batch())
    assert again.healthy
    assert model[0].weight.var().item() == pytest.approx(again.layers[0].weight_target, rel=0.01)


def test_batch_normalisations_are_shifted_where_gradients_explode() -> None:
    """By E[f'²] / Var f a layer: π / (π - 1) for a ReLU of N(0, 1) in wide layers, and 1.05 for one of N(1.5, 1)."""
    model = _normalised(affine=True)
    x, y = unspool.randn(256, 32), unspool.randint(0, 10, (256,))
    report = unspool.diagnose(model, x, y)
    assert report.backward.factor == pytest.approx(math.pi / (math.pi - 1), rel=0.1)
    assert "biases of about 1.5" in report.findings[0].remedy
    model[1].weight.data.neg_()
    said = report.repair(model)
    assert said[0] == "1 and 29 more normalisations: bias 1.5 times the weight"
    assert all(norm.bias.allclose(unspool.tensor(1.5)) for norm in model[1::3])
    again = unspool.diagnose(model, x, y)
    assert again.healthy
    assert 1.0 < again.backward.factor < 1.15
    assert again.layers[29].norm == "88"
    assert again.layers[30].norm is None


@pytest.mark.parametrize("act", [nn.Sigmoid, nn.Softplus])
def test_a_nonlinearity_that_is_nowhere_0_is_mended_with_biases(act: Any) -> None:
    """Their mean is most of what the next layer reads: scaled weights alone leave gradients to vanish."""
    model = mlp(20, 32, 0.25, act=act)
    x, y = batch()
    report = unspool.diagnose(model, x, y)
    assert "vanishing_backward" in kinds(report)
    assert "of mean 0" in " ".join(report.repair(model))
    assert unspool.diagnose(model, x, y).healthy
    z = model[:5](x).detach().numpy()
    assert np.abs(z.mean(0)).max() < 1e-4
    assert z.var() == pytest.approx(1, abs=1e-3)


def test_gradients_that_explode_at_variance_1_get_smaller_weights() -> None:
    """A gain of 1 / E[f(z)²] makes a hardtanh's gradients grow by 1.32 a layer."""
    model = mlp(30, 64, 16.0, act=nn.Hardtanh)
    report = unspool.diagnose(model, *batch(64))
    assert not report.healthy
    assert "against gradients that explode" in " ".join(report.repair(model))
    assert unspool.diagnose(model, *batch(64)).healthy


def test_far_biases_are_set_to_0_in_one_go() -> None:
    """What the first ones do to the signal hides the others from the rule."""
    blocks = [nn.Residual(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32)) for _ in range(10)]
    model = nn.Sequential(nn.Linear(32, 32), *blocks, nn.Linear(32, 10))
    hidden = [m for m in model.modules() if isinstance(m, nn.Linear)][:-1]
    for linear in hidden:
        nn.init.constant_(linear.bias, 5.0)
    report = unspool.diagnose(model, *batch())
    assert 0 < sum(f.kind == "far_biases" for f in report.findings) < len(hidden)
    report.repair(model)
    assert not any(linear.bias.any() for linear in hidden)
    assert unspool.diagnose(model, *batch()).healthy


def test_another_model_is_refused() -> None:
    report = unspool.diagnose(mlp(30, 32, 16), unspool.randn(64, 32))
    for other, word in ((mlp(32, 32)[:9], "no layer '10'"), (mlp(30, 16), r"'0' has a weight of shape \(16, 16\)")):
        before = fingerprint(other)
        with pytest.raises(ValueError, match=word):
            report.repair(other)
        assert fingerprint(other) == before


def test_a_repair_that_fails_puts_everything_back() -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.broken = mlp(30, 32, 16), False

        def forward(self, x: Any) -> Any:
            if self.broken:
                raise RuntimeError("no")
            return self.body(x)

    model = Fragile()
    report = unspool.diagnose(model, unspool.randn(64, 32))
    model.broken = True
    before = [p.detach().numpy().tobytes() for p in model.parameters()]
    with pytest.raises(RuntimeError, match="no"):
        report.repair(model)
    assert [p.detach().numpy().tobytes() for p in model.parameters()] == before
