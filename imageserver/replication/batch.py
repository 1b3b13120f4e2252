"""Objects that one call fetches, on their way to disk.

While a thread works on some of what has come, the next bytes come in: no more than
these two are in memory. All that has come whole is kept, also when the connection
breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred, succeed

from imageserver.objects.base import ObjectIntake, Outcome
from imageserver.srpc.call import Call
from imageserver.worker import Worker

_PIECE_BYTES = 256 << 10
_HOP_BYTES = 512 << 10  # less is not worth a trip to a thread
_AHEAD_BYTES = 1 << 20
_AHEAD_STEPS = 500

Step = Callable[[], None]
Paid = Callable[[int], Deferred[None] | None]
"""Told how many bytes came; gives what to wait for before more is read."""


class Batch:
    """See the module.

    Attributes:
        received_bytes: how much has come.
    """

    def __init__(self, intake: ObjectIntake, disk: Worker, paid: Paid) -> None:
        """Let ``disk`` put objects into ``intake``."""
        self._intake = intake
        self._disk = disk
        self._paid = paid
        self._steps: list[Step] = []
        self._bytes = 0
        self._working: Deferred[None] = succeed(None)
        self._failure: Exception | None = None
        self.received_bytes = 0

    async def receive(
        self, call: Call, hashes: Sequence[bytes], sizes: Sequence[int]
    ) -> None:
        """Take in objects that come one behind the other.

        Raises:
            RemoteProtocolError: the connection broke.
            Exception: what went wrong on disk.
        """
        self._steps.append(partial(self._intake.expect, list(hashes)))
        for hash_, size in zip(hashes, sizes, strict=True):
            self._steps.append(partial(self._intake.begin, size, hash_))
            missing = size
            while missing:
                data = await call.receive_bytes(min(missing, _PIECE_BYTES))
                missing -= len(data)
                self.received_bytes += len(data)
                self._steps.append(partial(self._intake.write, data))
                self._bytes += len(data)
                await self._hand_over()
                pause = self._paid(len(data))
                if pause is not None:
                    await pause

    async def _hand_over(self) -> None:
        """Give what has come to the thread, once it is idle or there is much of it."""
        is_much = self._bytes >= _AHEAD_BYTES or len(self._steps) >= _AHEAD_STEPS
        if is_much or (self._working.called and self._bytes >= _HOP_BYTES):
            await self._flush()

    async def _flush(self) -> None:
        await self._working
        if self._failure is not None:
            raise self._failure
        steps, self._steps, self._bytes = self._steps, [], 0
        self._working = Deferred.fromCoroutine(self._work(steps))

    async def _work(self, steps: list[Step]) -> None:
        try:
            await self._disk.run(_do_all, steps)
        except Exception as error:
            self._failure = error

    async def commit(self) -> list[Outcome]:
        """Keep what has come whole; to be called once, however it went.

        Raises:
            Exception: what went wrong on disk.
        """
        try:
            await self._flush()
            await self._working
            if self._failure is not None:
                raise self._failure
            return await self._disk.run(self._intake.commit)
        finally:
            await self._working
            await self._disk.run(self._intake.abandon)


def _do_all(steps: list[Step]) -> None:
    for step in steps:
        step()
