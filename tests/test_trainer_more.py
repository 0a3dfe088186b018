"""Trainer beside the loop by hand where little is usual: layers that change, odd losses, loaders, resumes."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn
from unspool.optim import lr_scheduler
from unspool.train import Callback, Checkpoint, EarlyStopping, History, Trainer
from unspool.utils.data import DataLoader, IterableDataset, TensorDataset

ROWS, SIZE = 23, 5


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3))


def started(model: Callable[[], nn.Module] = network, momentum: float = 0.9) -> tuple[Any, Any, Any, Any]:
    """Model, optimizer, x and y from one seed."""
    unspool.manual_seed(0)
    made = model()
    optimizer = unspool.optim.SGD(made.parameters(), lr=0.05, momentum=momentum)
    return made, optimizer, unspool.randn(ROWS, 6), unspool.randn(ROWS, 3)


def state_of(model: Any, losses: list[list[float]]) -> list[Any]:
    """All that must be equal: weights, buffers, losses, the random state."""
    return [*(t.numpy().tobytes() for t in model.state_dict().values()), losses, unspool.get_rng_state().tolist()]


def by_hand(
    epochs: int,
    model: Callable[[], nn.Module] = network,
    between: Callable[[Any, int], None] = lambda model, epoch: None,
) -> list[Any]:
    made, optimizer, x, y = started(model)
    unspool.manual_seed(9)
    losses = []
    for epoch in range(epochs):
        losses.append([])
        for inputs, target in DataLoader(TensorDataset(x, y), batch_size=SIZE, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(made(inputs), target)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        between(made, epoch)
    return state_of(made, losses)


class Changes(Callback):
    def __init__(self, change: Callable[[Any, int], None]) -> None:
        self.change = change

    def epoch_end(self, trainer: Any) -> None:
        self.change(trainer.model, trainer.epoch)


# ---- What frozen steps must see -----------------------------------------------------------------------------------

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


# ---- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "kind", "text"),
    [
        (
            nn.MSELoss(reduction="none"),
            ValueError,
            r"fit: loss must give one number, got shape \(5, 3\); see reduction",
        ),
        (lambda p, y: 0.5, TypeError, "fit: loss must give a tensor of one number, got float"),
        (lambda p, y: None, TypeError, "fit: loss must give a tensor of one number, got NoneType"),
        (lambda p, y: (p.mean(), y.mean()), TypeError, "fit: loss must give a tensor of one number, got tuple"),
        (lambda p, y: (p - y).detach().mean(), ValueError, "fit: the loss depends on no parameter"),
    ],
)
def test_losses_that_are_no_number(loss: Any, kind: type[Exception], text: str) -> None:
    model, optimizer, x, y = started()
    unspool.manual_seed(9)
    before = state_of(model, [])
    with pytest.raises(kind, match=text):
        Trainer(model, loss, optimizer).fit(x, y, batch_size=SIZE)
    assert state_of(model, []) == before


def test_metrics_of_a_model_with_several_outputs_are_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.a(x), x

    model, optimizer, x, y = started(Two)
    loss = lambda p, y: nn.functional.mse_loss(p[0], y)  # noqa: E731
    with pytest.raises(TypeError, match="fit: metrics need a model that gives one tensor, got tuple"):
        Trainer(model, loss, optimizer, metrics="mae").fit(x, y)
    assert len(Trainer(model, loss, optimizer).fit(x, y)) == 1


def test_arguments_of_a_trainer() -> None:
    model, optimizer, *_ = started()
    other = started()[0]
    step = lr_scheduler.StepLR
    with pytest.raises(TypeError, match="Trainer: LBFGS evaluates the loss several times"):
        Trainer(model, nn.MSELoss(), unspool.optim.LBFGS(model.parameters()))
    with pytest.raises(ValueError, match="Trainer: none of the optimizer's parameters is the model's"):
        Trainer(other, nn.MSELoss(), optimizer)
    with pytest.raises(TypeError, match=r"Trainer: scheduler must have step\(\), got <class"):
        Trainer(model, nn.MSELoss(), optimizer, step)
    with pytest.raises(ValueError, match="Trainer: clip_norm must be above 0, got '1'"):
        Trainer(model, nn.MSELoss(), optimizer, clip_norm="1")  # type: ignore[arg-type]
    for name in ("epoch", "loss", "lr", "val_loss"):
        with pytest.raises(ValueError, match=f"Trainer: the history has a '{name}' of its own"):
            Trainer(model, nn.MSELoss(), optimizer, metrics={name: lambda p, y: 1.0})


def test_a_loss_with_parameters_of_its_own() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s = nn.Parameter(unspool.zeros(()))

        def forward(self, predicted: Any, target: Any) -> Any:
            return nn.functional.mse_loss(predicted, target) * (-self.s).exp() + self.s

    model, _, x, y = started()
    loss = Weighted()
    Trainer(model, loss, unspool.optim.SGD(loss.parameters(), lr=0.1)).fit(x, y, epochs=2, batch_size=SIZE)
    assert loss.s.item() != 0


def test_a_metric_alone_and_one_that_is_no_number() -> None:
    model, optimizer, x, y = started()
    assert "r2" in Trainer(model, nn.MSELoss(), optimizer, metrics="r2").fit(x, y)

    def shift(predicted: Any, target: Any) -> Any:
        return (predicted - target).mean()

    assert "shift" in Trainer(model, nn.MSELoss(), optimizer, metrics=shift).fit(x, y)
    with pytest.raises(ValueError, match=r"metric 'all' must give one number, got shape \(23, 3\)"):
        Trainer(model, nn.MSELoss(), optimizer, metrics={"all": lambda p, y: p - y}).evaluate(x, y)
    with pytest.raises(TypeError, match="metric 'none' must give one number, got NoneType"):
        Trainer(model, nn.MSELoss(), optimizer, metrics={"none": lambda p, y: None}).evaluate(x, y)


@pytest.mark.parametrize(
    ("callbacks", "text"),
    [
        (EarlyStopping(), "must be a list of them"),
        (None, "must be a list of them"),
        ([EarlyStopping], "must be objects"),
    ],
)
def test_callbacks_that_are_no_list_of_objects(callbacks: Any, text: str) -> None:
    model, optimizer, x, y = started()
    with pytest.raises(TypeError, match=f"fit: callbacks {text}"):
        Trainer(model, nn.MSELoss(), optimizer).fit(x, y, callbacks=callbacks)


@pytest.mark.parametrize("columns", [(6, 2), (4, 3)])
def test_validation_data_of_other_shapes_are_told_before_the_first_step(columns: tuple[int, int]) -> None:
    model, optimizer, x, y = started()
    unspool.manual_seed(9)
    before = state_of(model, [])
    with pytest.raises(ValueError, match="shape"):
        Trainer(model, nn.MSELoss(), optimizer).fit(x, y, validation=(x[:, : columns[0]], y[:, : columns[1]]))
    assert state_of(model, []) == before
    assert all(module.training for module in model.modules())


# ---- Loaders ------------------------------------------------------------------------------------------------------


class Parts:
    """Batches without a length."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def __iter__(self) -> Iterator[Any]:
        return (tuple(a[i : i + SIZE] for a in self.arrays) for i in range(0, ROWS, SIZE))


class Samples(IterableDataset[Any]):
    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        return zip(self.x, self.y, strict=True)


@pytest.mark.parametrize("kind", ["numpy batches", "iterable dataset", "single samples"])
def test_more_kinds_of_data(kind: str) -> None:
    results = []
    for tried in (kind, "tensors"):
        model, optimizer, x, y = started(lambda: nn.Linear(6, 3))
        data: Any = {
            "numpy batches": Parts(x.double().numpy(), y.double().numpy()),
            "iterable dataset": Samples(x, y),
            "single samples": DataLoader(TensorDataset(x, y[:, 0]), batch_size=None),
            "tensors": [Parts(x, y), DataLoader(TensorDataset(x, y[:, :1]), batch_size=1)][kind == "single samples"],
        }[tried]
        loss = (lambda p, y: (p[..., 0] - y.reshape(p.shape[:-1])) ** 2) if kind == "single samples" else nn.MSELoss()
        results.append(Trainer(model, loss, optimizer).fit(data, epochs=2, batch_size=SIZE).batch_losses)
    assert results[0] == results[1]


def test_batches_of_lists_of_tensors_are_named() -> None:
    model, optimizer, x, y = started()
    with pytest.raises(TypeError, match="fit: part 0 of a batch must be a tensor or an array, got "):
        Trainer(model, nn.MSELoss(), optimizer).fit(DataLoader([((a, a), b) for a, b in zip(x, y, strict=True)]))


def test_arrays_for_a_model_in_bfloat16() -> None:
    results = []
    for convert in (lambda t: t.numpy(), lambda t: t.to(unspool.bfloat16)):
        model, optimizer, x, y = started(lambda: nn.Linear(6, 3).to(unspool.bfloat16))
        results.append(Trainer(model, nn.MSELoss(), optimizer).fit(convert(x), convert(y), epochs=2).batch_losses)
    assert results[0] == results[1]


def test_a_rate_test_without_batches_is_told() -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    with pytest.raises(ValueError, match="rate_test: there is no batch"):
        trainer.rate_test(DataLoader(TensorDataset(x, y), batch_size=50, drop_last=True))
    with pytest.raises(ValueError, match="rate_test: 1 steps are done, and there is no batch"):
        trainer.rate_test(iter([(x, y)]))


@pytest.mark.parametrize("metrics", [(), "mae"])
def test_epochs_without_batches_are_told(metrics: Any) -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer, metrics=metrics)
    with pytest.raises(ValueError, match="fit: epoch 0 has no batch"):
        trainer.fit(DataLoader(TensorDataset(x, y), batch_size=50, drop_last=True))
    with pytest.raises(ValueError, match="fit: epoch 1 has no batch"):
        trainer.fit(iter(Parts(x, y)), epochs=2)
    assert len(trainer.history) == 1


def test_step_end_comes_after_the_last_step_of_a_loader_without_length() -> None:
    model, optimizer, x, y = started()
    seen = []

    class Looks(Callback):
        every = 2

        def step_end(self, trainer: Any) -> None:
            seen.append((trainer.epoch, trainer.step))

    Trainer(model, nn.MSELoss(), optimizer).fit(Parts(x, y), epochs=2, callbacks=[Looks()])
    loaded = seen.copy()
    seen.clear()
    Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=2, batch_size=SIZE, callbacks=[Looks()])
    assert loaded == seen == [(0, 2), (0, 4), (0, 5), (1, 1), (1, 3), (1, 5)]


# ---- Callbacks ----------------------------------------------------------------------------------------------------


def test_callbacks_may_evaluate_and_predict() -> None:
    found: list[float] = []

    class Looks(Callback):
        every, gradients = 2, True

        def look(self, trainer: Any) -> None:
            found.append(trainer.evaluate(x[:9], y[:9])["loss"])
            with unspool.no_grad():
                model.eval()
                assert trainer.predict(x[:9]).equal(model(x[:9]))
                model.train()

        fit_begin = epoch_begin = step_begin = step_end = epoch_end = fit_end = look

    results = []
    for callbacks in ([], [Looks()]):
        model, optimizer, x, y = started()
        unspool.manual_seed(9)
        history = Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=3, batch_size=SIZE, callbacks=callbacks)
        results.append(state_of(model, history.batch_losses))
    assert results[0] == results[1]
    assert len(found) > 12
    assert found[0] > found[-1]


@pytest.mark.parametrize("name", ["fit", "rate_test"])
def test_callbacks_may_not_train(name: str) -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)

    class Trains(Callback):
        def epoch_end(self, trainer: Any) -> None:
            getattr(trainer, name)(x, y)

    with pytest.raises(RuntimeError, match=f"{name}: this trainer is training already"):
        trainer.fit(x, y, callbacks=[Trains()])
    assert len(trainer.fit(x, y)) == 1


def test_every_callback_gets_its_fit_end() -> None:
    ends = []

    class Ends(Callback):
        def fit_end(self, trainer: Any) -> None:
            ends.append(trainer.failed)
            raise ZeroDivisionError

    model, optimizer, x, y = started()
    with pytest.raises(ZeroDivisionError):
        Trainer(model, nn.MSELoss(), optimizer).fit(x, y, callbacks=[Ends(), Ends()])
    assert ends == [False, False]


# ---- Going on -----------------------------------------------------------------------------------------------------


class StopsAt(Callback):
    every = 1

    def step_end(self, trainer: Any) -> None:
        trainer.stop = (trainer.epoch, trainer.step) == (1, 2)


RESUMES: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "batch size": ({}, {"batch_size": 6}, ROWS, r"\[23, 5, 1\], and now they are \[23, 6, 1\]"),
    "fewer rows": ({}, {}, 20, r"\[23, 5, 1\], and now they are \[20, 5, 1\]"),
    "accumulate": ({"accumulate": 2}, {}, ROWS, r"\[23, 5, 1\], and now they are \[23, 5, 2\]"),
    "metrics": ({"metrics": "r2"}, {}, ROWS, "without metrics, unlike this trainer"),
}


@pytest.mark.parametrize("case", RESUMES)
def test_half_an_epoch_is_resumed_with_the_same_data_only(case: str, tmp_path: Any) -> None:
    options, arguments, rows, text = RESUMES[case]
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    trainer.fit(x, y, epochs=3, batch_size=SIZE, callbacks=[StopsAt()])
    trainer.save(tmp_path / "half")
    model, optimizer, x, y = started()
    before = state_of(model, [])
    with pytest.raises(ValueError, match=f"fit: resume: the checkpoint is from the middle of an epoch.*{text}"):
        Trainer(model, nn.MSELoss(), optimizer, **options).fit(
            x[:rows], y[:rows], **{"epochs": 3, "batch_size": SIZE, "resume": tmp_path / "half", **arguments}
        )
    assert state_of(model, []) == before


@pytest.mark.parametrize("saved", [True, False])
def test_a_scheduler_on_one_side_only_is_refused(saved: bool) -> None:
    states = []
    for has in (saved, not saved):
        model, optimizer, x, y = started()
        trainer = Trainer(model, nn.MSELoss(), optimizer, lr_scheduler.StepLR(optimizer, 1) if has else None)
        if not states:
            trainer.fit(x, y)
            states.append(trainer.state_dict())
    with pytest.raises(
        ValueError, match=r"fit: resume: (a|no) scheduler was saved, and this trainer has (a|no) scheduler"
    ):
        trainer.fit(x, y, epochs=2, resume=states[0])


def test_callbacks_find_their_states_by_class(tmp_path: Any) -> None:
    def rest(*callbacks: Any) -> tuple[Any, ...]:
        model, optimizer, x, y = started()
        Trainer(model, nn.MSELoss(), optimizer).fit(
            x, y, epochs=4, batch_size=SIZE, callbacks=callbacks, resume=None if first else tmp_path / "whole"
        )
        return callbacks

    first = True
    stopping, best, _ = rest(
        EarlyStopping("loss", 9), Checkpoint(tmp_path / "best", best="loss"), Checkpoint(tmp_path / "whole")
    )
    first = False
    again, moved = rest(Checkpoint(tmp_path / "best", best="loss"), EarlyStopping("loss", 9))
    assert (moved.best_epoch, moved._best.value) == (stopping.best_epoch, stopping._best.value)
    assert again._best.value == best._best.value
    rest()
    fresh = Changes(lambda model, epoch: None)
    rest(fresh, fresh)


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.001, 0.1, step_size_up=3),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 0.1, 2), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        milestones=[2],
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("schedule", ["step", "epoch"])
@pytest.mark.parametrize("at", [1, 7, 13])
def test_every_schedule_goes_on_to_the_bit(name: str, schedule: str, at: int, tmp_path: Any) -> None:
    class Stops(Callback):
        every = 1

        def step_end(self, trainer: Any) -> None:
            trainer.stop = SIZE * trainer.epoch + trainer.step == at

    def run(seed: int, callbacks: Any = (), resume: Any = None) -> tuple[Any, list[Any]]:
        model, optimizer, x, y = started()
        unspool.manual_seed(seed)
        trainer = Trainer(model, nn.MSELoss(), optimizer, SCHEDULES[name](optimizer), schedule=schedule, metrics="mae")
        history = trainer.fit(x, y, epochs=4, batch_size=SIZE, callbacks=callbacks, resume=resume)
        return trainer, [*state_of(model, history.batch_losses), history.to_dict()]

    _, expected = run(9)
    run(9, [Stops()])[0].save(tmp_path / "half")
    assert run(77, resume=tmp_path / "half")[1] == expected


def test_state_dict_stays_what_it_was() -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    trainer.fit(x, y, epochs=2)
    expected = state_of(model, trainer.history.batch_losses)
    state = trainer.state_dict()
    trainer.fit(x, y, epochs=3)
    history = trainer.fit(x, y, epochs=2, resume=state)
    assert state_of(model, history.batch_losses) == expected


def test_the_rate_that_epoch_begin_sets_is_the_epochs() -> None:
    class Warms(Callback):
        def epoch_begin(self, trainer: Any) -> None:
            trainer.optimizer.param_groups[0]["lr"] = 0.25 * (trainer.epoch + 1)

    model, optimizer, x, y = started()
    history = Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=3, callbacks=[Warms()])
    assert history["lr"] == [0.25, 0.5, 0.75]


def test_columns_of_a_history_are_equally_long() -> None:
    model, optimizer, x, y = started()
    trainer = Trainer(model, nn.MSELoss(), optimizer)
    trainer.fit(x, y, validation=(x, y))
    trainer.fit(x, y, epochs=2, resume=trainer.state_dict())
    history = trainer.fit(x, y, epochs=3, validation=(x, y), resume=trainer.state_dict())
    assert [math.isnan(value) for value in history["val_loss"]] == [False, True, False]
    late = History()
    late.add({"loss": 1.0}, [1.0])
    late.add({"loss": 0.5, "val_loss": 2.0}, [0.5])
    np.testing.assert_array_equal(late["val_loss"], [math.nan, 2.0])
    assert re.search(r"^ *1 +0.5 +2$", str(late), re.M)


# ---- The bar ------------------------------------------------------------------------------------------------------

_BAR = """
import unspool
from unspool import nn
model = nn.Linear(6, 3)
trainer = unspool.Trainer(model, nn.MSELoss(), unspool.optim.SGD(model.parameters(), lr=0.01), metrics=["mae", "r2"])
x, y = unspool.randn(2000, 6), unspool.randn(2000, 3)
trainer.fit(x, y, epochs=30, batch_size=10, validation=(x, y))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_bar_in_a_terminal_60_columns_wide_shows_the_loss() -> None:
    import fcntl
    import pty
    import struct
    import termios

    pytest.importorskip("tqdm")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", _BAR], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux' end of file
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait() == 0
    lines = re.split(r"[\r\n]+", text.decode())
    assert max(map(len, lines)) <= 60
    assert any(re.match(r"epoch 30/30: \|.*6000/6000 .*loss=\d", line) for line in lines)
