"""Makes the index agree with the object files, a piece at a time.

Run in the background after start-up: other programs may have added or removed
objects meanwhile, or the index may be new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import StoreError
from imageserver.objects.store import ObjectStore
from imageserver.objects.walk import PIECES, walk_objects

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

    PIECES = PIECES
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
        try:
            self._compare(number)
        except OSError as error:
            self.findings.unread += 1
            self._log.error(
                "cannot look at objects {first}: {error}",
                first=f"{number:02x}",
                error=error.strerror,
            )
        except StoreError as error:
            self.findings.unread += 1
            self._log.error("cannot record objects: {error}", error=error)

    def _compare(self, number: int) -> None:
        index, first = self._store.index, bytes([number])
        known = index.objects_between(first + bytes(63), first + b"\xff" * 63)
        there = set()
        new = {}
        for hash_, status in self._scan(number):
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

    def _scan(self, number: int) -> Iterator[tuple[bytes, os.stat_result]]:
        """The objects among the files."""
        for found in walk_objects(self._store.directory, number):
            if found.status is not None and found.hash_ is not None:
                yield found.hash_, found.status
            elif found.status is None or not found.is_temporary:
                self._report_foreign(found.path)
            elif not self._is_recent(found.status):
                self._store.disk.discard(found.path)

    def _report_foreign(self, path: Path) -> None:
        self.findings.foreign += 1
        if self.findings.foreign <= _FOREIGN_LOGGED:
            self._log.warn("no object, left alone: {path}", path=path)

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
