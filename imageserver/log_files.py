"""The files of the log: one for each start, and a new one when it gets too long.

::

    2026-11-26:14:02:08.45   by local time, to the millisecond, without last zeros
    latest                   a link to the newest

Plain blocking code, for one thread. Source: docs/operations.md, "Log files".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

LATEST = "latest"
CLOSING = "Closing and will open new logfile"

_LEAST_FILE_BYTES = 16 << 10
_LEAST_QUOTA_BYTES = 64 << 10
_MOST_FILES = 1024
_COLONS = 3
_MILLISECOND_NS = 1_000_000
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_CRASHES = (b"panic: ", b"Fatal Python error: ")


class LogFiles:
    """Writes the log into files below one directory.

    Attributes:
        directory: where they are.
        is_new: whether there was no file at all before.
        crashed: the name of the last file of the run before, if that run ended in a
            crash; else empty.
        first: the name of this run's first file.
        current: the name of the file that is written; empty: there is none.
    """

    def __init__(
        self,
        directory: Path,
        file_bytes: int,
        quota_bytes: int,
        now_ns: Callable[[], int],
        opened: Callable[[int], None] = lambda descriptor: None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            directory: made if it is not there, but not those above it.
            file_bytes: a file that is longer is followed by a new one.
            quota_bytes: of all files together; the oldest are removed.
            now_ns: tells the time.
            opened: told the descriptor of each new file.
        """
        self.directory = directory
        self.is_new = False
        self.crashed = ""
        self.first = ""
        self.current = ""
        self._quota = max(quota_bytes, _LEAST_QUOTA_BYTES)
        # At half of the quota there is always room for the file before.
        self._file_bytes = min(max(file_bytes, _LEAST_FILE_BYTES), self._quota // 2)
        self._now_ns = now_ns
        self._opened = opened
        self._descriptor = -1
        self._size = 0
        self._usage = 0

    def open(self) -> None:
        """Open this run's first file.

        Raises:
            OSError: there can be no files.
        """
        try:
            self.directory.mkdir(_DIRECTORY_MODE)
            self.is_new = True
        except FileExistsError:
            self.is_new = not any(self.directory.iterdir())
        self.crashed = self._find_crash()
        self._open_next()
        self.first = self.current
        self._remove_old()

    def write(self, text: str) -> None:
        """Append lines.

        Raises:
            OSError: they could not be written.
        """
        self._append(text)
        if self._size > self._file_bytes:
            self.reopen()
        elif self._usage > self._quota:
            self._remove_old()

    def mark(self) -> None:
        """Write that there was nothing to write.

        Raises:
            OSError: it could not be written.
        """
        self.write(self._line("MARK"))

    def reopen(self) -> None:
        """Go on in a new file.

        Raises:
            OSError: there can be none; the old one goes on.
        """
        old = self._descriptor
        self._append(self._line(CLOSING))
        self._open_next()
        os.close(old)
        self._remove_old()

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def names(self) -> list[str]:
        """The names of all log files, oldest first.

        Raises:
            OSError: the directory cannot be read.
        """
        return sorted(
            entry.name
            for entry in os.scandir(self.directory)
            if is_log_name(entry.name) and entry.is_file(follow_symlinks=False)
        )

    def has_crash(self, name: str) -> bool:
        """Whether a file ends in a crash, as far as that was found out."""
        try:
            mode = (self.directory / name).lstat().st_mode
        except OSError:
            return False
        return bool(mode & stat.S_ISVTX)

    def _append(self, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        self._size += len(data)
        self._usage += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _line(self, text: str) -> str:
        time = datetime.fromtimestamp(self._now_ns() / 1e9)
        return f"{time:%Y/%m/%d %H:%M:%S} {text}\n"

    def _open_next(self) -> None:
        now_ns = self._now_ns()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            name = _name(now_ns)
            try:
                descriptor = os.open(self.directory / name, flags, _FILE_MODE)
            except FileExistsError:
                now_ns += _MILLISECOND_NS
            else:
                break
        self._descriptor, self.current, self._size = descriptor, name, 0
        self._opened(descriptor)
        link = self.directory / (LATEST + "~")
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.rename(self.directory / LATEST)

    def _remove_old(self) -> None:
        """Remove what does not fit into the quota, and all that is older."""
        self._usage = removed = removed_bytes = 0
        for name in reversed(self.names()):
            path = self.directory / name
            try:
                size = path.lstat().st_size
            except FileNotFoundError:
                continue
            counted = max(size, self._quota // _MOST_FILES)
            fits = self._usage + counted <= self._quota and not removed
            if fits or name == self.current:
                self._usage += counted
                continue
            path.unlink(missing_ok=True)
            removed += 1
            removed_bytes += size
        if removed:
            text = f"Deleted {_show_size(removed_bytes)} in {removed} files"
            self._append(self._line(text))

    def _find_crash(self) -> str:
        """The name of the file of the last run, marked, if that ended in a crash."""
        try:
            name = os.readlink(self.directory / LATEST)
            # The link may have been made by somebody else: never leave the directory.
            if not is_log_name(name) or "/" in name:
                return ""
            descriptor = os.open(self.directory / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return ""
        with open(descriptor, "rb") as file:
            if not _tells_of_crash(iter(file)):
                return ""
            try:
                mode = os.fstat(descriptor).st_mode
                os.fchmod(descriptor, stat.S_IMODE(mode) | stat.S_ISVTX)
            except PermissionError:
                return name  # somebody else's file
        return name


def is_log_name(name: str) -> bool:
    """Whether a file of this name is one of the log's."""
    return name.count(":") == _COLONS


def _tells_of_crash(lines: Iterator[bytes]) -> bool:
    follows_panic = False
    for line in lines:
        if line.startswith(_CRASHES):
            return True
        if line.startswith(b"goroutine ") and follows_panic:
            return True
        follows_panic = b"panic" in line
    return False


def _name(now_ns: int) -> str:
    milliseconds = now_ns // _MILLISECOND_NS
    time = datetime.fromtimestamp(milliseconds // 1000)
    fraction = f".{milliseconds % 1000:03}".rstrip("0").rstrip(".")
    return f"{time:%Y-%m-%d:%H:%M:%S}{fraction}"


def _show_size(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 10 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} B"
