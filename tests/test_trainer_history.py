"""The numbers of a training's epochs: History, and the logs of them in CSV and TensorBoard."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np
import pytest

import unspool
from small_training import started
from trainer_runs import Run, checked
from unspool import nn
from unspool.train import Checkpoint, CSVLog, History, TensorBoardLog, Trainer


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
