"""The notes' training loop twice: by hand, as their author wrote it, and by `unspool.Trainer`. Same lines, both times.

    python examples/notes.py --seed 0

By hand is `notes_program.py`, run as it stands. The time of each is that of the whole: network, data, 100 epochs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from pathlib import Path
from typing import Any

import unspool as torch
import unspool.nn as nn
from unspool.optim.lr_scheduler import StepLR
from unspool.train import Callback


class Print(Callback):
    """The program's line after each epoch: the sum of its batches' losses."""

    def epoch_end(self, trainer: Any) -> None:
        epoch_loss = 0.0
        for loss in trainer.history.batch_losses[-1]:
            epoch_loss += loss
        print(f"Epoch {trainer.epoch:5d}, loss {epoch_loss:.3f}")


def by_hand() -> None:
    """The program, which also builds the network and the data."""
    path = Path(__file__).with_name("notes_program.py")
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})


def by_trainer() -> None:
    """The same network, data and 100 epochs."""
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(100, 10), torch.randn(100, 5)
    trainer = torch.Trainer(model, nn.MSELoss(), optimizer, StepLR(optimizer, step_size=10, gamma=0.5))
    trainer.fit(x, y, epochs=100, batch_size=10, callbacks=[Print()])


def printed(program: Any, seed: int) -> tuple[list[str], float]:
    """The lines that it prints, and the seconds that it takes."""
    torch.manual_seed(seed)
    lines = io.StringIO()
    begun = time.perf_counter()
    with contextlib.redirect_stdout(lines):
        program()
    return lines.getvalue().splitlines(), time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    printed(by_hand, seed), printed(by_trainer, seed)  # what is loaded on first use, loaded
    hand, hand_seconds = printed(by_hand, seed)
    ours, our_seconds = printed(by_trainer, seed)
    print(*ours, sep="\n")
    same = hand == ours
    print(f"by hand {1e3 * hand_seconds:.1f} ms, by Trainer {1e3 * our_seconds:.1f} ms", end="; ")
    print(f"the same {len(ours)} lines" if same else "the lines differ")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
