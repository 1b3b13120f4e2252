"""Files, written so that they survive a crash.

A file is complete under its name or not there at all: it is written under another
name, brought to disk, renamed, and then its directory is brought to disk. All that
the stores do to files goes through a :class:`Disk`, where tests put faults in.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from imageserver.errors import ConfigError

Name: TypeAlias = str | Path
"""The name of a file. As text it costs less, where there are many."""

_libc = ctypes.CDLL(None, use_errno=True)
_syncfs: Callable[[int], int] | None = getattr(_libc, "syncfs", None)
_sync_file_range: Callable[..., int] | None = getattr(_libc, "sync_file_range", None)
_SYNC_FILE_RANGE_WRITE = 2


def lock_directory(path: Path) -> int:
    """Keep other processes from using a directory as we do.

    Returns:
        A descriptor; the lock lasts until it is closed, at the latest until the process
        ends.

    Raises:
        ConfigError: somebody else has it, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot use {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise ConfigError(f"another imageserver uses {path}") from error
        raise ConfigError(f"cannot lock {path}: {error.strerror}") from error
    return descriptor


class Disk:
    """What the stores do to files. All methods raise ``OSError``."""

    def create(self, path: Name, mode: int) -> int:
        """Create a file that is not there, and open it for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def open_for_appending(self, path: Path, mode: int) -> int:
        """Open a file for reading, and for writing at its end; make it if need be."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, mode)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read at most ``size`` bytes."""
        return os.pread(descriptor, size, offset)

    def write_back(self, descriptor: int, offset: int, size: int) -> None:
        """Begin to bring a part to disk, so that there is less to wait for later.

        Whether it succeeds does not matter: what counts is :meth:`flush` or a sync.
        """
        if _sync_file_range is not None:
            _sync_file_range(
                descriptor,
                ctypes.c_int64(offset),
                ctypes.c_int64(size),
                _SYNC_FILE_RANGE_WRITE,
            )

    def flush(self, descriptor: int) -> None:
        """Bring what was written to disk."""
        os.fsync(descriptor)

    def sync(self, path: Name) -> None:
        """Bring a file's content, or a directory's entries, to disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_all(self, paths: Iterable[Name]) -> None:
        """:meth:`sync` for each of ``paths``."""
        for path in paths:
            self.sync(path)

    def sync_file_system(self, path: Path) -> bool:
        """Bring everything on the file system of ``path`` to disk.

        Returns:
            Whether this system can do so; if not, files must be synced one by one.
        """
        if _syncfs is None:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _syncfs(descriptor) == 0:
                return True
            number = ctypes.get_errno()
            if number == errno.ENOSYS:
                return False
            raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)

    def rename(self, source: Name, target: Name) -> None:
        """Give a file another name, in place of what has that name."""
        os.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must be free."""
        os.link(source, target)

    def remove(self, path: Name) -> None:
        """Remove a name; it need not be there."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def discard(self, path: Name) -> None:
        """:meth:`remove` what is of no use any more, if that can be done."""
        with suppress(OSError):
            self.remove(path)

    def truncate(self, path: Path) -> None:
        """Make a file empty, on disk, too."""
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, path: Name, mode: int) -> bool:
        """Make a directory; whether it was not there."""
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            return False
        return True

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()

    def save(
        self, path: Path, pieces: Iterable[bytes | bytearray], mode: int = 0o644
    ) -> None:
        """Write a whole file in place of what has that name, durably."""
        temporary = path.with_name(f"{path.name}~")
        self.write_file(temporary, pieces, mode)
        try:
            self.rename(temporary, path)
        except OSError:
            self.discard(temporary)
            raise
        self.sync(path.parent)

    def write_file(
        self, path: Path, pieces: Iterable[bytes | bytearray], mode: int
    ) -> None:
        """Write a new file and bring its content to disk, or leave none."""
        self.remove(path)
        descriptor = self.create(path, mode)
        try:
            try:
                for piece in pieces:
                    self.write(descriptor, piece)
                self.flush(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            self.discard(path)
            raise
