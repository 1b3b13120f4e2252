"""Sends objects over several connections, while more of them become known.

::

    upload = Upload(server, progress)
    sending = Deferred.fromCoroutine(upload.run())
    upload.put([...])            again and again
    upload.end()
    sent = await sending

Objects go in batches. Before each batch the server is asked what it lacks of it; each
batch is one call, so that what it has brought is on the server's disk. When a
connection breaks, its batch begins anew, and what the server has got of it is not sent
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, FirstError
from twisted.internet.task import deferLater

from imageserver.client.object_server import Uploadable
from imageserver.client.receiving import Progress
from imageserver.client.server import Server
from imageserver.errors import (
    ConnectionFailed,
    MethodDenied,
    ProtocolError,
    RemoteProtocolError,
)

STREAMS = 2
_BATCH_BYTES = 64 << 20
_BATCH_OBJECTS = 2_000
_TRIES = 6
_PAUSE_S = 1.0
_BREAKS = (ConnectionFailed, RemoteProtocolError)


@attrs.define
class Sent:
    """What an upload amounted to.

    Attributes:
        known: objects that the server had already.
        objects: objects that were sent.
        bytes_: their size.
        breaks: how often a connection broke.
    """

    known: int = 0
    objects: int = 0
    bytes_: int = 0
    breaks: int = 0


class Upload:
    """One upload to one server."""

    def __init__(
        self, server: Server, clock: Any, progress: Progress, streams: int = STREAMS
    ) -> None:
        """Send nothing yet.

        Args:
            server: where to.
            clock: measures the pauses after a connection broke.
            progress: told of objects and bytes that were sent, or were there.
            streams: how many connections to use at a time.
        """
        self._server = server
        self._clock = clock
        self._progress = progress
        self._streams = streams
        self._queue: deque[Uploadable] = deque()
        self._seen: set[bytes] = set()
        self._has_ended = False
        self._waiting: list[Deferred[None]] = []
        self._sent = Sent()
        self._may_check = True

    def put(self, objects: Iterable[Uploadable]) -> None:
        """Send these, too; those that were put before are passed over."""
        for item in objects:
            if item.size and item.hash_ not in self._seen:
                self._seen.add(item.hash_)
                self._queue.append(item)
        self._wake()

    def end(self) -> None:
        """That was all."""
        self._has_ended = True
        self._wake()

    async def run(self) -> Sent:
        """Send what there is and what comes, until the end.

        Raises:
            CallError: the server refuses.
            ConnectionFailed: it is not to be reached any more.
            ProtocolError: the connection breaks again and again.
            ImageServerError: an object cannot be read.
        """
        streams = [Deferred.fromCoroutine(self._stream()) for _ in range(self._streams)]
        together = DeferredList(streams, fireOnOneErrback=True, consumeErrors=True)
        try:
            await together
        except FirstError as first:
            for stream in streams:
                stream.cancel()
            first.subFailure.raiseException()
        return self._sent

    async def _stream(self) -> None:
        while batch := await self._next_batch():
            await self._send_surely(batch)

    async def _next_batch(self) -> list[Uploadable]:
        """What to send next; nothing: that was all."""
        while not self._queue and not self._has_ended:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        batch: list[Uploadable] = []
        size = 0
        while self._queue and size < _BATCH_BYTES and len(batch) < _BATCH_OBJECTS:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(None)

    async def _send_surely(self, batch: Sequence[Uploadable]) -> None:
        """Send a batch; again, if the connection breaks."""
        for attempt in range(_TRIES):
            try:
                await self._send(batch)
            except _BREAKS as error:
                if attempt + 1 == _TRIES or not _may_pass(error):
                    raise
                self._sent.breaks += 1
                await deferLater(self._clock, _PAUSE_S * 2**attempt, lambda: None)
            else:
                return

    async def _send(self, batch: Sequence[Uploadable]) -> None:
        missing = await self._find_missing(batch)
        done_objects = done_bytes = 0

        def advance(objects: int, size: int) -> None:
            nonlocal done_objects, done_bytes
            done_objects += objects
            done_bytes += size
            self._progress(objects, size)

        try:
            if missing:
                await self._server.objects.add_objects(missing, advance)
        except BaseException:
            self._progress(-done_objects, -done_bytes)
            raise
        known = len(batch) - len(missing)
        self._progress(known, sum(o.size for o in batch) - sum(o.size for o in missing))
        self._sent.known += known
        self._sent.objects += len(missing)
        self._sent.bytes_ += sum(item.size for item in missing)

    async def _find_missing(self, batch: Sequence[Uploadable]) -> list[Uploadable]:
        if not self._may_check:
            return list(batch)
        try:
            hashes = [item.hash_ for item in batch]
            sizes = await self._server.objects.check_objects(hashes)
        except MethodDenied:  # then send everything
            self._may_check = False
            return list(batch)
        return [item for item, size in zip(batch, sizes, strict=True) if not size]


def _may_pass(error: ProtocolError | ConnectionFailed) -> bool:
    """Whether it may work another time."""
    return "certificate" not in str(error)


async def upload(
    server: Server,
    clock: Any,
    objects: Iterable[Uploadable],
    progress: Progress,
    streams: int = STREAMS,
) -> Sent:
    """Send objects that are all known. Raises what :meth:`Upload.run` does."""
    sending = Upload(server, clock, progress, streams)
    sending.put(objects)
    sending.end()
    return await sending.run()
