"""Saves killed by SIGKILL at any moment leave the old or the new state: `python killed_saves.py HOW FILE COUNT`.

HOW is `random` (COUNT kills at random moments of processes that save one state after the other), `python` (one kill
before, one after and, where bytes are written, one within each call that `unspool._files` makes of `os`), or `system`
(one kill at each system call of a save, by strace). Each prints a line of JSON; a file that holds anything else than it
may is an AssertionError.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import json
import mmap
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unspool
from unspool import _files


def state(number: int) -> dict[str, Any]:
    """Any two differ in every tensor, and in their lengths."""
    return {
        "model": {"w": unspool.full((96, 96), float(number)), "n": unspool.tensor(number)},
        "history": [number / 7] * (10 + number % 5),
        "epoch": number,
    }


def held(path: Path) -> int:
    """The number of the state in the file, which is whole."""
    found = unspool.load(path)
    number: int = found["epoch"]
    expected = state(number)
    assert found.keys() == expected.keys()
    assert found["history"] == expected["history"]
    assert all(unspool.equal(found["model"][name], t) for name, t in expected["model"].items())
    return number


def in_child(work: Callable[[], None]) -> int:
    """The process in which `work` runs."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def ended(pid: int) -> int:
    """0, or minus the signal that ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code


def sweep(path: Path) -> int:
    """How many temporary files lay beside the file."""
    left = [other for other in path.parent.iterdir() if other != path]
    assert all(re.fullmatch(r"\.unspool-[0-9a-f]{16}\.tmp", other.name) for other in left), left
    for other in left:
        other.unlink()
    return len(left)


def at_random(path: Path, count: int) -> dict[str, Any]:
    begun = mmap.mmap(-1, 8)  # the number of the last save begun, in memory shared with the child
    unspool.save(state(0), path)
    before, within = 0, 0
    seen: collections.Counter[str] = collections.Counter()
    r = random.Random(count)
    for _ in range(count):
        begun[:] = before.to_bytes(8, "little")

        def work(number: int = before) -> None:
            while True:
                number += 1
                begun[:] = number.to_bytes(8, "little")
                unspool.save(state(number), path)

        pid = in_child(work)
        time.sleep(r.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        last = int.from_bytes(begun[:], "little")
        now = held(path)
        assert now in (last, max(last - 1, before)), (before, now, last)
        seen["new" if now == last else "old"] += 1
        within += sweep(path)
        before = now
    return {"kills": count, **seen, "saves": before, "temporaries": within}


class WatchedOs:
    """`os` that tells `met` of each call, by its number and name, before it is made."""

    def __init__(self, met: Callable[[int, str, Callable[..., Any], tuple[Any, ...]], None]) -> None:
        self._met, self._number = met, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real) or name in ("fspath", "fsdecode", "strerror"):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._number += 1
            self._met(self._number, name, functools.partial(real, **kwargs), args)
            return real(*args, **kwargs)

        return call


def saved_under(watch: Any, number: int, path: Path) -> None:
    """A save, all of whose calls of `os` `watch` is told of."""
    try:
        _files.os = watch
        unspool.save(state(number), path)
    finally:
        _files.os = os


def calls_of_a_save(path: Path) -> list[str]:
    unspool.save(state(0), path)
    names: list[str] = []
    saved_under(WatchedOs(lambda number, name, real, args: names.append(name)), 1, path)
    return names


def at_python_calls(path: Path) -> dict[str, Any]:
    met = []
    for at, name in enumerate(calls_of_a_save(path), 1):
        for when in ("before", "within", "after") if name == "write" else ("before", "after"):

            def dying(
                number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...], at: int = at, when: str = when
            ) -> None:
                if number != at:
                    return
                if when == "within":
                    real(args[0], args[1][: len(args[1]) // 2])
                elif when == "after":
                    real(*args)
                os.kill(os.getpid(), signal.SIGKILL)

            unspool.save(state(0), path)
            assert ended(in_child(functools.partial(saved_under, WatchedOs(dying), 1, path))) == -signal.SIGKILL
            met.append(f"{when} {name}: {('old', 'new')[held(path)]}")
            sweep(path)
    return {"kills": len(met), "met": met}


def traced(path: Path, *options: str) -> tuple[int, str]:
    """How a save under strace ended, and what strace wrote."""

    def work() -> None:
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: any process may trace this one
        os.kill(os.getpid(), signal.SIGSTOP)
        unspool.save(new, path)

    new = state(1)
    unspool.save(state(0), path)
    pid = in_child(work)
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-p", str(pid), "-o", "/dev/stdout", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    os.kill(pid, signal.SIGCONT)
    code = ended(pid)
    log = tracer.communicate()[0]
    if "attached" not in attached:
        raise SystemExit(f"strace can't trace here: {attached}")
    return code, log


def at_system_calls(path: Path) -> dict[str, Any]:
    code, log = traced(path)
    assert code == 0
    calls = [
        found[1] for line in log.splitlines() if (found := re.match(r"(\w+)\(", line)) and found[1] != "exit_group"
    ]
    counts: collections.Counter[str] = collections.Counter()
    met = []
    for name in calls:
        counts[name] += 1
        code, _ = traced(path, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={counts[name]}")
        met.append(f"{name} {counts[name]}: {('old', 'new')[held(path)]}" + (" not killed" if code == 0 else ""))
        sweep(path)
    return {"kills": sum("not killed" not in m for m in met), "met": met}


if __name__ == "__main__":
    how, file = sys.argv[1], Path(sys.argv[2])
    result = at_random(file, int(sys.argv[3])) if how == "random" else None
    result = result or {"python": at_python_calls, "system": at_system_calls}[how](file)
    print(json.dumps(result))
