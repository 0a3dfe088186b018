"""Trainer: the bits of one's own loop, whatever the data come as; what it refuses, and what that leaves as it was."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn
from unspool.nn.utils import clip_grad_norm_, clip_grad_value_
from unspool.optim import lr_scheduler
from unspool.train import Callback, Checkpoint, CSVLog, EarlyStopping, History, TensorBoardLog, Trainer
from unspool.train import trainer as trainer_module
from unspool.train.data import Rows
from unspool.utils.data import DataLoader, Dataset, Subset, TensorDataset


def network(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), *extra, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def numbers(rows: int = 47) -> tuple[unspool.Tensor, unspool.Tensor]:
    return unspool.randn(rows, 6), unspool.randn(rows, 3)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: unspool.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda p: unspool.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: unspool.optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: unspool.optim.RMSprop(p, lr=0.01),
    "Adagrad": lambda p: unspool.optim.Adagrad(p, lr=0.01),
}


class Run:
    """A training by hand or by Trainer, from one seed; `state` is all that must be equal."""

    def __init__(
        self, seed: int = 0, optimizer: str = "SGD", extra: tuple[nn.Module, ...] = (), rows: int = 47
    ) -> None:
        unspool.manual_seed(seed)
        self.model = network(*extra)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = lr_scheduler.StepLR(self.optimizer, step_size=2, gamma=0.5)
        self.x, self.y = numbers(rows)
        self.criterion: Any = nn.MSELoss()
        self.losses: list[list[float]] = []

    def by_hand(self, loader: Any, epochs: int) -> Run:
        unspool.manual_seed(99)
        for _ in range(epochs):
            epoch = []
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                epoch.append(loss.item())
            self.scheduler.step()
            self.losses.append(epoch)
        return self

    def by_trainer(self, *data: Any, **arguments: Any) -> Run:
        unspool.manual_seed(99)
        trainer = Trainer(self.model, self.criterion, self.optimizer, self.scheduler)
        self.losses = trainer.fit(*data, **arguments).batch_losses
        return self

    def state(self) -> list[Any]:
        found = [t.numpy().tobytes() for t in self.model.state_dict().values()]
        for state in self.optimizer.state_dict()["state"].values():
            found += [t.numpy().tobytes() if unspool.is_tensor(t) else t for t in state.values()]
        return [*found, self.losses, self.scheduler.get_last_lr(), unspool.randn(3).tolist()]


def generator(seed: int) -> unspool.Generator:
    return unspool.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rows", [40, 47, 3])
def test_bits_of_the_loop(name: str, rows: int) -> None:
    hand, ours = Run(1, name, rows=rows), Run(1, name, rows=rows)
    expected = hand.by_hand(DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True), 5).state()
    assert ours.by_trainer(ours.x, ours.y, epochs=5, batch_size=10).state() == expected


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("rows", [40, 47])
def test_streams_of_random_numbers(shuffle: bool, own: bool, rows: int) -> None:
    """The loader's draws from both streams, also with dropout between them."""
    layers = (nn.Dropout(0.3), nn.Linear(16, 16))
    hand, ours = Run(2, extra=layers, rows=rows), Run(2, extra=layers, rows=rows)
    first = {k: v.clone() for k, v in ours.model.state_dict().items()}
    hand.model.load_state_dict(first)  # the extra layers are the same ones
    g, h = (generator(5), generator(5)) if own else (None, None)
    hand.by_hand(DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=shuffle, generator=g), 4)
    expected = hand.state()
    ours.model.load_state_dict(first)
    ours.by_trainer(ours.x, ours.y, epochs=4, batch_size=10, shuffle=shuffle, generator=h)
    assert ours.state() == expected
    if g is not None and h is not None:
        assert g.get_state().tolist() == h.get_state().tolist()


def test_one_stream_for_order_and_dropout() -> None:
    """RandomSampler's last, empty draw comes between the full batches and the short one."""
    runs = []
    for by_hand in (True, False):
        run = Run(3, extra=(nn.Dropout(0.3),))
        g = unspool.default_generator
        if by_hand:
            run.by_hand(DataLoader(TensorDataset(run.x, run.y), batch_size=10, shuffle=True, generator=g), 3)
        else:
            run.by_trainer(run.x, run.y, epochs=3, batch_size=10, generator=g)
        runs.append(run.state())
    assert runs[0] == runs[1]


class Pairs(Dataset[Any]):
    """Samples that Python makes."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.x[i] * 2, self.y[i]


@pytest.mark.parametrize("kind", ["loader", "drop_last", "subset", "dataset", "python", "iterable"])
def test_every_kind_of_data(kind: str) -> None:
    runs = []
    for by_hand in (True, False):
        run = Run(4)
        rows = TensorDataset(run.x, run.y)
        given: Any = {
            "loader": lambda rows=rows: DataLoader(rows, batch_size=8, shuffle=True),
            "drop_last": lambda rows=rows: DataLoader(rows, batch_size=8, shuffle=True, drop_last=True),
            "subset": lambda rows=rows: DataLoader(Subset(rows, list(range(3, 40))), batch_size=8, shuffle=True),
            "dataset": lambda rows=rows: rows,
            "python": lambda run=run: DataLoader(Pairs(run.x, run.y), batch_size=8, shuffle=True),
            "iterable": lambda run=run: Batches(run.x, run.y),
        }[kind]()
        if by_hand:
            loader = DataLoader(given, batch_size=8, shuffle=True) if kind == "dataset" else given
            run.by_hand(loader, 3)
        else:
            run.by_trainer(given, epochs=3, batch_size=8)
        runs.append(run.state())
    assert runs[0] == runs[1]


class Batches:
    """An iterable that does not say how long it is."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, 40, 8):
            yield self.x[start : start + 8], self.y[start : start + 8]


def test_arrays_lists_and_labels() -> None:
    """NumPy's arrays get the model's dtype, whole numbers are labels."""
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(40, 6)), random.integers(0, 3, 40).astype(np.int32)
    runs = []
    for data in (
        (x, labels),
        (x.tolist(), labels.tolist()),
        (unspool.tensor(x).float(), unspool.tensor(labels).long()),
    ):
        run = Run(5)
        run.criterion = nn.CrossEntropyLoss()
        runs.append(run.by_trainer(*data, epochs=3, batch_size=10).state())
    assert runs[0] == runs[1] == runs[2]


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(3, 3)

        def forward(self, p: Any, q: Any) -> Any:
            return self.a(p) + self.b(q)

    x, y = numbers(30)
    models = []
    for by_hand in (True, False):
        unspool.manual_seed(0)
        model = Two()
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.1)
        if by_hand:
            for a, b, t in DataLoader(TensorDataset(x, y, y), batch_size=10, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(a, b), t).backward()
                optimizer.step()
        else:
            trainer = Trainer(model, nn.MSELoss(), optimizer)
            trainer.fit((x, y), y, batch_size=10)
            assert trainer.predict((x, y)).tolist() == model(x, y).tolist()
        models.append([p.tolist() for p in model.parameters()])
    assert models[0] == models[1]


@pytest.mark.parametrize("rows", [40, 43])
@pytest.mark.parametrize("clips", [{}, {"clip_norm": 0.1}, {"clip_value": 0.01}])
def test_accumulation_and_clipping(rows: int, clips: dict[str, float]) -> None:
    hand, ours = Run(6, rows=rows), Run(6, rows=rows)
    parameters = list(hand.model.parameters())
    unspool.manual_seed(0)
    for _ in range(3):
        batches = list(DataLoader(TensorDataset(hand.x, hand.y), batch_size=5, shuffle=True))
        epoch = []
        for i, (x, y) in enumerate(batches):
            loss = hand.criterion(hand.model(x), y)
            (loss / 3).backward()
            epoch.append(loss.item())
            if (i + 1) % 3 == 0 or i + 1 == len(batches):
                if "clip_value" in clips:
                    clip_grad_value_(parameters, clips["clip_value"])
                if "clip_norm" in clips:
                    clip_grad_norm_(parameters, clips["clip_norm"])
                hand.optimizer.step()
                hand.optimizer.zero_grad()
        hand.scheduler.step()
        hand.losses.append(epoch)
    expected = hand.state()
    unspool.manual_seed(0)
    trainer = Trainer(ours.model, ours.criterion, ours.optimizer, ours.scheduler, accumulate=3, **clips)
    ours.losses = trainer.fit(ours.x, ours.y, epochs=3, batch_size=5).batch_losses
    assert ours.state() == expected


def test_schedule_by_step() -> None:
    runs = []
    for by_hand in (True, False):
        run = Run(7)
        run.scheduler = lr_scheduler.OneCycleLR(run.optimizer, max_lr=0.1, total_steps=15)
        if by_hand:
            for _ in range(3):
                epoch = []
                for x, y in DataLoader(TensorDataset(run.x, run.y), batch_size=10, shuffle=True):
                    run.optimizer.zero_grad()
                    loss = run.criterion(run.model(x), y)
                    loss.backward()
                    run.optimizer.step()
                    run.scheduler.step()
                    epoch.append(loss.item())
                run.losses.append(epoch)
        else:
            trainer = Trainer(run.model, run.criterion, run.optimizer, run.scheduler, schedule="step")
            run.losses = trainer.fit(run.x, run.y, epochs=3, batch_size=10).batch_losses
        runs.append(run.state())
    assert runs[0] == runs[1]


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
        ValueError, match=r"the epoch's results are rows of shape \(50, 3\).*; batch 2 gives shape \(10, 2\)"
    ):
        trainer.fit(x, y, batch_size=10, shuffle=False)
    after = [[p.tolist() for p in hand.parameters()]]
    for first in range(0, 50, 10):
        by_hand.zero_grad()
        loss(hand(x[first : first + 10]), y[first : first + 10]).backward()
        by_hand.step()
        after.append([p.tolist() for p in hand.parameters()])
    assert after.index([p.tolist() for p in model.parameters()]) in (2, 3)


def test_a_model_that_cannot_be_frozen_is_told_once() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x) if x.sum().item() > -1e9 else x

    x, y = numbers(20)
    states = []
    for by_hand in (True, False):
        unspool.manual_seed(0)
        model = Asks()
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.1)
        if by_hand:
            for _ in range(4):
                for a, b in DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(a), b).backward()
                    optimizer.step()
        else:
            with pytest.warns(UserWarning, match="cannot be frozen|runs eagerly") as told:
                Trainer(model, nn.MSELoss(), optimizer).fit(x, y, epochs=4, batch_size=10)
            assert len(told) == 1
        states.append([p.tolist() for p in model.parameters()])
    assert states[0] == states[1]


# ---- Callbacks and interrupts --------------------------------------------------------------------------------


class Notes(Callback):
    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.calls: list[tuple[Any, ...]] = []

    def fit_begin(self, trainer: Trainer) -> None:
        self.calls.append(("fit_begin",))

    def epoch_begin(self, trainer: Trainer) -> None:
        self.calls.append(("epoch_begin", trainer.epoch))

    def step_end(self, trainer: Trainer) -> None:
        assert len(trainer.losses) == trainer.step
        self.calls.append(("step_end", trainer.epoch, trainer.step))

    def epoch_end(self, trainer: Trainer) -> None:
        self.calls.append(("epoch_end", trainer.epoch, len(trainer.history)))

    def fit_end(self, trainer: Trainer) -> None:
        self.calls.append(("fit_end", trainer.failed))


def test_the_protocol_of_callbacks() -> None:
    run, notes = Run(10), Notes(every=2)
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=2, batch_size=10, callbacks=[notes])
    expected: list[tuple[Any, ...]] = [("fit_begin",)]
    for epoch in range(2):
        expected += [
            ("epoch_begin", epoch),
            *(("step_end", epoch, k) for k in ((2, 4, 5), (1, 3, 5))[epoch]),  # after 2, 4, 6, 8, 10 and 5 in all
            ("epoch_end", epoch, epoch + 1),
        ]
    assert notes.calls == [*expected, ("fit_end", False)]


def test_a_callback_may_look_at_gradients() -> None:
    """And the training has the same bits."""

    class Looks(Callback):
        every, gradients = 3, True

        def __init__(self) -> None:
            self.seen: list[Any] = []
            self.before: Any = None

        def step_begin(self, trainer: Trainer) -> None:
            assert all(p.grad is None for p in trainer.model.parameters())
            self.before = trainer.model[0].weight.detach().clone()

        def step_end(self, trainer: Trainer) -> None:
            weight = trainer.model[0].weight
            if weight.grad is not None:
                self.seen.append((trainer.epoch, trainer.step, weight.grad.tolist(), (weight - self.before).tolist()))

    looks, plain = Run(40), Run(40)
    callback = Looks()
    expected = plain.by_trainer(plain.x, plain.y, epochs=6, batch_size=10).state()
    assert looks.by_trainer(looks.x, looks.y, epochs=6, batch_size=10, callbacks=[callback]).state() == expected
    assert [5 * epoch + step for epoch, step, _, _ in callback.seen] == list(range(3, 31, 3))

    hand, wanted, steps = Run(40), [], 0
    unspool.manual_seed(99)
    for _ in range(6):
        for x, y in DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True):
            before = hand.model[0].weight.detach().clone()
            hand.optimizer.zero_grad()
            hand.criterion(hand.model(x), y).backward()
            hand.optimizer.step()
            steps += 1
            if steps % 3 == 0:
                wanted.append((hand.model[0].weight.grad.tolist(), (hand.model[0].weight - before).tolist()))
        hand.scheduler.step()
    assert [(g, d) for _, _, g, d in callback.seen] == wanted


def test_early_stopping_gives_the_best_weights() -> None:
    run = Run(11)
    x, y = numbers(30)
    stopping = EarlyStopping(patience=2)
    trainer = Trainer(run.model, run.criterion, unspool.optim.SGD(run.model.parameters(), lr=0.3, momentum=0.9))
    history = trainer.fit(run.x, run.y, epochs=100, batch_size=10, validation=(x, y), callbacks=[stopping])
    best = int(np.argmin(history["val_loss"]))
    assert stopping.best_epoch == best
    assert len(history) == best + 3
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(history["val_loss"][best], rel=1e-6)


@pytest.mark.parametrize("at", [0, 1, 7, 12])
def test_a_callback_that_raises_leaves_whole_steps(at: int) -> None:
    class Raises(Callback):
        every = 1
        count = 0

        def step_end(self, trainer: Trainer) -> None:
            self.count += 1
            if self.count > at:
                raise RuntimeError("enough")

    hand, ours = Run(12), Run(12)
    unspool.manual_seed(99)
    done = 0
    while done <= at:
        for x, y in DataLoader(TensorDataset(hand.x, hand.y), batch_size=10, shuffle=True):
            if done > at:
                break
            hand.optimizer.zero_grad()
            hand.criterion(hand.model(x), y).backward()
            hand.optimizer.step()
            done += 1
        else:
            hand.scheduler.step()
    with pytest.raises(RuntimeError, match="enough"):
        ours.by_trainer(ours.x, ours.y, epochs=20, batch_size=10, callbacks=[Raises()])
    for a, b in zip(hand.model.parameters(), ours.model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler, also where a shell has started this in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_whole_steps_and_can_be_resumed() -> None:
    def trainer_of(run: Run) -> Trainer:
        return Trainer(run.model, run.criterion, run.optimizer, run.scheduler, metrics=["mae"])

    def big() -> Run:
        run = Run(13)
        run.x, run.y = numbers(20_000)
        return run

    whole = big()
    history = trainer_of(whole).fit(whole.x, whole.y, epochs=12, batch_size=10, generator=generator(1))
    run = big()
    trainer = trainer_of(run)
    stopped = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))

    class Starts(Callback):
        def fit_begin(self, trainer: Trainer) -> None:
            stopped.start()

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.x, run.y, epochs=1000, batch_size=10, generator=generator(1), callbacks=[Starts()])
    stopped.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    state = trainer.state_dict()
    assert state["losses"] == (history.batch_losses[trainer.epoch][: trainer.step] if trainer.epoch < 12 else [])
    other = big()
    again = trainer_of(other)
    resumed = again.fit(other.x, other.y, epochs=12, batch_size=10, generator=generator(7), resume=state)
    assert resumed.to_dict() == history.to_dict()
    for a, b in zip(whole.model.parameters(), other.model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, [1] * 20), (1e9, [1, 1, 18])])
def test_ctrl_c_is_answered_within_a_tenth_of_a_second_of_steps(
    seconds: float, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The native loop comes back after the step in which its time is over; without one, at the end of the epoch."""
    assert 0 < trainer_module._CHUNK <= 0.1
    monkeypatch.setattr(trainer_module, "_CHUNK", seconds)
    run = Run(14, rows=200)
    done: list[int] = []
    before = Rows.run

    def watched(*arguments: Any) -> int:
        done.append(before(*arguments))
        return done[-1]

    monkeypatch.setattr(Rows, "run", watched)
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, batch_size=10)
    assert done == calls  # the first two are recorded


# ---- Refusals ------------------------------------------------------------------------------------------------


def everything(run: Run) -> list[Any]:
    grads = [None if p.grad is None else p.grad.tolist() for p in run.model.parameters()]
    return [
        [t.tolist() for t in run.model.state_dict().values()],
        grads,
        {k: [str(v) for v in s.values()] for k, s in run.optimizer.state_dict()["state"].items()},
        unspool.get_rng_state().tolist(),
    ]


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


def test_fit_within_fit_is_refused() -> None:
    run = Run(21)
    trainer = Trainer(run.model, run.criterion, run.optimizer)

    class Again(Callback):
        def epoch_end(self, trainer: Trainer) -> None:
            trainer.fit(run.x, run.y)

    with pytest.raises(RuntimeError, match="training already"):
        trainer.fit(run.x, run.y, callbacks=[Again()])


def test_epochs_of_none() -> None:
    run = Run(22)
    before = everything(run)
    history = Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=0)
    assert len(history) == 0
    assert str(history) == "no epochs yet"
    assert everything(run) == before


# ---- Threads -------------------------------------------------------------------------------------------------


def test_fits_in_threads_give_the_serial_bits() -> None:
    """`UNSPOOL_FITS` of them (the campaign: 1000), over 8 threads, each with a generator of its own."""
    count = int(os.environ.get("UNSPOOL_FITS", "64"))
    x, y = numbers(40)
    runs = []
    for seed in range(count):
        runs.append((Run(seed), Run(seed)))

    def fit(run: Run, seed: int) -> None:
        trainer = Trainer(run.model, run.criterion, run.optimizer, run.scheduler)
        run.losses = trainer.fit(x, y, epochs=4, batch_size=8, generator=generator(seed)).batch_losses

    for seed, (serial, _) in enumerate(runs):
        fit(serial, seed)

    def work(k: int) -> None:
        for seed in range(k, count, 8):
            fit(runs[seed][1], seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for serial, parallel in runs:
        unspool.manual_seed(0)
        expected = serial.state()
        unspool.manual_seed(0)
        assert parallel.state() == expected


@pytest.mark.parametrize("labels", [False, True])
def test_other_threads_run_during_an_epoch(labels: bool) -> None:
    run = Run(23)
    run.x, run.y = numbers(300_000)
    if labels:
        run.y, run.criterion = unspool.randint(0, 3, (300_000,)), nn.CrossEntropyLoss()
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, batch_size=10)
    done.set()
    thread.join()
    assert ticks > 10


# ---- History -------------------------------------------------------------------------------------------------


def test_history_in_80_columns() -> None:
    history = History()
    for epoch in range(100):
        history.add({f"a_long_metric_{k}": epoch / 7 for k in range(9)}, [1.0])
    assert max(map(len, str(history).splitlines())) <= 80
    assert str(history).count("…") > 0
    assert "<table>" in history._repr_html_()
    assert History.from_dict(history.to_dict()) == history
    with pytest.raises(KeyError, match="no 'loss'"):
        history["loss"]


def test_history_plot(tmp_path: Any) -> None:
    run = Run(24)
    history = Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=3, validation=(run.x, run.y))
    history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no epochs"):
        History().plot()


def test_rate_test_leaves_everything_as_it_was() -> None:
    run = Run(25, extra=(nn.BatchNorm1d(16),))
    run.criterion(run.model(run.x), run.y).backward()
    trainer = Trainer(run.model, run.criterion, run.optimizer)
    before = everything(run)
    found = trainer.rate_test(run.x, run.y, batch_size=10, start=1e-4, stop=100.0, steps=60)
    assert everything(run) == before
    assert run.optimizer.param_groups[0]["lr"] == 0.05
    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[1] / found.rates[0] == pytest.approx(10 ** (6 / 59))
    assert found.suggestion is None or 1e-4 <= found.suggestion <= 100
    with pytest.raises(ValueError, match="0 < start < stop"):
        trainer.rate_test(run.x, run.y, start=1.0, stop=0.1)


def test_nothing_is_printed_where_no_terminal_is(capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(26)
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=2)
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(27)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm looks for notebooks' widgets
        Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=2, batch_size=10, progress=True)
    text = capfd.readouterr().err
    assert "epoch 2/2" in text
    assert "10/10" in text
    assert "loss=" in text


# ---- Files ---------------------------------------------------------------------------------------------------


def checked(run: Run, **more: Any) -> Trainer:
    return Trainer(run.model, run.criterion, run.optimizer, run.scheduler, **more)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_a_checkpoint_goes_on_to_the_bit(name: str, own: bool, stopped: int, tmp_path: Any) -> None:
    path = tmp_path / "training.safetensors"
    whole = Run(30, name, extra=(nn.BatchNorm1d(16),))
    first = {k: v.clone() for k, v in whole.model.state_dict().items()}
    data: dict[str, Any] = {"batch_size": 10, "validation": (whole.x, whole.y)}
    unspool.manual_seed(5)
    history = checked(whole, metrics=["mae"]).fit(
        whole.x, whole.y, epochs=8, generator=generator(1) if own else None, **data
    )
    whole.losses = history.batch_losses
    expected = whole.state()

    part = Run(30, name, extra=(nn.BatchNorm1d(16),))
    part.model.load_state_dict(first)
    unspool.manual_seed(5)
    log = CSVLog(tmp_path / "log.csv")
    checked(part, metrics=["mae"]).fit(
        part.x,
        part.y,
        epochs=stopped,
        callbacks=[Checkpoint(path), log],
        generator=generator(1) if own else None,
        **data,
    )
    rest = Run(31, name, extra=(nn.BatchNorm1d(16),))
    rest.x, rest.y = part.x, part.y
    resumed = checked(rest, metrics=["mae"]).fit(
        rest.x, rest.y, epochs=8, callbacks=[Checkpoint(path), log], generator=generator(9) if own else None,
        resume=path, **data,
    )  # fmt: skip
    rest.losses = resumed.batch_losses
    assert rest.state() == expected
    assert resumed == history
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(8))
    assert [float(row["val_mae"]) for row in rows] == history["val_mae"]


@pytest.mark.parametrize("epochs", [3, 5, 8])
def test_rows_of_a_log_after_the_checkpoint_are_written_anew(epochs: int, tmp_path: Any) -> None:
    """The training went on after epoch 3, then was resumed from there."""
    whole, part, rest = Run(42), Run(42), Run(43)
    data: dict[str, Any] = {"batch_size": 10, "validation": (whole.x[:9], whole.y[:9])}
    unspool.manual_seed(5)
    checked(whole).fit(whole.x, whole.y, epochs=epochs, callbacks=[CSVLog(tmp_path / "whole.csv")], **data)
    unspool.manual_seed(5)
    log, saved = CSVLog(tmp_path / "log.csv"), Checkpoint(tmp_path / "at-{epoch}", every_epochs=3)
    checked(part).fit(part.x, part.y, epochs=6, callbacks=[saved, log], **data)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 7
    checked(rest).fit(part.x, part.y, epochs=epochs, callbacks=[log], resume=tmp_path / "at-2", **data)
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_checkpoints_of_the_best_and_of_every_third(tmp_path: Any) -> None:
    run = Run(32)
    x, y = numbers(30)
    trainer = checked(run)
    every = Checkpoint(tmp_path / "at-{epoch}.safetensors", every_epochs=3)
    best = Checkpoint(tmp_path / "best.safetensors", best="val_loss")
    history = trainer.fit(run.x, run.y, epochs=8, batch_size=10, validation=(x, y), callbacks=[every, best])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "at-2.safetensors", "at-5.safetensors", "at-7.safetensors", "best.safetensors"
    ]  # fmt: skip
    saved = unspool.load(tmp_path / "best.safetensors")
    assert saved["epoch"] == 1 + int(np.argmin(history["val_loss"]))
    run.model.load_state_dict(saved["model"])
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path: Any) -> None:
    run = Run(33)
    trainer = checked(run)
    with pytest.raises(OSError, match="nowhere"):
        trainer.fit(run.x, run.y, epochs=3, callbacks=[Checkpoint(tmp_path / "nowhere" / "file.safetensors")])
    assert len(trainer.history) == 1


def test_a_stop_within_an_epoch_is_resumed_there(tmp_path: Any) -> None:
    path = tmp_path / "training.safetensors"

    class Stop(Callback):
        every = 1

        def step_end(self, trainer: Trainer) -> None:
            trainer.stop = trainer.epoch == 2 and trainer.step == 3

    whole = Run(34)
    history = checked(whole, accumulate=2, metrics=["mae"]).fit(whole.x, whole.y, epochs=5, batch_size=5)
    after = unspool.get_rng_state()
    part = Run(34)
    trainer = checked(part, accumulate=2, metrics=["mae"])
    trainer.fit(part.x, part.y, epochs=5, batch_size=5, callbacks=[Stop()])
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (2, 3, 2)
    trainer.save(path)
    unspool.manual_seed(77)
    rest = Run(35)
    resumed = checked(rest, accumulate=2, metrics=["mae"]).fit(part.x, part.y, epochs=5, batch_size=5, resume=path)
    assert resumed == history
    assert [p.tolist() for p in rest.model.parameters()] == [p.tolist() for p in whole.model.parameters()]
    assert unspool.get_rng_state().tolist() == after.tolist()
    loader = DataLoader(TensorDataset(part.x, part.y), batch_sampler=[[0, 1], [2, 3]])
    with pytest.raises(ValueError, match="middle of an epoch"):
        checked(Run(35), accumulate=2).fit(loader, epochs=5, resume=path)


def test_a_stop_after_an_epoch_s_last_step_is_resumed_there() -> None:
    """Between the last step and the epoch's numbers."""
    whole, part, rest = Run(41), Run(41), Run(41)
    history = checked(whole).fit(whole.x, whole.y, epochs=3, batch_size=10, generator=generator(1))

    class Raises(Callback):
        every = 5

        def step_end(self, trainer: Trainer) -> None:
            raise KeyboardInterrupt

    trainer = checked(part)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(part.x, part.y, epochs=3, batch_size=10, callbacks=[Raises()], generator=generator(1))
    assert (trainer.epoch, trainer.step) == (0, 5)
    resumed = checked(rest).fit(
        rest.x, rest.y, epochs=3, batch_size=10, generator=generator(2), resume=trainer.state_dict()
    )
    assert resumed == history
    assert [p.tolist() for p in rest.model.parameters()] == [p.tolist() for p in whole.model.parameters()]


def test_bad_callbacks() -> None:
    with pytest.raises(ValueError, match="patience must be an int of at least 1, got 0"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="min_delta must be at least 0"):
        EarlyStopping(min_delta=-1)
    with pytest.raises(ValueError, match='mode must be "auto"'):
        EarlyStopping(mode="least")
    for every in (0, 1.5):
        callback = Notes(every)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"Notes.every must be an int of at least 1, got {every}"):
            checked(Run(36)).fit(X, Y, callbacks=[callback])
    with pytest.raises(ValueError, match="every_epochs must be"):
        Checkpoint("x", every_epochs=0)
    run = Run(36)
    with pytest.raises(ValueError, match="EarlyStopping: no 'val_loss' in the history, which has loss, lr"):
        checked(run).fit(run.x, run.y, epochs=2, callbacks=[EarlyStopping()])


def test_tensorboard_names_its_extra(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"unspool\[log\]"):
        TensorBoardLog(tmp_path)


def test_tensorboard_gets_each_epochs_numbers(tmp_path: Any) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (pip install '.[log]')")
    run = Run(37)
    seen: list[tuple[str, float, int]] = []
    log = TensorBoardLog(tmp_path)
    made = log._make

    def watched(folder: str) -> Any:
        writer = made(folder)
        before = writer.add_scalar
        writer.add_scalar = lambda *a: (seen.append(a), before(*a))
        return writer

    log._make = watched
    history = checked(run).fit(run.x, run.y, epochs=3, callbacks=[log])
    assert [value for name, value, _ in seen if name == "loss"] == history["loss"]
    assert any(tmp_path.iterdir())


def test_the_documentation_s_program_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "training.md", "exec"), {})
    assert "val_r2" in capsys.readouterr().out


def test_the_example_prints_the_same_lines_twice(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "examples" / "notes.py"), "--seed", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 101
    assert "the same 100 lines" in done.stdout


def test_accuracy_of_scikit_learn_s_classifier() -> None:
    """The same network, start, batches, epochs and solver, over five seeds, on a third that is held out."""
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    theirs, ours = [], []
    for seed in range(5):
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=1 / 3, random_state=seed, stratify=y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier = MLPClassifier((100,), max_iter=100, n_iter_no_change=100, alpha=0, random_state=seed)
            theirs.append(classifier.fit(x_train, y_train).score(x_test, y_test))
        unspool.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
        for layer in (model[0], model[2]):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)
        trainer = Trainer(model, nn.CrossEntropyLoss(), unspool.optim.Adam(model.parameters()), metrics=["accuracy"])
        trainer.fit(x_train, y_train, epochs=100, batch_size=200)
        ours.append(trainer.evaluate(x_test, y_test)["accuracy"])
    # One of 2,995 pictures is 0.0003; which are right at the end differs with the instruction set.
    assert np.mean(ours) > np.mean(theirs) - 0.002
