"""What programs ask of `torch.cuda` before they settle for the CPU, where everything is here."""

from __future__ import annotations

from typing import Any

__all__ = [
    "amp", "current_device", "device_count", "empty_cache", "get_device_capability", "get_device_name",
    "get_device_properties", "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "seed_all", "set_device",
    "synchronize",
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


def seed_all() -> None:
    """Nothing to seed."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


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


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Raises RuntimeError: there is none."""
    return tuple(_no_device("get_device_capability"))


def get_device_properties(device: Any = None) -> Any:
    """Raises RuntimeError: there is none."""
    _no_device("get_device_properties")


def set_device(device: Any) -> None:
    """Raises RuntimeError: there is none."""
    _no_device("set_device")


def __getattr__(name: str) -> Any:
    if name == "amp":  # a submodule, which needs this one
        from importlib import import_module

        return import_module("unspool.cuda.amp")
    raise AttributeError(f"module 'unspool.cuda' has no attribute {name!r}; there is no CUDA device")
