"""What programs ask of `torch.cuda` before they settle for the CPU, where everything is here."""

from __future__ import annotations

from typing import Any

__all__ = [
    "current_device", "device_count", "empty_cache", "get_device_name", "is_available", "is_initialized",
    "manual_seed", "manual_seed_all", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to free."""


def _no_device(op: str) -> Any:
    raise RuntimeError(f"cuda.{op}: there is no CUDA device; unspool computes on the CPU")


def current_device() -> int:
    """Raises RuntimeError: there is none."""
    return int(_no_device("current_device"))


def get_device_name(device: Any = None) -> str:
    """Raises RuntimeError: there is none."""
    return str(_no_device("get_device_name"))


def synchronize(device: Any = None) -> None:
    """Raises RuntimeError: there is none."""
    _no_device("synchronize")
