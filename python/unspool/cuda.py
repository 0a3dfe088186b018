"""There is no GPU here: what programs ask before they choose a device, and what does nothing without one."""

from __future__ import annotations

from typing import Any

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "is_available", "manual_seed",
           "manual_seed_all", "synchronize"]  # fmt: skip


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to do."""


def manual_seed_all(seed: int) -> None:
    """Nothing to do."""


def empty_cache() -> None:
    """Nothing to do."""


def _absent(name: str) -> Any:
    raise RuntimeError(f"cuda.{name}: unspool computes on the CPU only; there is no CUDA device")


def synchronize(device: Any = None) -> None:
    """RuntimeError: there is nothing to wait for."""
    _absent("synchronize")


def current_device() -> int:
    """RuntimeError: there is none."""
    return _absent("current_device")  # type: ignore[no-any-return]


def get_device_name(device: Any = None) -> str:
    """RuntimeError: there is none."""
    return _absent("get_device_name")  # type: ignore[no-any-return]
