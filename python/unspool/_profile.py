"""`unspool.profile`: the time that each operation takes, eager or in a frozen plan."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from unspool import _core

__all__ = ["Averages", "Event", "profile"]


class Event(NamedTuple):
    """One run of an operation. Times are in microseconds from the profile's start; `self_us` is without what ran
    within."""

    name: str
    start_us: float
    total_us: float
    self_us: float
    thread: int
    frozen: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    key: str
    count: int
    self_cpu_time_total: float
    cpu_time_total: float

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total / self.count


_SORTS = ("self_cpu_time_total", "cpu_time_total", "cpu_time", "count", "key")


def _time(us: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3f}{unit}"
    return f"{us:.3f}us"


class Averages(list[_Row]):
    """Times by operation, in microseconds: rows of key, count, self_cpu_time_total, cpu_time_total, cpu_time."""

    def table(self, sort_by: str = "self_cpu_time_total", row_limit: int = 100) -> str:
        """The rows as text of at most 80 columns, the largest of `sort_by` first.

        Raises:
            ValueError: sort_by is no column.
        """
        if sort_by not in _SORTS:
            raise ValueError(f"table: sort_by must be one of {', '.join(_SORTS)}, got {sort_by!r}")
        rows = sorted(self, key=lambda row: getattr(row, sort_by), reverse=sort_by != "key")[:row_limit]
        whole = sum(row.self_cpu_time_total for row in self)
        width = 27
        lines = [
            f"{'Name':{width}} {'Self CPU %':>10} {'Self CPU':>10} {'CPU total':>10} {'CPU mean':>10} {'Calls':>7}"
        ]
        lines.append("-" * len(lines[0]))
        for row in rows:
            name = row.key if len(row.key) <= width else row.key[: width - 1] + "…"
            share = 100 * row.self_cpu_time_total / whole if whole else 0.0
            times = [_time(t) for t in (row.self_cpu_time_total, row.cpu_time_total, row.cpu_time)]
            lines.append(f"{name:{width}} {share:9.2f}% {times[0]:>10} {times[1]:>10} {times[2]:>10} {row.count:7}")
        lines.append(f"Self CPU time total: {_time(whole)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


class profile:
    """Notes when operations run, of all threads, while its block does: `with unspool.profile() as p: …; print(p)`.

    Operations of a frozen plan are named with what was fused, and lie within an event `replay` for each call. The block
    costs an operation about a tenth of a microsecond; outside of it nothing is measured.

    Raises:
        RuntimeError: another profile is running.
    """

    def __init__(self) -> None:
        self._events: list[Event] | None = None
        self._running = False

    def __enter__(self) -> profile:
        _core._profile_start()
        self._running = True
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False
        self._events = list(_with_self_times(_core._profile_stop()))

    def events(self) -> list[Event]:
        """All events, in the order of their starts.

        Raises:
            RuntimeError: the block has not ended.
        """
        if self._events is None:
            state = "has not ended" if self._running else "has not begun"
            raise RuntimeError(f"profile: its block {state}; ask for events after `with unspool.profile() as p: …`")
        return self._events

    def key_averages(self) -> Averages:
        """Times by operation."""
        sums: dict[str, list[float]] = {}
        for e in self.events():
            row = sums.setdefault(e.name, [0, 0.0, 0.0])
            row[0] += 1
            row[1] += e.self_us
            row[2] += e.total_us
        return Averages(_Row(name, int(n), own, total) for name, (n, own, total) in sums.items())

    def table(self, sort_by: str = "self_cpu_time_total", row_limit: int = 100) -> str:
        """`key_averages()` as text."""
        return self.key_averages().table(sort_by, row_limit)

    def export_chrome_trace(self, path: Any) -> None:
        """Write the events as JSON that chrome://tracing and Perfetto show."""
        events = [
            {
                "ph": "X",
                "name": e.name,
                "cat": "frozen" if e.frozen else "eager",
                "pid": os.getpid(),
                "tid": e.thread,
                "ts": e.start_us,
                "dur": e.total_us,
                "args": {"shape": list(e.shape)},
            }
            for e in self.events()
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ns"}, file)

    def __str__(self) -> str:
        return repr(self) if self._events is None else self.table()

    def __repr__(self) -> str:
        n = "running" if self._running else f"{len(self._events)} events" if self._events is not None else "not begun"
        return f"<unspool.profile: {n}>"


def _with_self_times(noted: list[tuple[str, int, int, int, bool, Any]]) -> Iterator[Event]:
    """Events by thread and start; what runs within another is taken from that one's own time."""
    noted = sorted(noted, key=lambda e: (e[3], e[1], -e[2]))
    own = [end - begin for _, begin, end, _, _, _ in noted]
    around: list[int] = []
    for i, (_, begin, end, thread, _, _) in enumerate(noted):
        while around and (noted[around[-1]][3] != thread or noted[around[-1]][2] <= begin):
            around.pop()
        if around:
            own[around[-1]] -= end - begin
        around.append(i)
    zero = min((e[1] for e in noted), default=0)
    made = [
        Event(name, (begin - zero) / 1e3, (end - begin) / 1e3, self_ns / 1e3, thread, frozen, tuple(shape))
        for (name, begin, end, thread, frozen, shape), self_ns in zip(noted, own, strict=True)
    ]
    yield from sorted(made, key=lambda e: e.start_us)
