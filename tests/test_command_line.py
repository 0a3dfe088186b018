"""`python -m unspool`: what its commands print, what they return, and that the self-check can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import _selfcheck
from unspool.__main__ import main


def command(*args: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "unspool", *args]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def test_info_tells_what_this_is() -> None:
    done = command("info")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == unspool.show_config() == unspool.__config__.show()
    for part in (
        f"unspool {unspool.__version__}\n",
        "compiler: ",
        "-ffp-contract=off",
        "instruction set: ",
        "threads: ",
        f"NumPy: {np.__version__}\n",
        f"Python: {sys.version.split()[0]} ",
    ):
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_check_passes_here_and_says_what_it_looked_at() -> None:
    done = command("check")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line[:16].strip() for line in lines[:-1]] == list(_selfcheck.CHECKS)
    assert all(line[16:].startswith(" ok      ") for line in lines[:-1])
    assert lines[-1].startswith(f"all {len(_selfcheck.CHECKS)} checks passed in ")
    assert max(map(len, lines)) <= 80


_BROKEN: dict[str, tuple[str, str]] = {
    # check -> what breaks it (an attribute of unspool), and a word of what is printed
    "random stream": ("randperm", "PyTorch's"),
    "gradients": ("where", "where: gradient"),
    "matrix products": ("tensor", "product"),
    "threads": ("set_num_threads", "thread"),
    "training": ("optim.SGD", "a weight is off by"),
    "memory": ("from_numpy", "shared"),
}


@pytest.mark.parametrize("check", list(_selfcheck.CHECKS))
def test_each_check_can_fail(check: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name, word = _BROKEN[check]
    owner: Any = unspool
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, last, _breakers(getattr(owner, last))[check])
    monkeypatch.setattr(_selfcheck, "CHECKS", {check: _selfcheck.CHECKS[check]})
    before = unspool.get_num_threads()
    assert main(["check"]) == 1
    assert unspool.get_num_threads() == before
    printed = capsys.readouterr().out
    assert f"{check:<16} FAILED  " in printed
    assert word in printed
    assert "1 of 1 checks failed" in printed


def _breakers(right: Any) -> dict[str, Any]:
    wrong_threads = iter(range(1, 1000))

    def noisy(n: int) -> None:
        """Every call moves the stream's seed, so that no two runs agree."""
        right(n)
        unspool.Generator = type(  # type: ignore[misc]
            "Generator", (), {"manual_seed": lambda self, seed: _GENERATOR().manual_seed(next(wrong_threads))}
        )

    return {
        "random stream": lambda n, generator: right(n, generator=generator).flip(0),
        "gradients": lambda c, x, y: right(c, 2 * x - x.detach(), y),
        "matrix products": lambda a, dtype: right(a + 1, dtype=dtype),
        "threads": noisy,
        "training": lambda p, lr, momentum: right(p, lr=lr * 1.001, momentum=momentum),
        "memory": lambda a: right(a.copy()),
    }


_GENERATOR = unspool.Generator


@pytest.fixture(autouse=True)
def _generator_back() -> Any:
    yield
    unspool.Generator = _GENERATOR  # type: ignore[misc]


def test_demo_prints_the_program_s_lines(root: Path) -> None:
    first, again, other = command("demo"), command("demo", "--seed", "0"), command("demo", "--seed", "1")
    assert (first.returncode, first.stderr) == (0, "")
    assert len(first.stdout.splitlines()) == 100
    assert first.stdout.startswith("Epoch     0, loss ")
    assert first.stdout == again.stdout != other.stdout
    assert command("demo", "--show").stdout == (root / "examples" / "notes_program.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("args", [(), ("train",), ("check", "now"), ("demo", "--seed", "x")])
def test_wrong_arguments_exit_with_2(args: tuple[str, ...]) -> None:
    done = command(*args)
    assert done.returncode == 2
    assert "usage: python -m unspool" in done.stderr


@pytest.mark.parametrize("args", [("--help",), ("info", "--help"), ("check", "-h"), ("demo", "-h")])
def test_help(args: tuple[str, ...]) -> None:
    done = command(*args)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m unspool")
