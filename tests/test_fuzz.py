"""Public functions with arbitrary arguments, in a child process: an exception of a known type, never a crash.

1,500 calls by default; `UNSPOOL_FUZZ_CALLS=20000` makes it a campaign. fuzz_calls.py makes the calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = int(os.environ.get("UNSPOOL_FUZZ_CALLS", "1500"))


@pytest.mark.parametrize("seed", range(2))
def test_no_call_crashes_or_leaves_a_changed_tensor(seed: int, root: Path) -> None:
    command = [sys.executable, str(root / "tests" / "fuzz_calls.py"), str(seed), str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tail = "\n".join(done.stdout.splitlines()[-4:])
    assert done.returncode == 0, f"{tail}\n{done.stderr[-2000:]}"
    assert "done:" in tail
