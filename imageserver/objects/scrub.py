"""Reading all objects again, to find those that got damaged: ``docs/operations.md``.

One *pass* after the other goes over all objects in the order of their hashes, a piece
at a time. How far it has come is noted in the index, so that the next process goes on
there. What reads wrong is read once more, from the disk itself: if memory or cables are
to blame, the object is left alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from twisted.logger import Logger

from imageserver.errors import CorruptObject, ObjectNotFound, StoreError
from imageserver.index.base import UpkeepIndex
from imageserver.objects.store import ObjectStore

_NOTE = "scrub"
_SAVED_EVERY_NS = 30_000_000_000
_READ_BYTES = 1 << 20
_CHOSEN_AT_ONCE = 1_000
_OBJECT_BYTES = 64 << 10
"""What an object costs in any case: opening it takes the disk as long as reading."""
_BAD_IN_A_ROW = 20
"""Neighbours in the order of hashes are anywhere on the disk: if so many of them are
damaged, the machine is, and putting them all aside would make it worse."""
_OUT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@attrs.define
class ScrubPass:
    """One pass over all objects.

    Attributes:
        began_ns: when it began, nanoseconds since 1970.
        ended_ns: when it was complete; 0: it is not yet.
        position: the hash that it has come to, in hexadecimal digits.
        objects: how many objects were read.
        bytes_: their size.
        damaged: how many were damaged.
        unsteady: how many read differently the second time, and well.
    """

    began_ns: int
    ended_ns: int = 0
    position: str = ""
    objects: int = 0
    bytes_: int = 0
    damaged: int = 0
    unsteady: int = 0

    @property
    def share(self) -> float:
        """How much of the objects it has come past, 0 to 1."""
        if self.ended_ns:
            return 1.0
        return int(self.position[:8].ljust(8, "0"), 16) / (1 << 32)


def _read_pass(values: dict[str, Any] | None) -> ScrubPass | None:
    """A pass as it was noted.

    Raises:
        TypeError: it was not.
        ValueError: the same.
    """
    if values is None:
        return None
    found = ScrubPass(**values)
    bytes.fromhex(found.position)
    return found


class Scrub:
    """Reads all objects of a store again and again; used by one thread at a time.

    Attributes:
        current: the pass that goes on; ``None``: none does.
        last: the last complete pass; ``None``: there was none yet.
        halted: whether it has given up, since nearly everything is damaged.
    """

    _log = Logger()

    def __init__(
        self,
        store: ObjectStore,
        index: UpkeepIndex,
        now_ns: Callable[[], int],
        interval_ns: int,
    ) -> None:
        """Prepare to read the objects.

        Args:
            store: the objects.
            index: knows them, and how far we were.
            now_ns: the time.
            interval_ns: from the beginning of a pass to the next one's.
        """
        self.current: ScrubPass | None = None
        self.last: ScrubPass | None = None
        self.halted = False
        self._store = store
        self._index = index
        self._now_ns = now_ns
        self._interval_ns = interval_ns
        self._saved_ns = 0
        self._next: list[tuple[bytes, int]] = []
        self._reading: _Reading | None = None
        self._bad_in_a_row = 0

    def resume(self) -> None:
        """Find out how far the process before has come.

        Raises:
            StoreError: the index fails.
        """
        note = self._index.note(_NOTE)
        with suppress(ValueError, TypeError):  # then all is read from the beginning
            current, last = map(_read_pass, json.loads(note))
            self.current, self.last = current, last

    @property
    def due(self) -> bool:
        """Whether there is something to read now."""
        if self.halted:
            return False
        if self.current is not None or self.last is None:
            return True
        return self._now_ns() >= self.last.began_ns + self._interval_ns

    def run_piece(self, budget_bytes: int) -> int:
        """Read some objects, and put damaged ones aside.

        Args:
            budget_bytes: about how much to read.

        Returns:
            What was read; less than the budget if the pass is complete.

        Raises:
            StoreError: the index fails.
        """
        if self.current is None:
            self.current = ScrubPass(self._now_ns())
        spent = 0
        while spent < budget_bytes and not self.halted:
            if self._reading is None and not self._open_next(self.current):
                break
            if self._reading is None:
                spent += _OBJECT_BYTES
            else:
                spent += self._read(self.current, self._reading, budget_bytes - spent)
        if self.current and self._now_ns() - self._saved_ns >= _SAVED_EVERY_NS:
            self._save()
        return spent

    def close(self) -> None:
        """Note how far we are, and let go of what is open.

        Raises:
            StoreError: the index fails.
        """
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._save()

    def _open_next(self, current: ScrubPass) -> bool:
        """Open the next object, if it is there; whether there was one."""
        if not self._next:
            position = bytes.fromhex(current.position)
            found = self._index.objects_after(position, _CHOSEN_AT_ONCE)
            self._next = list(reversed(found.items()))
        if not self._next:
            self._end(current)
            return False
        hash_, size = self._next.pop()
        try:
            descriptor = self._store.open_object(hash_, size)
        except ObjectNotFound:  # collected meanwhile, or missing
            current.position = hash_.hex()
        except (CorruptObject, OSError) as error:
            if isinstance(error.__cause__, OSError):
                if error.__cause__.errno in _OUT_OF_MEANS:
                    raise StoreError(f"cannot read objects: {error}") from error
            current.position = hash_.hex()
            self._count_damage(current, str(error))
        else:
            self._reading = _Reading(self._store, hash_, size, descriptor)
        return True

    def _read(self, current: ScrubPass, reading: _Reading, limit: int) -> int:
        """Read on in an object."""
        count = reading.read(min(limit, _READ_BYTES))
        if not reading.finished:
            return count
        cost = count if reading.offset > _OBJECT_BYTES else _OBJECT_BYTES
        fault = reading.fault()
        if fault and not reading.again:
            reading.start_again()
            return cost
        try:
            if fault:
                self._put_aside(current, reading, fault)
            else:
                self._bad_in_a_row = 0
                if reading.again:
                    current.unsteady += 1
                    self._log.critical(
                        "object {name} read wrong, then right: memory or disk fails",
                        name=reading.hash_.hex(),
                    )
        finally:
            reading.close()
            self._reading = None
        current.position = reading.hash_.hex()
        current.objects += 1
        current.bytes_ += reading.size
        return cost

    def _put_aside(self, current: ScrubPass, reading: _Reading, fault: str) -> None:
        try:
            seen = os.fstat(reading.descriptor)
            if not self._store.put_aside(reading.hash_, seen, fault):
                return  # another file is in its place
        except OSError as error:
            fault = f"{fault}; it cannot be put aside: {error.strerror}"
        self._count_damage(current, f"{reading.hash_.hex()}: {fault}")

    def _count_damage(self, current: ScrubPass, text: str) -> None:
        self._log.error("damaged object: {text}", text=text)
        current.damaged += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= _BAD_IN_A_ROW:
            self.halted = True
            self._log.critical("too many damaged objects: not looking any further")

    def _end(self, current: ScrubPass) -> None:
        current.ended_ns = self._now_ns()
        self.current, self.last = None, current
        self._save()
        self._log.info(
            "read all objects: {objects} of {bytes_} bytes, {damaged} damaged",
            objects=current.objects,
            bytes_=current.bytes_,
            damaged=current.damaged,
        )

    def _save(self) -> None:
        self._saved_ns = self._now_ns()
        passes = [each and attrs.asdict(each) for each in (self.current, self.last)]
        self._index.set_note(_NOTE, json.dumps(passes))


class _Reading:
    """One object that is being read.

    Attributes:
        hash_: the object.
        size: its size in bytes.
        descriptor: its open file.
        offset: how much of it was read.
        finished: whether there is nothing more to read.
        again: whether this is the second time.
    """

    def __init__(
        self, store: ObjectStore, hash_: bytes, size: int, descriptor: int
    ) -> None:
        self.hash_ = hash_
        self.size = size
        self.descriptor = descriptor
        self.again = False
        self._disk = store.disk
        self._begin()

    def _begin(self) -> None:
        self.offset = 0
        self.finished = False
        self._error = ""
        self._digest = hashlib.sha512()

    def start_again(self) -> None:
        """Read it once more, and not from memory."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self.again = True
        self._begin()

    def read(self, limit: int) -> int:
        """Read at most so many bytes; how many it were."""
        try:
            data = self._disk.read(self.descriptor, limit, self.offset)
        except OSError as error:
            self._error = error.strerror or "unreadable"
            data = b""
        self._digest.update(data)
        self.offset += len(data)
        self.finished = not data or self.offset >= self.size
        return len(data)

    def fault(self) -> str:
        """What is wrong with it; empty: nothing."""
        if self._error:
            return self._error
        if self._digest.digest() != self.hash_:
            return f"its SHA-512 is {self._digest.hexdigest()}"
        return ""

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
