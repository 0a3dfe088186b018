"""The peer named "openblas": the library of matrix products that NumPy's wheel brings, called without NumPy."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any


def path() -> Path | None:
    """Of the library, whose integers have 64 bits and whose names carry "scipy_" and "64_"."""
    numpy = importlib.util.find_spec("numpy")
    if numpy is None or numpy.origin is None:
        return None
    folder = Path(numpy.origin).parent.parent / "numpy.libs"
    return next(iter(sorted(folder.glob("libscipy_openblas64*.so*"))), None)


def function(name: str, result: Any = None) -> Any:
    found = getattr(ctypes.CDLL(str(path())), f"scipy_{name}64_")
    found.restype = result
    return found


def about() -> dict[str, Any]:
    """Version, the kernels that it chose for this CPU, and threads."""
    config = function("openblas_get_config", ctypes.c_char_p)().decode()  # "OpenBLAS 0.3.31 USE64BITINT …"
    return {
        "version": config.split()[1],
        "isa": function("openblas_get_corename", ctypes.c_char_p)().decode(),
        "threads": function("openblas_get_num_threads", ctypes.c_int)(),
    }
