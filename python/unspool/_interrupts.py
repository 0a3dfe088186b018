"""Ctrl-C that waits: for the end of a replay that runs Python, such as an optimizer's step."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["set_sigint", "sigint", "whole"]

# What the module `signal` wraps: all that it adds are enum members, and they make it 25 µs instead of 0.7 to set a
# handler and put it back.
_native = importlib.import_module("_signal")
_SIGINT = int(signal.SIGINT)


def sigint() -> Any:
    """What handles SIGINT."""
    return _native.getsignal(_SIGINT)


def set_sigint(handler: Any) -> None:
    """Another handler of SIGINT, in the main thread."""
    _native.signal(_SIGINT, handler)


def whole(run: Callable[[], None]) -> None:
    """Calls `run`; a SIGINT meanwhile reaches the program's own handler afterwards. In the main thread alone, which is
    where Python handles signals."""
    if threading.current_thread() is not threading.main_thread() or not callable(handler := sigint()):
        run()
        return
    seen: list[Any] = []
    set_sigint(lambda number, frame: seen.append((number, frame)))
    try:
        run()
    finally:
        set_sigint(handler)
    if seen:
        handler(*seen[0])
