"""Makes the index agree with the object files, a piece at a time.

Run in the background after start-up: other programs may have added or removed
objects meanwhile, or the index may be new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import StoreError
from imageserver.objects.store import ObjectStore

_HEX = frozenset("0123456789abcdef")
_REST_DIGITS = 124
_FOREIGN_LOGGED = 100


@attrs.define
class Findings:
    """What a reconciliation came across.

    Attributes:
        found: objects that the index did not know.
        gone: objects that it knew and that are not there.
        unread: pieces that could not be looked at.
        damaged: objects that were put aside.
        foreign: files that are no objects; they are left alone.
    """

    found: int = 0
    gone: int = 0
    unread: int = 0
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
        """Look at the objects whose hashes begin with the byte ``number``.

        If they cannot be read, all is left as it is.
        """
        first = bytes([number])
        try:
            if number == 0:
                self._look_for_foreign()
            self._compare(first)
        except OSError as error:
            self.findings.unread += 1
            self._log.error(
                "cannot look at objects {first}: {error}",
                first=first.hex(),
                error=error.strerror,
            )
        except StoreError as error:
            self.findings.unread += 1
            self._log.error("cannot record objects: {error}", error=error)

    def _compare(self, first: bytes) -> None:
        index = self._store.index
        known = index.objects_between(first + bytes(63), first + b"\xff" * 63)
        there = set()
        new = {}
        for hash_, status in self._scan(self._store.directory / first.hex()):
            there.add(hash_)
            if self._is_recent(status):
                continue
            size = known.get(hash_)
            if status.st_size == 0:
                self._put_aside(hash_, status, "empty")
            elif size is None:
                new[hash_] = status.st_size
            elif size != status.st_size:
                reason = f"{status.st_size} bytes instead of {size}"
                self._put_aside(hash_, status, reason)
        if new:
            self._store.record_found(new)
            self.findings.found += len(new)
        self.findings.gone += self._store.forget_vanished(known.keys() - there)

    def _scan(self, directory: Path) -> Iterator[tuple[bytes, os.stat_result]]:
        if directory.is_symlink():
            return
        for middle in _entries(directory):
            if not middle.is_dir(follow_symlinks=False) or not _is_hex(middle.name, 2):
                self._report_foreign(middle)
                continue
            for entry in _entries(Path(middle.path)):
                with suppress(FileNotFoundError):  # it went away meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        self._report_foreign(entry)
                    elif entry.name.endswith("~"):  # another program's unfinished write
                        if not self._is_recent(status):
                            self._store.disk.discard(Path(entry.path))
                    elif not _is_hex(entry.name, _REST_DIGITS):
                        self._report_foreign(entry)
                    else:
                        name = directory.name + middle.name + entry.name
                        yield bytes.fromhex(name), status

    def _look_for_foreign(self) -> None:
        """Report files and directories beside those of the objects."""
        for entry in _entries(self._store.directory):
            is_ours = _is_hex(entry.name, 2) and entry.is_dir(follow_symlinks=False)
            if not entry.name.startswith(".") and not is_ours:
                self._report_foreign(entry)

    def _report_foreign(self, entry: os.DirEntry[str]) -> None:
        self.findings.foreign += 1
        if self.findings.foreign <= _FOREIGN_LOGGED:
            self._log.warn("no object, left alone: {path}", path=entry.path)

    def _is_recent(self, status: os.stat_result) -> bool:
        return status.st_ctime >= self._started_s

    def _put_aside(self, hash_: bytes, seen: os.stat_result, reason: str) -> None:
        try:
            self.findings.damaged += self._store.put_aside(hash_, seen, reason)
        except OSError as error:
            self._log.error(
                "cannot put aside object {name}: {reason}: {error}",
                name=hash_.hex(),
                reason=reason,
                error=error.strerror,
            )


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _is_hex(name: str, digits: int) -> bool:
    return len(name) == digits and set(name) <= _HEX
