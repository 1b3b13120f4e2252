"""Takes in objects that come one behind the other.

A thread writes what has come while more comes; about four mebibytes are in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred

from imageserver.worker import Worker

_BATCH_BYTES = 2 << 20

Progress = Callable[[int, int], None]
"""Told of objects and bytes that were sent or received since the last time."""


class Writer(Protocol):
    """Takes the content of one object."""

    def write(self, data: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """That was all of it."""


class Receiving:
    """The content of several objects on its way to their writers."""

    def __init__(
        self,
        worker: Worker,
        objects: Iterable[tuple[bytes, int]],
        receive: Callable[[bytes], Writer],
        progress: Progress,
    ) -> None:
        """Take in objects.

        Args:
            worker: calls ``receive`` and uses the writers.
            objects: hashes and sizes, in the order in which they come.
            receive: from a hash to where its content goes.
            progress: told what has been written.
        """
        self._worker = worker
        self._division = _Division(objects, receive)
        self._progress = progress
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._writing: Deferred[tuple[int, int]] | None = None

    async def add(self, data: bytes) -> None:
        """Take the next bytes, which may end one object and begin others.

        Raises:
            Exception: what a writer raised.
        """
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes >= _BATCH_BYTES:
            await self._hand_over()

    async def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            Exception: what a writer raised.
        """
        await self._hand_over()
        await self._settle()

    async def give_up(self) -> None:
        """Wait until no writer is used any more."""
        with suppress(Exception):  # there is an error already
            await self._settle()
        # If waiting was cancelled, the thread has not noticed.
        with suppress(Exception):
            await self._worker.run(self._division.close)

    async def _hand_over(self) -> None:
        await self._settle()
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        self._writing = self._worker.run(self._division.write, pieces)

    async def _settle(self) -> None:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self._progress(*await writing)


class _Division:
    """Divides bytes among the objects that they belong to; used by the worker."""

    def __init__(
        self,
        objects: Iterable[tuple[bytes, int]],
        receive: Callable[[bytes], Writer],
    ) -> None:
        self._objects = iter([(hash_, size) for hash_, size in objects if size])
        self._receive = receive
        self._writer: Writer | None = None
        self._missing = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Use no writer any more; waits for the thread that does."""
        self._is_closed = True
        with self._lock:
            return

    def write(self, pieces: Iterable[bytes]) -> tuple[int, int]:
        """Write the next bytes; how many objects they end, and how many they are."""
        with self._lock:
            return self._write(pieces)

    def _write(self, pieces: Iterable[bytes]) -> tuple[int, int]:
        objects = size = 0
        for piece in pieces:
            if self._is_closed:
                break
            size += len(piece)
            position = 0
            while position < len(piece):
                if self._writer is None:
                    hash_, self._missing = next(self._objects)
                    self._writer = self._receive(hash_)
                part = piece[position : position + self._missing]
                self._writer.write(part)
                position += len(part)
                self._missing -= len(part)
                if not self._missing:
                    writer, self._writer = self._writer, None
                    writer.finish()
                    objects += 1
        return objects, size
