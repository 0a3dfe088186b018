"""Bad input raises a typed exception that says what is wrong, and changes nothing. The table is in `bad_calls.py`.

The calls run in child processes, many to a child. A child that dies is counted against the case that it had begun,
and another one goes on behind it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import bad_calls

_CHILDREN = 2  # at a time


def _start(first: int, last: int) -> subprocess.Popen[str]:
    # the package that this process imported, installed or not
    import unspool

    path = os.pathsep.join([str(Path(unspool.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, bad_calls.__file__, str(first), str(last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def _death(code: int, errors: str) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    return f"the child was {how}: {errors[-400:]}"


def _collect(child: subprocess.Popen[str], last: int, found: dict[int, Any]) -> None:
    """Read a child to its end; after a death, go on with the next case in a new one."""
    while True:
        output, errors = child.communicate(timeout=300)
        begun = None
        for line in output.splitlines():
            report = json.loads(line)
            if "problem" in report:
                found[report["number"]] = report
                begun = None
            else:
                begun = report["number"]
        if child.returncode == 0:
            return
        assert begun is not None, _death(child.returncode, errors)
        found[begun] = {"problem": _death(child.returncode, errors)}
        if begun + 1 >= last:
            return
        child = _start(begun + 1, last)


def test_the_runner_sees_deaths_and_changes() -> None:
    first = len(bad_calls.CASES)
    last = first + len(bad_calls.CONTROLS)
    found: dict[int, Any] = {}
    _collect(_start(first, last), last, found)
    problems = [found[n]["problem"] for n in range(first, last)]
    wanted = ["SIGSEGV", "['a']", "'sgd'", "default generator", "raised nothing", "KeyError", "lacks"]
    for word, problem in zip(wanted, problems, strict=True):
        assert problem is not None
        assert word in problem


@pytest.fixture(scope="module")
def reports() -> dict[int, Any]:
    n = len(bad_calls.CASES)
    cuts = [n * k // _CHILDREN for k in range(_CHILDREN + 1)]
    children = [_start(a, b) for a, b in pairwise(cuts)]
    found: dict[int, Any] = {}
    for child, last in zip(children, cuts[1:], strict=True):
        _collect(child, last, found)
    return found


def test_the_table_is_long_and_its_names_are_unique() -> None:
    names = [case.name for case in bad_calls.CASES]
    assert len(names) >= 700
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("number", range(len(bad_calls.CASES)), ids=[case.name for case in bad_calls.CASES])
def test_call(reports: dict[int, Any], number: int) -> None:
    report = reports.get(number, {"problem": "not run"})
    assert report["problem"] is None, f"{bad_calls.CASES[number].code}\n{report['problem']}"
