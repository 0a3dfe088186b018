"""What a training prints: nothing, or a bar."""

from __future__ import annotations

import warnings

import pytest

from trainer_runs import Run
from unspool.train import Trainer


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
