"""Files replaced whole: whenever somebody reads, or the process or the machine stops, the old or the new one is there.

Start reading at `replace_file`. What is written, and in which format, is the caller's affair.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

__all__ = ["check_replaceable", "replace_file", "write_all"]

_PIECE = 1 << 24  # bytes a call: signals, as Ctrl-C's, are seen between calls


def replace_file(path: Any, chunks: Iterable[Any], caller: str) -> None:
    """Let the file at `path` hold `chunks`, one after the other, by way of a new file in the same folder.

    The new file is written, brought to the disk and renamed, and the folder with its new entry is brought to the disk.
    It has the old file's mode, or the umask's where there was none. A symbolic link stays one: its target is replaced.
    Whatever is raised before the renaming, the old file stands and no new one is left. Only a process killed in between
    leaves its `.unspool-….tmp`, which nobody reads.

    Raises:
        OSError: of the kind that tells the cause, with `path`. A folder that can't be written, or is none; a full disk;
            at `path` a folder, a device or a pipe, or a file that may not be written.
    """
    shown = os.fspath(path)
    try:
        if not os.path.basename(shown):  # it ends in a slash
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _replace(os.path.realpath(os.fsdecode(shown)), chunks)
    except OSError as error:
        raise OSError(error.errno, f"{caller}: {error.strerror}", shown) from error


class _Enough(Exception):
    pass


def check_replaceable(path: Any, caller: str) -> None:
    """Raise now what `replace_file` would raise, as far as the making of a new file shows it. Nothing stays changed."""

    def enough() -> bytes:
        raise _Enough

    with suppress(_Enough):
        replace_file(path, (enough() for _ in range(1)), caller)


def _replace(target: str, chunks: Iterable[Any]) -> None:
    mode = _mode_of(target)
    folder, name = os.path.split(target)
    # Not made from `name`, to which little can be added where it is as long as names may be.
    temporary = f".unspool-{secrets.token_hex(8)}.tmp"
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            _write_new(temporary, directory, mode, chunks)
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:  # KeyboardInterrupt, too
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        _sync_folder(directory)
    finally:
        os.close(directory)


def _sync_folder(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have this for files alone
            raise


def _mode_of(target: str) -> int | None:
    """The permissions of the regular file there; None if nothing is."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file, which alone can be replaced; give an open file instead")
    # Renaming asks the folder alone for permission; a file made read-only is not to be replaced.
    os.close(os.open(target, os.O_WRONLY | os.O_CLOEXEC))
    return stat.S_IMODE(found.st_mode)


def _write_new(name: str, directory: int, mode: int | None, chunks: Iterable[Any]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Nobody else reads a file whose mode is still to be set.
    file = os.open(name, flags, 0o666 if mode is None else 0o600, dir_fd=directory)
    try:
        if mode is not None:
            os.fchmod(file, mode)
        write_all(lambda piece: os.write(file, piece), chunks)
        os.fsync(file)
    finally:
        os.close(file)


def write_all(write: Callable[[Any], int | None], chunks: Iterable[Any]) -> None:
    """Pass the bytes of `chunks` to `write`, which takes all it is given, or tells how many bytes it took."""
    for chunk in chunks:
        left = memoryview(chunk).cast("B")
        while left:
            piece = left[:_PIECE]
            taken = write(piece)
            left = left[len(piece) if taken is None else taken :]
