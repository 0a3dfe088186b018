"""How `unspool.save` replaces files: whatever fails or stops it, the old or the new file is there, whole and alone.

tests/killed_saves.py, which some of these tests run, kills the saving process; `UNSPOOL_SAVE_KILLS` is how often at
random moments (50). It finds the calls at which it kills by wrapping `os` in `unspool._files`, and where strace is
installed, which sees what Python does by itself, too, the system calls by strace.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import itertools
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import unspool
from killed_saves import WatchedOs, calls_of_a_save, held, saved_under, state
from unspool import _files

SCRIPT = Path(__file__).with_name("killed_saves.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds state 0, alone in its folder."""
    file = tmp_path / "x.safetensors"
    unspool.save(state(0), file)
    return file


def left_alone(path: Path) -> bool:
    """The file holds state 0, and nothing lies beside it."""
    return held(path) == 0 and list(path.parent.iterdir()) == [path]


# Kills


def killed(*args: Any) -> dict[str, Any]:
    done = subprocess.run([sys.executable, SCRIPT, *map(str, args)], capture_output=True, text=True, check=False)
    if "strace can't trace here" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_kills_at_random_moments(path: Path) -> None:
    count = int(os.environ.get("UNSPOOL_SAVE_KILLS", "50"))
    result = killed("random", path, count)
    assert result["kills"] == count
    assert result["temporaries"] > 0  # some came within a save


def test_a_kill_at_every_call_of_os(path: Path) -> None:
    met = killed("python", path)["met"]
    found = [event.partition(": ") for event in met]
    assert [event for event, _, _ in found if event.startswith("before")] == [
        f"before {name}" for name in calls_of_a_save(path)
    ]
    replaced = [event for event, _, _ in found].index("after replace")
    assert [what for _, _, what in found] == ["old"] * replaced + ["new"] * (len(found) - replaced)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_kill_at_every_system_call(path: Path) -> None:
    result = killed("system", path)
    assert result["kills"] == len(result["met"])
    assert {"openat", "write", "fsync", "renameat"} <= {event.split()[0] for event in result["met"]}
    assert "renameat 1: old" in result["met"]
    assert "fsync 2: new" in result["met"]


# Failures


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt(), MemoryError()], ids=repr
)
def test_a_failure_at_every_call_of_os(path: Path, error: BaseException) -> None:
    names = calls_of_a_save(path)
    replaced = names.index("replace") + 1
    for at, after in itertools.product(range(1, len(names) + 1), (False, True)):

        def failing(
            number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...], at: int = at, after: bool = after
        ) -> None:
            if number == at:
                if after or name == "close":
                    real(*args)
                raise error

        unspool.save(state(0), path)
        with pytest.raises(type(error)) as caught:
            saved_under(WatchedOs(failing), 1, path)
        if isinstance(error, OSError):
            assert str(caught.value) == f"[Errno {errno.EIO}] save: Input/output error: {str(path)!r}"
        assert held(path) == ((at, after) >= (replaced, True))
        assert list(path.parent.iterdir()) == [path]


def test_a_file_system_that_does_not_sync_folders(path: Path) -> None:
    def failing(number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    saved_under(WatchedOs(failing), 1, path)
    assert held(path) == 1


def test_the_disk_has_the_new_file_before_the_folder_has_it(path: Path) -> None:
    order = [name for name in calls_of_a_save(path) if name in ("write", "fsync", "replace")]
    assert order == ["write", "write", "fsync", "replace", "fsync"]


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow(path: Path) -> None:
    with file_size_limit(20_000), pytest.raises(OSError, match="save: File too large") as caught:
        unspool.save(state(1), path)
    assert caught.value.errno == errno.EFBIG
    assert left_alone(path)


def test_a_full_disk(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        path = tmp_path / "x"
        unspool.save(state(0), path)
        for _ in range(3):  # nothing of the first try takes place from the second
            with pytest.raises(OSError, match=r"save: No space left on device: '.*/x'") as caught:
                unspool.save({"large": unspool.zeros(40_000)}, path)
            assert caught.value.errno == errno.ENOSPC
            assert left_alone(path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_takes_a_part(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may take fewer bytes than it was given, also none at the end."""
    write, room = os.write, [1000]

    def short(file: int, piece: Any) -> int:
        taken = write(file, piece[: min(room[0], 100)])
        room[0] -= taken
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken

    monkeypatch.setattr(_files.os, "write", short)
    with pytest.raises(OSError, match="save: No space left on device"):
        unspool.save(state(1), path)
    assert left_alone(path)
    room[0] = 10**9
    unspool.save(state(1), path)
    assert held(path) == 1


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere; for a while this process is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which `unprivileged` may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_read_only_folder(open_folder: Path) -> None:
    path = open_folder / "x"
    with unprivileged():
        unspool.save(state(0), path)
    open_folder.chmod(0o555)
    with unprivileged():
        for name in ("x", "new"):
            with pytest.raises(PermissionError, match=rf"save: Permission denied: '.*/{name}'"):
                unspool.save(state(1), open_folder / name)
    open_folder.chmod(0o777)
    assert left_alone(path)


def test_a_read_only_file(open_folder: Path) -> None:
    path = open_folder / "x"
    with unprivileged():
        unspool.save(state(0), path)
        path.chmod(0o444)
        with pytest.raises(PermissionError, match=r"save: Permission denied: '.*/x'"):
            unspool.save(state(1), path)
    assert left_alone(path)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name, kind in {
        "missing/x": FileNotFoundError, "file/x": NotADirectoryError, "folder": IsADirectoryError, "loop": OSError,
        "pipe": OSError, "new/": IsADirectoryError, "n" * 300: OSError,
    }.items():  # fmt: skip
        with pytest.raises(kind, match=r"^\[Errno \d+\] save: .*" + name) as caught:
            unspool.save([1], f"{tmp_path}/{name}")
        assert caught.value.filename == f"{tmp_path}/{name}"
    with pytest.raises(IsADirectoryError):
        unspool.save([1], "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "loop", "pipe"]
    assert (tmp_path / "file").read_bytes() == b"x"
    assert not any((tmp_path / "folder").iterdir())
    with pytest.raises(FileNotFoundError, match="missing"):
        unspool.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="folder"):
        unspool.load(tmp_path / "folder")


# What stays as it was


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    unspool.save(state(1), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        unspool.save(state(1), tmp_path / "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for link, target in (("a", "x.safetensors"), ("b", "a"), ("c", "far/new")):
        (tmp_path / link).symlink_to(target)
    unspool.save(state(1), tmp_path / "b")
    assert held(path) == 1
    assert (tmp_path / "b").readlink() == Path("a")
    unspool.save(state(2), tmp_path / "c")
    assert held(tmp_path / "far" / "new") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "far", path.name]
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["new"]


def test_saving_over_what_was_loaded(path: Path) -> None:
    from safetensors import safe_open

    unspool.save(unspool.load(path), path)
    with safe_open(path, framework="numpy") as mapped:
        a = mapped.get_tensor("model.w")
        unspool.save({"model.w": unspool.from_numpy(a), "more": unspool.ones(1000)}, path)
        assert not a.any()
        assert not mapped.get_tensor("model.w").any()
    assert unspool.load(path)["model.w"].equal(unspool.zeros(96, 96))


def test_saving_over_an_array_that_is_mapped(path: Path) -> None:
    import numpy as np

    unspool.save({"a": np.arange(64.0)}, path)
    end = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    mapped = np.memmap(path, np.float64, "r", end)
    unspool.save({"first": unspool.zeros(9), "a": mapped}, path)
    np.testing.assert_array_equal(mapped, np.arange(64.0))
    np.testing.assert_array_equal(unspool.load(path)["a"], np.arange(64.0))


# Names and files


def test_kinds_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    longest = "n" * 255
    for path in ("x", b"y", Path("z"), tmp_path / "ü \udcff", longest, os.path.join(".", "w")):
        unspool.save([1], path)
        assert unspool.load(path) == [1]
    assert len(list(tmp_path.iterdir())) == 6


class Trickle(io.RawIOBase):
    """An unbuffered file that takes seven bytes at a time."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self.content += bytes(piece[:7])
        return len(piece[:7])


def test_file_objects(tmp_path: Path) -> None:
    file = io.BytesIO()
    assert unspool.save(state(3), file) is None  # type: ignore[func-returns-value]
    content = file.getvalue()
    trickle = Trickle()
    unspool.save(state(3), trickle)
    assert trickle.content == content
    for opened in (open, gzip.open):
        with opened(tmp_path / "x", "wb") as out:  # type: ignore[operator]
            out.write(b"before")
            unspool.save(state(3), out)
        with opened(tmp_path / "x", "rb") as into:  # type: ignore[operator]
            assert into.read(6) == b"before"
            assert unspool.load(into)["epoch"] == 3


@pytest.mark.parametrize("f", [None, 1, object(), io.StringIO()])
def test_what_is_no_file(f: Any) -> None:
    with pytest.raises(TypeError, match="save: f must be"):
        unspool.save([1], f)
    with pytest.raises(TypeError, match="load: f must be"):
        unspool.load(f)


def test_threads_that_save_to_one_file(path: Path) -> None:
    numbers = range(4)

    def work(number: int) -> None:
        for _ in range(10):
            unspool.save(state(number), path)
            seen.add(held(path))

    seen: set[int] = set()
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= set(numbers)
    assert list(path.parent.iterdir()) == [path]
