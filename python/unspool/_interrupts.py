"""Ctrl-C during a replay that runs Python, such as an optimizer's step: it waits for the end of the replay."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["whole"]

# What the module `signal` wraps: all that it adds are enum members, and they make it 25 µs instead of 0.7 to set a
# handler and put it back.
_native = importlib.import_module("_signal")
_set, _get = _native.signal, _native.getsignal
_SIGINT = int(signal.SIGINT)


def whole(run: Callable[[], None]) -> None:
    """Calls `run`; a SIGINT meanwhile reaches the program's own handler afterwards. In the main thread alone, which is
    where Python handles signals."""
    if threading.current_thread() is not threading.main_thread() or not callable(handler := _get(_SIGINT)):
        run()
        return
    seen: list[Any] = []
    _set(_SIGINT, lambda number, frame: seen.append((number, frame)))
    try:
        run()
    finally:
        _set(_SIGINT, handler)
    if seen:
        handler(*seen[0])
