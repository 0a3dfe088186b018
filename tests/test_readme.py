"""README does what it says: its Python blocks run, its files exist, its first command reaches its accuracy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(README[: match.start()].count("\n") + 2, match.group(1)) for match in BLOCK.finditer(README)]


def run(*command: str, cwd: Path) -> str:
    env = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("line", "block"), BLOCKS, ids=[f"line{line}" for line, _ in BLOCKS])
def test_block_runs(line: int, block: str, tmp_path: Path) -> None:
    """Each block alone, in a process of its own; what stands in `# prints:` comments behind it must be printed."""
    out = run(sys.executable, "-W", "error", "-c", block, cwd=tmp_path)
    for expected in re.findall(r"# prints: (.+)$", block, re.MULTILINE):
        assert expected in out.splitlines(), f"README.md, line {line}: {expected!r} is not in what the block prints"


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 2


def test_the_notes_program_is_the_example(root: Path) -> None:
    notes = (root / "examples" / "notes_program.py").read_text(encoding="utf-8")
    assert notes in [block for _, block in BLOCKS]


def test_files_named_in_links_exist(root: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (root / target).exists(), target


def test_first_command_reaches_its_accuracy(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (pip install '.[examples]')")
    assert "pip install '.[examples]' && python examples/digits.py" in README
    out = run(sys.executable, str(root / "examples" / "digits.py"), cwd=tmp_path)
    accuracies = [float(percent) for percent in re.findall(r"test accuracy (\d+\.\d+) %", out)]
    assert len(accuracies) == 3
    assert min(accuracies) >= 97.0
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
