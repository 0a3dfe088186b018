"""What Trainer refuses, with which words; and that it changes nothing then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unspool
from small_training import SIZE, started, state_of
from trainer_runs import Run, everything
from unspool import nn
from unspool.optim import lr_scheduler
from unspool.train import EarlyStopping, Trainer
from unspool.utils.data import DataLoader, TensorDataset

X, Y = unspool.ones(20, 6), unspool.ones(20, 3)
NAN = X.clone()
NAN[17, 3] = float("nan")

BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "lengths": ((X, Y[:19]), {}, ValueError, "x has 20 rows and y has 19"),
    "no rows": ((X[:0], Y[:0]), {}, ValueError, "x has no rows"),
    "columns": ((X[:, :5], Y), {}, ValueError, r"\(10, 5\)"),
    "targets": ((X, Y[:, :1]), {}, ValueError, r"output has shape \(10, 3\).*\(10, 1\)"),
    "flat targets": ((X, Y[:, 0]), {}, ValueError, r"output has shape \(10, 3\).*\(10,\)"),
    "nan in x": ((NAN, Y), {}, ValueError, "x has nan in row 17, column 3"),
    "nan in y": ((X, NAN[:, :3]), {}, ValueError, "y has nan in row 17|must be finite"),
    "nan in a loader": ((DataLoader(TensorDataset(NAN, Y)),), {}, ValueError, "tensor 0 of x has nan in row 17"),
    "epochs": ((X, Y), {"epochs": -1}, ValueError, "epochs must be an int of at least 0, got -1"),
    "float epochs": ((X, Y), {"epochs": 1.5}, ValueError, "epochs must be an int"),
    "batch_size": ((X, Y), {"batch_size": 0}, ValueError, "batch_size must be an int of at least 1, got 0"),
    "no target": ((X,), {}, TypeError, "y is missing"),
    "target twice": ((TensorDataset(X, Y), Y), {}, TypeError, "y must be left out"),
    "text": ((X, ["a"] * 20), {}, TypeError, "y must hold numbers"),
    "a number": ((X, 3.0), {}, ValueError, "y must have a row for each example"),
    "one tensor": ((TensorDataset(X),), {}, TypeError, "batches must be"),
    "validation": ((X, Y), {"validation": (X, Y[:3])}, ValueError, "validation: x has 20 rows and y has 3"),
    "generator": ((X, Y), {"generator": 3}, TypeError, "generator must be a Generator"),
    "resume": ((X, Y), {"resume": {"model": {}}}, ValueError, "resume must be what a Trainer saved"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_change_nothing(case: str) -> None:
    data, arguments, kind, text = BAD[case]
    run = Run(15, extra=(nn.BatchNorm1d(16),))
    run.criterion(run.model(run.x), run.y).backward()  # gradients that must stay
    trainer = Trainer(run.model, run.criterion, run.optimizer)
    if case == "nan in y":
        data = (X, Y.clone())
        data[1][17, 2] = float("nan")
    before = everything(run)
    with pytest.raises(kind, match=text):
        trainer.fit(*data, **{"batch_size": 10, **arguments})
    assert everything(run) == before
    trainer.fit(X, Y, batch_size=10)  # and it still works


def test_a_checkpoint_of_another_network_changes_nothing() -> None:
    run, other = Run(16), Run(16, extra=(nn.Linear(16, 16),))
    trainer = Trainer(other.model, other.criterion, other.optimizer, other.scheduler)
    trainer.fit(other.x, other.y, batch_size=10)
    before = everything(run)
    with pytest.raises((RuntimeError, ValueError, KeyError)):
        Trainer(run.model, run.criterion, run.optimizer, run.scheduler).fit(
            run.x, run.y, resume=trainer.state_dict(), epochs=5
        )
    assert everything(run) == before


def test_a_batch_that_is_not_finite_is_named() -> None:
    def batches() -> Iterator[Any]:
        yield X[:10], Y[:10]
        yield NAN[10:], Y[10:]

    class Again:
        def __iter__(self) -> Iterator[Any]:
            return batches()

    run = Run(17)
    with pytest.raises(FloatingPointError, match="epoch 0, step 1: tensor 0 of the batch has nan in row 7, column 3"):
        run.by_trainer(Again(), epochs=2)
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())


def test_a_training_that_diverges_is_stopped_or_not() -> None:
    run = Run(18)
    optimizer = unspool.optim.SGD(run.model.parameters(), lr=1e4)
    with pytest.raises(FloatingPointError, match=r"the loss of epoch \d+, step \d+ is (nan|inf)"):
        Trainer(run.model, run.criterion, optimizer).fit(run.x, run.y, epochs=50, batch_size=10)
    history = Trainer(run.model, run.criterion, optimizer, nonfinite="continue").fit(run.x, run.y, epochs=2)
    assert np.isnan(history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"accumulate": 0}, ValueError, "accumulate must be an int of at least 1, got 0"),
        ({"clip_norm": -1.0}, ValueError, "clip_norm must be above 0, got -1.0"),
        ({"metrics": ["f1"]}, ValueError, "metrics must be of accuracy, mae, r2 or functions, got 'f1'"),
        ({"metrics": [3]}, TypeError, "metrics must be names or functions, got 3"),
        ({"metrics": ["mae", "mae"]}, ValueError, "names of their own, got 'mae' twice"),
        ({"schedule": "week"}, ValueError, "schedule must be"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite must be"),
        ({"scheduler": 3}, TypeError, "scheduler must have step"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    run = Run(19)
    with pytest.raises(kind, match=text):
        Trainer(run.model, run.criterion, run.optimizer, **arguments)


def test_what_is_no_model_loss_or_optimizer() -> None:
    run = Run(20)
    with pytest.raises(TypeError, match="model must be a Module"):
        Trainer(len, run.criterion, run.optimizer)
    with pytest.raises(TypeError, match="loss must be callable, got 3"):
        Trainer(run.model, 3, run.optimizer)
    with pytest.raises(TypeError, match="optimizer must be an Optimizer"):
        Trainer(run.model, run.criterion, 3)


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
