"""Objects that one call fetches, on their way to disk.

They come one behind the other; a thread cuts them apart. While it works on some of what
has come, the next bytes come in: no more than these two are in memory. All that has
come whole is kept, also when the connection breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from imageserver.objects.base import ObjectIntake, Outcome
from imageserver.srpc.call import Call
from imageserver.worker import Worker

_PIECE_BYTES = 256 << 10
_HOP_BYTES = 512 << 10  # less is not worth a trip to a thread
_AHEAD_BYTES = 1 << 20

Paid = Callable[[int], Deferred[None] | None]
"""Told how many bytes came; gives what to wait for before more is read."""


class Batch:
    """See the module."""

    def __init__(self, intake: ObjectIntake, disk: Worker, paid: Paid) -> None:
        """Let ``disk`` put objects into ``intake``."""
        self._intake = intake
        self._disk = disk
        self._paid = paid
        self._cutter = _Cutter(intake, (), ())
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._working: Deferred[None] = succeed(None)
        self._failure: Exception | None = None

    async def receive(
        self, call: Call, hashes: Sequence[bytes], sizes: Sequence[int]
    ) -> None:
        """Take in objects that come one behind the other.

        Raises:
            RemoteProtocolError: the connection broke.
            Exception: what went wrong on disk.
        """
        self._cutter = _Cutter(self._intake, hashes, sizes)
        missing = sum(sizes)
        while missing:
            data = await call.receive_bytes(min(missing, _PIECE_BYTES))
            missing -= len(data)
            self._pieces.append(data)
            self._bytes += len(data)
            is_worth_it = self._working.called and self._bytes >= _HOP_BYTES
            if is_worth_it or self._bytes >= _AHEAD_BYTES:
                await self._hand_over()
            pause = self._paid(len(data))
            if pause is not None:
                await pause

    async def _hand_over(self) -> None:
        """Give what has come to the thread, once it has done what it has."""
        await self._working
        if self._failure is not None:
            raise self._failure
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        self._working = Deferred.fromCoroutine(self._work(pieces))

    async def _work(self, pieces: list[bytes]) -> None:
        try:
            await self._disk.run(self._cutter.write, pieces)
        except Exception as error:
            self._failure = error

    async def commit(self) -> list[Outcome]:
        """Keep what has come whole; to be called once, however it went.

        Raises:
            Exception: what went wrong on disk.
        """
        try:
            await self._hand_over()
            await self._working
            if self._failure is not None:
                raise self._failure
            return await self._disk.run(self._intake.commit)
        finally:
            await self._working
            await self._disk.run(self._intake.abandon)


class _Cutter:
    """Cuts a stream of bytes into objects; used by one thread at a time."""

    def __init__(
        self, intake: ObjectIntake, hashes: Sequence[bytes], sizes: Sequence[int]
    ) -> None:
        self._intake = intake
        self._expected = list(hashes)
        self._objects = zip(hashes, sizes, strict=True)
        self._missing = 0

    def write(self, pieces: list[bytes]) -> None:
        """The next bytes."""
        if self._expected:
            self._intake.expect(self._expected)
            self._expected = []
        for piece in pieces:
            position = 0
            while position < len(piece):
                if not self._missing:
                    hash_, self._missing = next(self._objects)
                    self._intake.begin(self._missing, hash_)
                data = piece[position : position + self._missing]
                position += len(data)
                self._missing -= len(data)
                self._intake.write(data)
