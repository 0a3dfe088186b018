"""The package as a package: one version number, what importing it costs and what it leaves alone."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unspool


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def written_version(root: Path) -> str:
    match = re.search(r'^version = "([^"]+)"$', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match.group(1)


def test_version_is_the_one_in_pyproject(root: Path) -> None:
    version = written_version(root)
    assert unspool.__version__ == version
    assert unspool._core.__version__ == version
    assert importlib.metadata.version("unspool") == version


def test_version_is_written_once(root: Path) -> None:
    """No second copy in the sources (CHANGELOG.md tells history, so it names versions)."""
    version = re.escape(written_version(root))
    written = re.compile(rf"version[^\n]{{0,20}}[\"']{version}[\"']", re.IGNORECASE)
    sources = [root / "CMakeLists.txt", *(root / "cpp").rglob("*.[ch]pp"), *(root / "cpp").rglob("*.h")]
    sources += (root / "python").rglob("*.py*")
    again = [str(path.relative_to(root)) for path in sources if path.is_file() and written.search(_text(path))]
    assert again == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.suffix in {".txt", ".cpp", ".hpp", ".h", ".py", ".pyi"} else ""


def test_changelog_knows_the_version(root: Path) -> None:
    assert f"## {written_version(root)}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_numpy_is_all_that_importing_needs() -> None:
    """Nothing outside the standard library, NumPy and unspool itself is loaded."""
    code = """
import sys
import numpy
before = set(sys.modules)
import unspool
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"unspool", "numpy"}))
"""
    assert run_python(code) == "[]"


def test_typed_marker_and_stubs_are_installed() -> None:
    installed = Path(unspool.__file__).parent
    assert (installed / "py.typed").is_file()
    assert (installed / "_core.pyi").is_file()


def test_import_starts_no_thread_and_leaves_numpy_s_generator_alone() -> None:
    code = """
import os
import numpy as np
np.random.seed(7)
before = np.random.get_state()[1].tolist(), len(os.listdir("/proc/self/task"))
import unspool
unspool.manual_seed(0)
unspool.randn(4)
print(before == (np.random.get_state()[1].tolist(), len(os.listdir("/proc/self/task"))))
"""
    assert run_python(code) == "True"


@pytest.mark.parametrize("name", ["nn", "optim", "utils.data", "nn.functional", "nn.init", "optim.lr_scheduler"])
def test_submodules_import_alone(name: str) -> None:
    assert run_python(f"import unspool.{name} as m; print(m.__name__)") == f"unspool.{name}"


def test_the_typed_program_runs() -> None:
    """mypy reads the same program against the stubs."""
    import typed_program

    losses = typed_program.main()
    assert losses[-1] < losses[0]
    assert typed_program.shapes(unspool.rand(3, 4)) == (3, 4, 3, 1, 3, 4, 2, 3)
