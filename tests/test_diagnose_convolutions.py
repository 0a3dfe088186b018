"""Diagnosis, repair and monitor of convolutional networks: units are channels, fan-in counts the kernel's places."""

from __future__ import annotations

import math

import numpy as np
import pytest

import unspool
from unspool import Tensor, nn


def network(scale: float, depth: int = 10, channels: int = 12) -> nn.Sequential:
    """Convolutions of 3 × 3 with He's weights times `scale`, and a linear layer for 4 classes."""
    unspool.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 36, 4))
    nn.init.he_(model)
    with unspool.no_grad():
        for layer in model:
            if isinstance(layer, nn.Conv2d):
                layer.weight.mul_(scale)
    return model


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = unspool.Generator().manual_seed(5)
    return unspool.randn(8, 3, 6, 6, generator=generator), unspool.tensor([0, 1, 2, 3, 3, 2, 1, 0])


@pytest.mark.parametrize(("scale", "label"), [(1.0, "healthy"), (0.4, "vanishing"), (3.0, "exploding")])
def test_verdicts_and_repair(scale: float, label: str, batch: tuple[Tensor, Tensor]) -> None:
    model = network(scale)
    report = unspool.diagnose(model, *batch)
    assert (report.forward.label, report.backward.label) == (label, label)
    assert len(report.layers) == 12
    if label == "healthy":
        before = [p.clone() for p in model.parameters()]
        report.repair(model)
        assert all(unspool.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    else:
        assert report.repair(model)
        assert unspool.diagnose(model, *batch).healthy


def test_the_numbers_of_a_layer(batch: tuple[Tensor, Tensor]) -> None:
    model = network(1.0, depth=2)
    x, y = batch
    first = model[0](x)
    z = model[2](model[1](first))
    (gradient,) = unspool.autograd.grad(nn.functional.cross_entropy(model[3:](z), y), z)
    layer = unspool.diagnose(model, x, y).layers[1]
    values, weight = z.detach().double().numpy(), model[2].weight.detach().double().numpy()
    assert (layer.kind, layer.fan_in, layer.fan_out) == ("Conv2d", 12 * 9, 12)
    assert layer.activation.name == "relu"
    assert layer.weight_target == pytest.approx(2 / (12 * 9), rel=1e-6)
    assert layer.weight_var == pytest.approx(weight.var(), rel=1e-6)
    assert layer.z.variance == pytest.approx(values.var(), rel=1e-5)
    np.testing.assert_allclose(layer.z.unit_mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-7)
    assert layer.gradient is not None
    assert layer.gradient.variance == pytest.approx(gradient.double().numpy().var(), rel=1e-5)


def test_dead_and_symmetric_channels(batch: tuple[Tensor, Tensor]) -> None:
    model = network(1.0, depth=2)
    with unspool.no_grad():
        model[2].bias[:6].fill_(-1e3)
    assert unspool.diagnose(model, *batch).layers[1].dead == 0.5
    model = network(1.0, depth=2)
    with unspool.no_grad():  # channels 1 and 4 are one, and so is what reads them
        model[2].weight[4] = model[2].weight[1]
        model[4].weight[:, 4] = model[4].weight[:, 1]
    found = unspool.diagnose(model, *batch)
    assert found.layers[1].twins == [[1, 4]]
    assert [f.layer for f in found.findings if f.kind == "symmetric_units"] == ["2"]


def test_pictures_are_judged_by_channel() -> None:
    """Columns that are black in every picture are no features of another scale."""
    x = unspool.randn(8, 1, 6, 6)
    x[:, :, :, :2] = 0
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    nn.init.he_(model)
    assert "unscaled_inputs" not in [f.kind for f in unspool.diagnose(model, x).findings]


def test_sizes_that_a_batch_must_tell(batch: tuple[Tensor, Tensor]) -> None:
    """Residual blocks add up whatever the rule says; the batch gives each convolution its size, biases aside."""
    unspool.manual_seed(2)
    blocks = [nn.Residual(nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU())) for _ in range(16)]
    model = nn.Sequential(nn.Conv2d(3, 12, 1), *blocks, nn.Flatten(), nn.Linear(12 * 36, 4))
    for p in model.parameters():
        nn.init.kaiming_normal_(p) if p.dim() > 1 else nn.init.normal_(p)
    report = unspool.diagnose(model, *batch)
    assert not report.healthy
    done = report.repair(model)
    assert any("variance 1 on the batch" in line for line in done), done
    assert unspool.diagnose(model, *batch).healthy


def test_convolutions_in_a_row_make_no_matrix(batch: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 4))
    assert "collapsed_linear" not in [f.kind for f in unspool.diagnose(model, *batch).findings]


def test_a_monitor_sees_channels(batch: tuple[Tensor, Tensor]) -> None:
    model = network(1.0, depth=2)
    with unspool.no_grad():
        model[2].bias[:6].fill_(-1e3)
    monitor = unspool.diagnose.Monitor(model, every=2, window=4)
    optimizer = unspool.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        monitor(loss)
    assert monitor.samples[-1].dead["2"] == 0.5
    assert math.isfinite(monitor.samples[-1].update["2"])


def test_what_is_not_looked_at_is_named() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.memory = nn.Embedding(9, 6), nn.LSTM(6, 8, batch_first=True)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

        def forward(self, words: Tensor) -> Tensor:
            return self.head(self.norm(self.memory(self.embedding(words))[0][:, -1]))

    report = unspool.diagnose(Reader(), unspool.tensor([[1, 2, 3], [4, 5, 8]]))
    (found,) = [f for f in report.findings if f.kind == "passed_over"]
    assert (found.layer, found.severity, found.evidence) == ("memory", "info", {"modules": {"memory": "LSTM"}})
    made = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    model = nn.Sequential(made, nn.PReLU(), nn.Conv1d(1, 1, 1), nn.Linear(4, 2))
    assert "passed_over" not in [f.kind for f in unspool.diagnose(model, unspool.randn(5, 1, 3)).findings]
