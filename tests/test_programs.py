"""Programs in the ways people write them for PyTorch, run with the import swapped: the same text is printed.

They print few digits, since float32 sums in another order differ in the last ones; a program whose numbers drift
apart faster than that is not in the folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch 2.13 prints the other side")
PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def swapped(source: str) -> str:
    source = re.sub(r"^import torch$", "import unspool as torch", source, flags=re.MULTILINE)
    source = re.sub(r"^import torch\.([\w.]+) as", r"import unspool.\1 as", source, flags=re.MULTILINE)
    return re.sub(r"^from torch\b", "from unspool", source, flags=re.MULTILINE)


def printed(source: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=[p.stem for p in PROGRAMS])
def test_a_program_prints_the_same(program: Path) -> None:
    source = program.read_text(encoding="utf-8")
    assert swapped(source) != source
    assert printed(swapped(source)) == printed(source)
