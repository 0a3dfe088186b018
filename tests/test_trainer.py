"""Trainer: the bits of one's own loop, with each optimizer, schedule and stream of random numbers."""

from __future__ import annotations

from typing import Any

import pytest

import unspool
from small_training import SIZE, started
from trainer_runs import OPTIMIZERS, Run, everything, generator, numbers
from unspool import nn
from unspool.nn.utils import clip_grad_norm_, clip_grad_value_
from unspool.optim import lr_scheduler
from unspool.train import Trainer
from unspool.utils.data import DataLoader, TensorDataset


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


def test_epochs_of_none() -> None:
    run = Run(22)
    before = everything(run)
    history = Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, epochs=0)
    assert len(history) == 0
    assert str(history) == "no epochs yet"
    assert everything(run) == before


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
