"""The peer named "fma": multiply-adds in registers and nothing else, the most that the CPU's arithmetic can do.

fma_peak.c is compiled when it is asked for, with the system's C compiler.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

TURNS = 200_000  # a call lasts about a millisecond


def compiler() -> str | None:
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


class Probe(NamedTuple):
    isa: str
    run: Callable[[], object]
    flops: float  # of a run, all threads together


def probe(dtype: str, threads: int) -> Probe:
    """A run takes each thread about a millisecond, or 20 where there are several: starting them costs some 50 µs."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "fma_peak.so"
        source = Path(__file__).with_suffix(".c")
        command = [compiler() or "cc", "-O2", "-ffp-contract=fast", "-shared", "-fPIC", str(source), "-o", str(binary)]
        subprocess.run(command, check=True)
        library = ctypes.CDLL(str(binary))
    library.fma_isa.restype = ctypes.c_char_p
    library.fma_run.restype = ctypes.c_double
    turns, is_double = ctypes.c_long(TURNS * (1 if threads == 1 else 20)), int(dtype == "float64")
    total = ctypes.c_double()

    def alone() -> float:
        return library.fma_run(turns, is_double, ctypes.byref(total))

    def together() -> None:
        others = [threading.Thread(target=alone) for _ in range(threads - 1)]
        for other in others:
            other.start()
        alone()
        for other in others:
            other.join()

    return Probe(library.fma_isa().decode(), alone if threads == 1 else together, alone() * threads)
