"""What the notes' training program (examples/notes_program.py) costs without its imports: 100 epochs of 10 batches.

An iteration is the whole program, from building the network to its last printed line, DataLoader included.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import harness


def setup(package: str) -> Callable[[], object]:
    path = Path(__file__).resolve().parent.parent / "examples" / "notes_program.py"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    code = compile(
        "".join(line for line in lines if not line.startswith(("import ", "from "))), "notes_program.py", "exec"
    )
    torch, data = import_module(package), import_module(f"{package}.utils.data")
    names = {
        "torch": torch,
        "nn": import_module(f"{package}.nn"),
        "TensorDataset": data.TensorDataset,
        "DataLoader": data.DataLoader,
        "StepLR": import_module(f"{package}.optim.lr_scheduler").StepLR,
    }

    def program() -> None:
        torch.manual_seed(0)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, dict(names))
        assert printed.getvalue().count("\n") == 100

    return program


CASES = [harness.Case("the notes' program", ("unspool", "torch"), ratios=(harness.against("torch", 1 / 6),))]

if __name__ == "__main__":
    harness.main(__doc__, CASES, setup, seconds=0.5)
