"""How the library was built and what it runs on; the same text as `unspool.show_config()`."""

from __future__ import annotations

import platform

import numpy as np

from unspool import _core

__all__ = ["parallel_info", "show"]


def show() -> str:
    """Version, compiler and flags, instruction set, threads, and the versions of NumPy and Python, a line each."""
    return (
        f"{_core._config()}  NumPy: {np.__version__}\n"
        f"  Python: {platform.python_version()} ({platform.python_implementation()}), "
        f"{platform.system()} {platform.machine()}\n"
    )


def parallel_info() -> str:
    """How many threads compute."""
    return f"unspool:\n  get_num_threads(): {_core.get_num_threads()}\n"
