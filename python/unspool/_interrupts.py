"""Ctrl-C during a replay that runs Python, such as an optimizer's step: it waits for the end of the replay."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["whole"]


def whole(run: Callable[[], None]) -> None:
    """Calls `run`; a SIGINT meanwhile reaches the program's own handler afterwards. In the main thread alone, which is
    where Python handles signals."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        run()
        return
    seen: list[Any] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append((number, frame)))
    try:
        run()
    finally:
        signal.signal(signal.SIGINT, handler)
    if seen:
        handler(*seen[0])
