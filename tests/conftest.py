"""What all tests share. Warnings are errors (pyproject.toml); tolerances stand in tolerances.py."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run; a failure is met again by the next run.
hypothesis.settings.register_profile(
    "unspool", derandomize=True, deadline=None, max_examples=50, database=None, print_blob=True
)
hypothesis.settings.register_profile("thorough", parent=hypothesis.settings.get_profile("unspool"), max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("UNSPOOL_HYPOTHESIS_PROFILE", "unspool"))


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch 2.13 on one thread, the reference; a test that asks for it is skipped where it is not installed."""
    module = pytest.importorskip("torch", reason="PyTorch 2.13 is not installed (pip install '.[torch]')")
    if not module.__version__.startswith("2.13."):
        pytest.skip(f"comparisons are with PyTorch 2.13; this is {module.__version__}")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT
