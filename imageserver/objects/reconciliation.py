"""Makes the index agree with the object files, a piece at a time.

Run in the background after start-up: other programs may have added or removed
objects meanwhile, or the index may be new.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.objects.store import ObjectStore

_HEX = frozenset("0123456789abcdef")
_REST_DIGITS = 124


@attrs.define
class Findings:
    """What a reconciliation came across.

    Attributes:
        found: objects that the index did not know.
        gone: objects that it knew and that are not there.
        damaged: objects that were put aside.
        foreign: files that are no objects; they are left alone.
    """

    found: int = 0
    gone: int = 0
    damaged: int = 0
    foreign: int = 0


class Reconciliation:
    """One pass over all objects."""

    PIECES = 256
    _log = Logger()

    def __init__(self, store: ObjectStore, started_s: float) -> None:
        """Begin a pass.

        Args:
            store: the objects.
            started_s: when the daemon started. Objects that came later are none of
                ours: their uploads record them, once they are on disk.
        """
        self._store = store
        self._started_s = started_s
        self.findings = Findings()

    def run_piece(self, number: int) -> None:
        """Look at the objects whose hashes begin with the byte ``number``."""
        first = bytes([number])
        known = self._store.index.objects_between(
            first + bytes(63), first + b"\xff" * 63
        )
        there: dict[bytes, int] = {}
        new: dict[bytes, int] = {}
        for hash_, path, status in self._scan(self._store.directory / first.hex()):
            there[hash_] = status.st_size
            if hash_ in known:
                if status.st_size != known[hash_]:
                    reason = f"{status.st_size} bytes instead of {known[hash_]}"
                    self._put_aside(hash_, path, reason)
            elif status.st_ctime < self._started_s:
                if status.st_size == 0:
                    self._put_aside(hash_, path, "empty")
                else:
                    new[hash_] = status.st_size
        gone = [hash_ for hash_ in known if hash_ not in there]
        if gone:
            self._store.index.forget_objects(gone)
        if new:
            self._store.index.add_objects(new, self._store.now_ns())
        self.findings.found += len(new)
        self.findings.gone += len(gone)

    def _scan(self, directory: Path) -> list[tuple[bytes, Path, os.stat_result]]:
        objects = []
        for middle in _entries(directory):
            if not middle.is_dir(follow_symlinks=False) or not _is_hex(middle.name, 2):
                self.findings.foreign += 1
                continue
            for entry in _entries(Path(middle.path)):
                path = Path(entry.path)
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith("~") and stat.S_ISREG(status.st_mode):
                    self._store.disk.remove(path)  # another program's unfinished write
                elif not stat.S_ISREG(status.st_mode) or not _is_hex(
                    entry.name, _REST_DIGITS
                ):
                    self.findings.foreign += 1
                else:
                    name = directory.name + middle.name + entry.name
                    objects.append((bytes.fromhex(name), path, status))
        return objects

    def _put_aside(self, hash_: bytes, path: Path, reason: str) -> None:
        self._store.quarantine(path, reason)
        self._store.index.forget_objects((hash_,))
        self.findings.damaged += 1


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _is_hex(name: str, digits: int) -> bool:
    return len(name) == digits and set(name) <= _HEX
