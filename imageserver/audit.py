"""The audit log: a line for each change that somebody made: ``docs/operations.md``.

Plain blocking code. A line is on disk when :meth:`AuditLog.append` returns.
"""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import attrs

from imageserver.disk import Disk

_SECOND = 1_000_000_000
_MODE = 0o600
FILE_BYTES = 64 << 20
"""When a file has so many, another one is begun."""
FILES_KEPT = 8


@attrs.frozen
class Entry:
    """One change, or an attempt at one.

    Attributes:
        user: who made it; empty if nobody in particular.
        address: from where.
        method: ``Service.Method``.
        subject: the name of the image or directory.
        outcome: ``ok``, or what was wrong.
    """

    user: str
    address: str
    method: str
    subject: str
    outcome: str


class AuditLog:
    """A file that only grows, until it is put aside under a number.

    May be used from any thread.
    """

    def __init__(
        self,
        path: Path,
        disk: Disk,
        now_ns: Callable[[], int],
        *,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """Write to ``path``; nothing is opened yet."""
        self._path = path
        self._disk = disk
        self._now_ns = now_ns
        self._file_bytes = file_bytes
        self._lock = threading.Lock()

    def append(self, entry: Entry) -> None:
        """Add a line, durably.

        Raises:
            OSError: that cannot be done.
        """
        time = datetime.datetime.fromtimestamp(self._now_ns() / _SECOND, datetime.UTC)
        values = {"time": time.isoformat(), **attrs.asdict(entry)}
        line = json.dumps(values).encode() + b"\n"
        with self._lock:
            is_new = self._make_room()
            descriptor = self._disk.open_for_appending(self._path, _MODE)
            try:
                if _ends_in_midline(descriptor):
                    line = b"\n" + line
                self._disk.write(descriptor, line)
                self._disk.flush(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                self._disk.sync(self._path.parent)

    def _make_room(self) -> bool:
        """Put a full file aside; whether the next line begins a new one."""
        try:
            if self._path.stat().st_size < self._file_bytes:
                return False
        except FileNotFoundError:
            return True
        self._disk.remove(self._numbered(FILES_KEPT))
        for number in reversed(range(1, FILES_KEPT)):
            if self._numbered(number).exists():
                self._disk.rename(self._numbered(number), self._numbered(number + 1))
        self._disk.rename(self._path, self._numbered(1))
        return True

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _ends_in_midline(descriptor: int) -> bool:
    """Whether the last line was not written to its end."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
