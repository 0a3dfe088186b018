"""PyTorch's profiler, as programs call it, over `unspool.profile`: the times of operations in a scope, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from enum import Enum
from typing import Any

from unspool._profile import profile as _native

__all__ = ["ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "tensorboard_trace_handler"]


class ProfilerActivity(Enum):
    """What is watched: here the CPU, whatever is asked for."""

    CPU = 0
    XPU = 1
    CUDA = 2


class ProfilerAction(Enum):
    """What the profiler does in a step of a `schedule`."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, **_: Any
) -> Callable[[int], ProfilerAction]:
    """The action of each step, for `profile(schedule=…)`, which records all steps all the same."""

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        period = wait + warmup + active
        if step < 0 or (repeat > 0 and step >= repeat * period):
            return ProfilerAction.NONE
        at = step % period
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < period - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


class profile:
    """A scope whose operations are timed. Arguments are PyTorch's; only `on_trace_ready` is read."""

    def __init__(
        self,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Any = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        **_: Any,
    ) -> None:
        self._native = _native()
        self._ready = on_trace_ready
        self.step_num = 0

    def __enter__(self) -> profile:
        self._native.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._native.__exit__(*error)
        if self._ready is not None:
            self._ready(self)

    def start(self) -> None:
        """Begin, as entering the scope does."""
        self.__enter__()

    def stop(self) -> None:
        """End, as leaving the scope does."""
        self.__exit__(None, None, None)

    def step(self) -> None:
        """Count a step."""
        self.step_num += 1

    def key_averages(self, *_: Any, **__: Any) -> Any:
        """Times by operation; `table()` of it is text."""
        return self._native.key_averages()

    def events(self) -> Any:
        """All events, in the order of their starts."""
        return self._native.events()

    def export_chrome_trace(self, path: str) -> None:
        """Write the trace."""
        self._native.export_chrome_trace(path)


class record_function(ContextDecorator):
    """A named scope, without effect: the table has operations alone."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Any:
    """For `on_trace_ready`: write the trace into the folder."""

    def write(profiler: profile) -> None:
        from pathlib import Path

        Path(dir_name).mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(Path(dir_name) / f"{worker_name or 'worker'}.pt.trace.json"))

    return write
