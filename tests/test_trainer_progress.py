"""What a training prints: nothing, or a bar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
