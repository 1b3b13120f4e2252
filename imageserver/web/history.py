"""How much was stored in the last 30 days: a small file, written once an hour.

A file of 720 slots, one for each hour of 30 days; which slot a moment has follows from
its time, so nothing ever moves. A slot that is damaged, or of another month, is empty.
``docs/formats.md``, "History".
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import attrs

HOUR_S = 3_600
SLOTS = 30 * 24
HISTORY_FILE = ".history"
"""What it is called, in the directory of images: hidden from other programs."""

_VALUES = struct.Struct("<qQQQQQQ")
_CHECK = struct.Struct("<L")
_SLOT_BYTES = 64
_FILE_MODE = 0o644


@attrs.frozen
class Stored:
    """What is stored at some time; sizes in bytes.

    Attributes:
        time_s: seconds since 1970.
        images: number of images.
        objects: number of objects.
        object_bytes: their size.
        referenced_bytes: the size of those that images use.
        free_bytes: free space.
        capacity_bytes: the size of the file system.
    """

    time_s: int
    images: int
    objects: int
    object_bytes: int
    referenced_bytes: int
    free_bytes: int
    capacity_bytes: int


class History:
    """See the module. Plain blocking code, for one thread at a time."""

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        """Keep the history in ``path``, which is made when it is needed."""
        self._path = path
        self._now_s = now_s

    def is_due(self) -> bool:
        """Whether there is nothing of this hour yet."""
        hour = int(self._now_s()) // HOUR_S
        found = self._read(hour % SLOTS * _SLOT_BYTES, _SLOT_BYTES)
        return all(stored.time_s // HOUR_S != hour for stored in found)

    def add(self, stored: Stored) -> None:
        """Record what is stored.

        Raises:
            OSError: that cannot be done.
        """
        values = _VALUES.pack(*attrs.astuple(stored))
        slot = (values + _CHECK.pack(zlib.crc32(values))).ljust(_SLOT_BYTES, b"\0")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, _FILE_MODE)
        try:
            number = stored.time_s // HOUR_S % SLOTS
            os.pwrite(descriptor, slot, number * _SLOT_BYTES)
        finally:
            os.close(descriptor)

    def read(self) -> list[Stored]:
        """What was recorded in 30 days, oldest first; nothing if it is lost."""
        now_s = self._now_s()
        return sorted(
            (
                stored
                for stored in self._read(0, SLOTS * _SLOT_BYTES)
                if now_s - SLOTS * HOUR_S < stored.time_s <= now_s
            ),
            key=lambda stored: stored.time_s,
        )

    def _read(self, start: int, size: int) -> list[Stored]:
        """What is in some slots, whenever it was."""
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                data = file.read(size)
        except OSError:
            return []
        found = []
        for place in range(0, len(data) - _SLOT_BYTES + 1, _SLOT_BYTES):
            values = data[place : place + _VALUES.size]
            (check,) = _CHECK.unpack_from(data, place + _VALUES.size)
            if zlib.crc32(values) == check:
                found.append(Stored(*_VALUES.unpack(values)))
        return found
