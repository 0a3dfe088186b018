"""What changes between the steps of a training is seen, though its steps are frozen: modes, layers, numbers, hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
from small_training import ROWS, SIZE, Changes, by_hand, started, state_of
from unspool import nn
from unspool.train import Callback, Trainer
from unspool.utils.data import DataLoader, TensorDataset

CHANGES: dict[str, Callable[[Any], Any]] = {
    "eval mode": lambda model: model.eval(),
    "eval mode of a layer": lambda model: model[1].eval(),
    "dropout": lambda model: setattr(model[2], "p", 0.8),
    "another layer": lambda model: model.__setitem__(3, nn.Tanh()),
    "another parameter": lambda model: setattr(model[4], "weight", nn.Parameter(model[4].weight.detach() * 0.5)),
    "a frozen layer": lambda model: model[0].requires_grad_(False),
    "a hook": lambda model: model[0].register_forward_hook(lambda module, inputs, output: output * 2),
    "other numbers": lambda model: model.load_state_dict({k: t * 2 for k, t in model.state_dict().items()}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rows", [True, False])
def test_what_changes_between_epochs_is_seen(change: str, rows: bool) -> None:
    def after_three(model: Any, epoch: int) -> None:
        if epoch == 2:
            CHANGES[change](model)

    expected = by_hand(6, between=after_three)
    model, optimizer, x, y = started()
    unspool.manual_seed(9)
    loader = DataLoader(
        TensorDataset(x, y), batch_size=SIZE, shuffle=True, collate_fn=None if rows else lambda b: stacked(b)
    )
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    history = trainer.fit(loader, epochs=6, callbacks=[Changes(after_three)])
    assert state_of(model, history.batch_losses) == expected


@pytest.mark.parametrize("kind", ["global", "object", "method", "module", "function within"])
def test_numbers_that_a_loss_reads_are_seen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    own, module = Scaling(), ScalingModule()
    losses: dict[str, Any] = {
        "global": scaled,
        "object": own,
        "method": own.loss,
        "module": module,
        "function within": lambda predicted, target: scaled(predicted, target),
    }

    class Grows(Callback):
        def epoch_end(self, trainer: Any) -> None:
            monkeypatch.setitem(globals(), "SCALE", 1.0 + trainer.epoch)
            own.scale = module.scale = 1.0 + trainer.epoch

    model, optimizer, x, y = started(lambda: nn.Linear(6, 3))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    history = Trainer(model, losses[kind], optimizer).fit(x, y, epochs=5, callbacks=[Grows()])
    first = history["loss"][0]
    assert history["loss"] == pytest.approx([first, first, 2 * first, 3 * first, 4 * first], rel=1e-5)


SCALE = 1.0


def scaled(predicted: Any, target: Any) -> Any:
    return nn.functional.mse_loss(predicted, target) * SCALE


class Scaling:
    def __init__(self) -> None:
        self.scale = 1.0

    def loss(self, predicted: Any, target: Any) -> Any:
        return nn.functional.mse_loss(predicted, target) * self.scale

    __call__ = loss


class ScalingModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, predicted: Any, target: Any) -> Any:
        return nn.functional.mse_loss(predicted, target) * self.scale


def stacked(samples: list[Any]) -> tuple[Any, ...]:
    return tuple(map(unspool.stack, zip(*samples, strict=True)))


def test_a_layer_frozen_by_a_step_is_left_from_the_next_step_on() -> None:
    model, optimizer, x, y = started(momentum=0.0)
    after: list[Any] = []

    class Freezes(Callback):
        every = 1

        def step_end(self, trainer: Any) -> None:
            if (trainer.epoch, trainer.step) == (2, 2):
                model[0].weight.requires_grad_(False)
            if trainer.epoch == 2:
                after.append(model[0].weight.detach().clone())

    Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=4, batch_size=SIZE, callbacks=[Freezes()])
    assert not after[0].equal(after[1])
    assert all(t.equal(after[1]) for t in after[1:])
    assert model[0].weight.detach().equal(after[1])


class Alternates(nn.Module):
    """Python that counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.odd, self.even, self.calls = nn.Linear(6, 3), nn.Linear(6, 3), 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.odd(x) if self.calls % 2 else self.even(x)


class Reads(nn.Module):
    """Batch norm and dropout, then a branch that depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.3)), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.a(x) if x.sum().item() > 0 else self.b(x)


def averaging() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3))


@pytest.mark.filterwarnings("ignore:.*It runs eagerly from now on")
@pytest.mark.parametrize("model", [Alternates, Reads, averaging])
def test_models_that_run_eagerly_have_the_bits_from_the_first_step_on(model: Callable[[], nn.Module]) -> None:
    made, optimizer, x, y = started(model)
    expected = by_hand(3, model)
    unspool.manual_seed(9)
    history = Trainer(made, nn.MSELoss(), optimizer).fit(x, y, epochs=3, batch_size=SIZE)
    assert state_of(made, history.batch_losses) == expected


def test_parameters_added_later_are_clipped_too() -> None:
    model, _, x, y = started()
    optimizer = unspool.optim.SGD(model[4].parameters(), lr=1.0)
    trainer = Trainer(model, nn.MSELoss(), optimizer, clip_value=1e-6)
    optimizer.add_param_group({"params": list(model[0].parameters())})
    before = model[0].weight.detach().clone()
    trainer.fit(x, y, batch_size=ROWS)
    assert (model[0].weight.detach() - before).abs().max().item() <= 1.1e-6


def test_a_schedule_by_step_without_a_scheduler() -> None:
    """There is nothing to call."""
    states = []
    for schedule in ("step", "epoch"):
        model, optimizer, x, y = started()
        history = Trainer(model, nn.MSELoss(), optimizer, schedule=schedule).fit(x, y, epochs=2, batch_size=SIZE)
        states.append(state_of(model, history.batch_losses))
    assert states[0] == states[1]
