"""The notes' training program, changed in its imports alone, prints what PyTorch prints.

The program (examples/notes_program.py) is run as text, with a seed put before it, against unspool and against PyTorch.
The printed losses have three decimals; summation order may move the last one by one, in at most MAX_OFF_BY_ONE lines
of a seed. (PyTorch itself, fed inputs perturbed by 1e-7, prints the same digits.)
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

LINE = re.compile(r"Epoch +(\d+), loss (\d+)\.(\d{3})")
MAX_OFF_BY_ONE = 5


def program(root: Path, package: str) -> str:
    """The program's text, importing from `package` (it is written for unspool)."""
    text = (root / "examples" / "notes_program.py").read_text(encoding="utf-8")
    if package == "torch":
        text = text.replace("import unspool as torch, unspool.nn as nn", "import torch, torch.nn as nn")
        text = text.replace("from unspool.", "from torch.")
    assert package in text
    assert {"torch": "unspool", "unspool": "import torch"}[package] not in text
    return text


def printed(text: str, package: str, seed: int) -> list[str]:
    """The lines that the program prints when `torch.manual_seed(seed)` stands before it."""
    first = {"unspool": "import unspool as torch", "torch": "import torch"}[package]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(
            compile(f"{first}\ntorch.manual_seed({seed})\n{text}", "notes_program.py", "exec"), {"__name__": "__main__"}
        )
    return out.getvalue().splitlines()


def thousandths(line: str, epoch: int) -> int:
    """The loss of a line, as a whole number of last digits; everything else of the line must be right."""
    match = LINE.fullmatch(line)
    assert match is not None, line
    whole, fraction = match.group(2), match.group(3)
    assert line == f"Epoch {epoch:5d}, loss {whole}.{fraction}"
    return int(whole) * 1000 + int(fraction)


def off_by_one(ours: list[str], theirs: list[str]) -> int:
    """How many lines differ, by one in the last digit; more than that fails at once."""
    assert len(ours) == len(theirs) == 100
    count = 0
    for epoch, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        difference = abs(thousandths(mine, epoch) - thousandths(other, epoch))
        assert difference <= 1, f"unspool: {mine!r}, PyTorch: {other!r}"
        count += difference
    return count


@pytest.mark.parametrize("seed", range(5))
def test_prints_pytorch_s_lines(seed: int, root: Path, torch: ModuleType) -> None:
    ours = printed(program(root, "unspool"), "unspool", seed)
    theirs = printed(program(root, "torch"), "torch", seed)
    assert off_by_one(ours, theirs) <= MAX_OFF_BY_ONE


def test_the_same_seed_prints_the_same_lines(root: Path) -> None:
    text = program(root, "unspool")
    first = printed(text, "unspool", 3)
    assert len(first) == 100
    assert first == printed(text, "unspool", 3)
    assert first != printed(text, "unspool", 4)


def test_the_comparison_sees_a_wrong_digit() -> None:
    lines = [f"Epoch {epoch:5d}, loss 1.{epoch:03d}" for epoch in range(100)]
    assert off_by_one(lines, lines) == 0
    assert off_by_one([*lines[:-1], "Epoch    99, loss 1.100"], lines) == 1
    for wrong in (
        "Epoch    99, loss 1.101",
        "Epoch   99, loss 1.099",
        "Epoch    98, loss 1.099",
        "Epoch    99, loss nan",
    ):
        with pytest.raises(AssertionError):
            off_by_one([*lines[:-1], wrong], lines)
