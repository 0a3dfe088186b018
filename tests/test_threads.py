"""Threads: how many there are, equal bits for any number of them, forks, several Python threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import unspool
from unspool import _core


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = unspool.get_num_threads()
    yield
    unspool.set_num_threads(before)
    _core._set_parallel_threshold(None)


def test_number_of_threads_is_what_was_set() -> None:
    for n in (1, 5, 2):
        unspool.set_num_threads(n)
        assert unspool.get_num_threads() == n
        assert f"threads: {n}\n" in unspool.show_config()
    assert unspool.get_num_interop_threads() == 1


BAD_COUNTS = (0, -1, 1.5, "a", True, None, 2**40, 2**70)


@pytest.mark.parametrize("n", BAD_COUNTS, ids=repr)
def test_bad_number_of_threads(n: Any, torch: ModuleType) -> None:
    before = unspool.get_num_threads()
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        torch.set_num_threads(n)
    with pytest.raises(theirs.type, match=r"^set_num_threads: n .*, got ") as ours:
        unspool.set_num_threads(n)
    assert repr(n) in str(ours.value)
    assert unspool.get_num_threads() == before


def of_a_fresh_process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)


def test_environment_sets_the_number() -> None:
    program = "import unspool; print(unspool.get_num_threads())"
    assert of_a_fresh_process(program, UNSPOOL_NUM_THREADS="3").stdout == "3\n"
    default = int(of_a_fresh_process(program, UNSPOOL_NUM_THREADS="").stdout)
    assert 1 <= default <= len(os.sched_getaffinity(0))
    one_cpu = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {program}"
    assert of_a_fresh_process(one_cpu, UNSPOOL_NUM_THREADS="").stdout == "1\n"


@pytest.mark.parametrize("value", ["0", "-2", "many", "1.5"])
def test_environment_with_a_bad_number_is_an_error_of_the_import(value: str) -> None:
    done = of_a_fresh_process("import unspool", UNSPOOL_NUM_THREADS=value)
    assert done.returncode != 0
    assert f"ImportError: UNSPOOL_NUM_THREADS: must be a positive integer, got '{value}'" in done.stderr
