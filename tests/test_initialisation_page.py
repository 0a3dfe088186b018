"""docs/initialisation.md runs as one program, prints what it says it prints, and makes the pictures that it shows.

UNSPOOL_UPDATE_PICTURES=1 puts the pictures that were made in the place of those under docs/.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "initialisation.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SHOWN = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> tuple[list[list[str]], Path]:
    """What each block prints, as lines, and the folder in which all ran."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install '.[examples]')")
    folder = tmp_path_factory.mktemp("initialisation")
    program = "\n".join(f"{block}\nprint('--- end of block')" for block in BLOCKS)
    command = [sys.executable, "-W", "error", "-c", program]
    # one thread for NumPy's QR of small matrices: two tests side by side would keep each other waiting
    env = os.environ | {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return [part.splitlines() for part in done.stdout.split("--- end of block\n")[:-1]], folder


def test_there_are_blocks_and_pictures() -> None:
    assert len(BLOCKS) >= 9
    assert len(SHOWN) == 5


def test_it_prints_what_it_says(made: Any) -> None:
    printed, _ = made
    for block, lines in zip(BLOCKS, printed, strict=True):
        expected = re.findall(r"^# prints: (.+)$", block, re.MULTILINE)
        assert [line for line in expected if line not in lines] == [], lines
        assert bool(expected) == bool(lines)


def test_it_makes_the_pictures_that_it_shows(made: Any) -> None:
    _, folder = made
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(target).name for target in SHOWN)
    for target in SHOWN:
        path = PAGE.parent / target
        if os.environ.get("UNSPOOL_UPDATE_PICTURES"):
            shutil.copy(folder / path.name, path)
        assert path.stat().st_size < MOST_BYTES
        assert labels(path) == labels(folder / path.name)


def test_no_picture_is_left_over() -> None:
    kept = {f"initialisation/{path.name}" for path in (PAGE.parent / "initialisation").iterdir()}
    assert kept == set(SHOWN)


def labels(path: Path) -> list[str]:
    """The texts in an SVG, except the ticks' numbers, which depend on matplotlib's version."""
    texts = [
        "".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]
    return [text for text in texts if re.search(r"[^\W\d]", text)]
