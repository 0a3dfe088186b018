"""Trainer's metrics and validation: of which predictions they are, and what they are called with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import unspool
from small_training import started
from trainer_runs import Run, numbers
from unspool import nn
from unspool.optim import lr_scheduler
from unspool.train import Trainer
from unspool.utils.data import DataLoader, TensorDataset


def test_validation_metrics_and_plateau() -> None:
    from sklearn.metrics import mean_absolute_error, r2_score

    run = Run(8, extra=(nn.BatchNorm1d(16), nn.Dropout(0.2)))
    run.scheduler = lr_scheduler.ReduceLROnPlateau(run.optimizer, patience=0)
    x, y = numbers(23)
    trainer = Trainer(run.model, run.criterion, run.optimizer, run.scheduler, metrics=["mae", "r2"])
    history = trainer.fit(run.x, run.y, epochs=4, batch_size=8, validation=(x, y))
    assert all(module.training for module in run.model.modules())
    run.model.eval()
    predicted = run.model(x)
    assert trainer.predict(x, batch_size=5).tolist() == predicted.tolist()
    p, t = predicted.detach().double().numpy(), y.double().numpy()
    assert history["val_mae"][-1] == pytest.approx(mean_absolute_error(t, p), rel=1e-6)
    assert history["val_r2"][-1] == pytest.approx(r2_score(t, p), rel=1e-6)
    assert history["val_loss"][-1] == pytest.approx(((p - t) ** 2).mean(), rel=1e-5)
    assert trainer.evaluate(x, y, batch_size=7)["loss"] == pytest.approx(((p - t) ** 2).mean(), rel=1e-5)
    assert set(history) == {"loss", "lr", "mae", "r2", "val_loss", "val_mae", "val_r2"}
    bad = [i for i in range(1, 4) if history["val_loss"][i] >= min(history["val_loss"][:i])]
    assert history["lr"][-1] == pytest.approx(0.05 * 0.1 ** sum(i < 3 for i in bad))


def test_training_metrics_are_of_the_epochs_own_predictions() -> None:
    run = Run(9)
    labels = unspool.randint(0, 3, (47,))
    seen: list[tuple[Any, Any]] = []

    def keep(prediction: Any, target: Any) -> float:
        seen.append((prediction.clone(), target.clone()))
        return 0.5

    hand = Run(9)
    expected, targets = [], []
    unspool.manual_seed(1)
    for x, y in DataLoader(TensorDataset(hand.x, labels), batch_size=10, shuffle=True):
        hand.optimizer.zero_grad()
        out = hand.model(x)
        nn.functional.cross_entropy(out, y).backward()
        hand.optimizer.step()
        expected.append(out.detach())
        targets.append(y)
    trainer = Trainer(
        run.model, nn.CrossEntropyLoss(), run.optimizer, metrics={"kept": keep, "accuracy": unspool.train.accuracy}
    )
    unspool.manual_seed(1)
    history = trainer.fit(run.x, labels, batch_size=10)
    assert seen[0][0].tolist() == unspool.cat(expected).tolist()
    assert seen[0][1].tolist() == unspool.cat(targets).tolist()
    right = (unspool.cat(expected).argmax(1) == unspool.cat(targets)).double().mean().item()
    assert history["accuracy"] == [right]


def test_predictions_that_a_metric_holds_stay_their_epochs_own() -> None:
    held: list[Any] = []

    def keep(prediction: Any, target: Any) -> float:
        held.append(prediction)  # no copy
        return 0.5

    hand, run = Run(9), Run(9)
    expected = []
    unspool.manual_seed(1)
    for _ in range(3):
        epoch = []
        for x, y in DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True):
            hand.optimizer.zero_grad()
            out = hand.model(x)
            hand.criterion(out, y).backward()
            hand.optimizer.step()
            epoch.append(out.detach())
        expected.append(unspool.cat(epoch).tolist())
    unspool.manual_seed(1)
    Trainer(run.model, run.criterion, run.optimizer, metrics={"kept": keep}).fit(run.x, run.y, epochs=3, batch_size=10)
    assert [prediction.tolist() for prediction in held] == expected


@pytest.mark.filterwarnings("ignore:.*It runs eagerly from now on")
def test_outputs_of_other_columns_are_told_with_their_batch() -> None:
    class Varies(nn.Module):
        """Three columns, and two for batch 2, which Python tells by its numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x)[:, : 2 if x.sum().item() == 240 else 3]

    def loss(prediction: Any, target: Any) -> Any:
        return (prediction - target[:, : prediction.shape[1]]).square().mean()

    x, y = unspool.ones(50, 6), unspool.randn(50, 3)
    x[20:30] = 4.0
    unspool.manual_seed(0)
    hand, model = Varies(), Varies()
    model.load_state_dict(hand.state_dict())
    by_hand, ours = (unspool.optim.SGD(m.parameters(), lr=0.1) for m in (hand, model))
    trainer = Trainer(model, loss, ours, metrics="mae")
    with pytest.raises(
        ValueError, match=r"epoch 0, step 2 gave rows of shape \(2,\) and dtype .*float32, those before \(3,\) and"
    ):
        trainer.fit(x, y, batch_size=10, shuffle=False)
    assert trainer.step == 3
    after = [[p.tolist() for p in hand.parameters()]]
    for first in range(0, 50, 10):
        by_hand.zero_grad()
        loss(hand(x[first : first + 10]), y[first : first + 10]).backward()
        by_hand.step()
        after.append([p.tolist() for p in hand.parameters()])
    assert after.index([p.tolist() for p in model.parameters()]) == 3


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


class _Batches:
    def __init__(self, x: Any, y: Any) -> None:
        self.pairs = list(zip(x.split(10), y.split(10), strict=True))

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.pairs)


@pytest.mark.parametrize("rows", [True, False])
def test_predictions_that_are_no_rows_are_told_before_the_first_update(rows: bool) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x).mean(0, keepdim=True)

    model, (x, y) = Mean(), numbers(30)
    before = [p.tolist() for p in model.parameters()]
    trainer = Trainer(
        model, lambda p, y: (p - y).square().mean(), unspool.optim.SGD(model.parameters(), lr=0.1), metrics=["mae"]
    )
    data: Any = (x, y) if rows else (_Batches(x, y),)
    with pytest.raises(ValueError, match=r"a row of predictions for each example.*\(1, 3\).*\(10, 3\)"):
        trainer.fit(*data, batch_size=10)
    assert [p.tolist() for p in model.parameters()] == before


class _Products(nn.Module):
    """As many columns as rows: the last, short batch's predictions cannot be joined with the others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        h = self.layer(x)
        return h @ h.t()


class _EagerProducts(_Products):
    def forward(self, x: Any) -> Any:
        return super().forward(x) if x.sum().item() < 1e9 else x


@pytest.mark.filterwarnings("ignore:compile.*cannot be frozen")
@pytest.mark.parametrize("kind", [_Products, _EagerProducts])
@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (3, 1)])
@pytest.mark.parametrize("loader", [False, True])
def test_predictions_that_cannot_be_joined_end_the_training_after_whole_steps(
    kind: type[_Products], accumulate: int, loader: bool, steps: int
) -> None:
    """Batches of one step are compared before its update; others where the step is done, and counted."""
    run = Run(11)
    model = kind()
    trainer = Trainer(
        model,
        lambda p, _: p.mean(),
        unspool.optim.SGD(model.parameters(), lr=0.1),
        metrics="mae",
        accumulate=accumulate,
    )
    data = (DataLoader(list(zip(run.x, run.y, strict=True)), 10),) if loader else (run.x, run.y)
    with pytest.raises(ValueError, match="metrics need predictions of one kind for all of an epoch's rows"):
        trainer.fit(*data, batch_size=10, epochs=2, shuffle=False)
    assert trainer.step == steps
    Run(11)  # seeds
    hand = kind()
    optimizer = unspool.optim.SGD(hand.parameters(), lr=0.1)
    for step in range(steps):
        for x in run.x[step * 10 * accumulate : (step + 1) * 10 * accumulate].split(10):
            (hand(x).mean() / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(bool((a == b).all()) for a, b in zip(model.parameters(), hand.parameters(), strict=True))


def test_predictions_that_cannot_be_joined_are_told_by_evaluate() -> None:
    run, model = Run(11), _Products()
    trainer = Trainer(model, lambda p, _: p.mean(), unspool.optim.SGD(model.parameters(), lr=0.1), metrics="mae")
    with pytest.raises(ValueError, match="evaluate: metrics need predictions of one kind for all rows; step 4 gave"):
        trainer.evaluate(run.x, run.y, batch_size=10)
