"""Sends bytes and parts of files: ``docs/architecture.md``, "Streaming".

On any connection a :class:`Stream` is the pull producer of the TCP transport, asked for
more when the socket is writable and the transport's own buffer empty; so also on TLS,
where a pull producer of the TLS transport would spin while there is nothing to send.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from imageserver.errors import PeerClosed, PeerTooSlow, StoreError
from imageserver.objects.base import ObjectReader
from imageserver.rpc.carrier import Carrier, PlainCarrier, TLSCarrier
from imageserver.srpc.channel import Channel
from imageserver.srpc.limit import Limit
from imageserver.worker import Worker

_WINDOW_BYTES = 1 << 20
_PROBE_STEP_BYTES = 128 << 10
_PROGRESS_BYTES = 1 << 20
_READ_BYTES = 256 << 10


@attrs.frozen
class FilePart:
    """A part of an open file.

    Attributes:
        descriptor: the open file; whoever opened it closes it.
        offset: where the part begins.
        length: its size in bytes.
    """

    descriptor: int
    offset: int
    length: int


class Streamer:
    """Sends on any connection, in constant memory."""

    def __init__(self, disk: Worker) -> None:
        """Read what is not in memory with ``disk``."""
        self._disk = disk

    async def send(self, channel: Channel, part: FilePart) -> None:
        """Send a part of a file, behind what was written before.

        Raises:
            StoreError: the file is shorter than it should be, or cannot be read.
            RemoteProtocolError: the connection is lost, or the peer does not read.
        """
        async with self.open(channel) as stream:
            await stream.send_file(part)

    @asynccontextmanager
    async def open(self, channel: Channel) -> AsyncIterator[Stream]:
        """Send several things in a row, behind what was written before.

        Meanwhile nothing else may be written on the channel.

        Raises:
            RemoteProtocolError: the connection is lost.
        """
        channel.flush()
        if channel.closed:
            raise PeerClosed("connection lost")
        transport, carrier = _carrier(channel)
        channel.release_writing()
        stream = Stream(channel, transport, carrier, self._disk)
        try:
            yield stream
        except PeerTooSlow:
            channel.abort()
            raise
        finally:
            await stream.close()
            channel.claim_writing()


def _carrier(channel: Channel) -> tuple[Any, Carrier]:
    """The TCP transport of a channel, and what puts bytes into it."""
    if not channel.is_tls:
        return channel.transport, PlainCarrier(channel.transport)
    transport, session = channel.transport.transport, channel.transport.getHandle()
    if session is None:
        raise PeerClosed("connection lost")
    return transport, TLSCarrier(transport, session)


@attrs.define
class _Part:
    """What is being sent: bytes, or a part of a file.

    Attributes:
        offset: where it goes on.
        end: where it ends.
        resident_to: up to where it is in memory.
        data: the bytes, if it is bytes.
        descriptor: the file, if it is one.
    """

    offset: int
    end: int
    resident_to: int
    data: memoryview | None = None
    descriptor: int = -1

    def send(self, carrier: Carrier) -> int:
        """Send some of it; how much was taken."""
        end = min(self.resident_to, self.end)
        if self.data is not None:
            taken = carrier.send_bytes(self.data[self.offset : end])
        else:
            taken = carrier.send_file(self.descriptor, self.offset, end - self.offset)
        self.offset += taken
        return taken

    @property
    def window(self) -> int:
        """How much has to be in memory next."""
        return min(_WINDOW_BYTES, self.end - self.offset)

    def is_resident(self) -> bool:
        """Whether the next window is in memory, as far as a few probes can tell."""
        if self.offset < self.resident_to:
            return True
        buffer = bytearray(1)
        end = self.offset + self.window
        probes = [*range(self.offset, end, _PROBE_STEP_BYTES), end - 1]
        try:
            for offset in probes:
                os.preadv(self.descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # it is not, or this file system cannot tell
            return False
        self.resident_to = end
        return True


@implementer(IPullProducer)
class Stream:
    """Fills a socket whenever the transport's own buffer is empty.

    One thing is sent at a time, by one coroutine.
    """

    def __init__(
        self, channel: Channel, transport: Any, carrier: Carrier, disk: Worker
    ) -> None:
        """Become the producer of a transport.

        Args:
            channel: the connection.
            transport: its TCP transport.
            carrier: puts bytes into it.
            disk: reads what is not in memory.
        """
        self._channel = channel
        self._transport = transport
        self._carrier = carrier
        self._disk = disk
        self._part: _Part | None = None
        self._sent: Deferred[None] | None = None
        self._failure: Exception | None = None
        self._loading: Deferred[Any] | None = None
        self._is_registered = False
        self._progress = 0
        self._progress_s = channel.clock.seconds()
        self._timer = channel.clock.callLater(
            channel.deadlines.stall_s, self._check_progress
        )
        # This calls resumeProducing at once, perhaps with bytes in the transport's
        # buffer that have to go first: nothing may be sent then.
        transport.registerProducer(self, False)
        self._is_registered = True

    async def send_file(self, part: FilePart) -> None:
        """Send a part of a file.

        Raises:
            StoreError: the file is shorter than it should be, or cannot be read.
            RemoteProtocolError: the connection is lost, or the peer does not read.
        """
        begin, end = part.offset, part.offset + part.length
        await self._send(_Part(begin, end, begin, descriptor=part.descriptor))

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            RemoteProtocolError: as :meth:`send_file`.
        """
        await self._send(_Part(0, len(data), len(data), memoryview(data)))

    async def send_object(self, reader: ObjectReader) -> None:
        """Send an object.

        Raises:
            StoreError: it is damaged, or cannot be read.
            RemoteProtocolError: as :meth:`send_file`.
        """
        if reader.descriptor is not None:
            await self.send_file(FilePart(reader.descriptor, 0, reader.size))
            return
        offset, ahead = 0, self._read(reader, 0)
        while offset < reader.size:
            piece = await ahead
            if not piece:
                raise StoreError("an object ended early")
            offset += len(piece)
            ahead = self._read(reader, offset)
            try:
                await self.send_bytes(piece)
            except BaseException:
                await _settled(ahead)  # the reader is closed as soon as we are gone
                raise
        await ahead

    def _read(self, reader: ObjectReader, offset: int) -> Deferred[bytes]:
        """Begin to read a piece of an object; nothing at its end."""
        size = min(_READ_BYTES, reader.size - offset)
        if not size:
            done: Deferred[bytes] = Deferred()
            done.callback(b"")
            return done
        reading = self._disk.run(reader.read, offset, size)
        return reading.addErrback(_translate)

    async def _send(self, part: _Part) -> None:
        if self._failure is not None:
            raise self._failure
        if part.offset == part.end:
            return
        self._part = part
        self._sent = Deferred()
        self._progress_s = self._channel.clock.seconds()
        self._transport.startWriting()
        await self._sent

    async def close(self) -> None:
        """Let somebody else be the producer."""
        if self._timer.active():
            self._timer.cancel()
        self._part = None
        if not self._channel.lost:
            self._transport.unregisterProducer()
        if self._loading is not None:
            await self._loading  # it reads from the descriptor

    def resumeProducing(self) -> None:
        """See ``IPullProducer``."""
        if not self._is_registered:
            return
        room = self._carrier.turn_bytes
        while self._part is not None and room > 0 and self._loading is None:
            if not self._part.is_resident():
                self._load(self._part)
                return
            try:
                taken = self._part.send(self._carrier)
            except (PeerClosed, StoreError) as error:
                self._fail(error)
                return
            room -= taken
            self._advance(taken)
            if self._carrier.is_full:
                break
        if self._part is not None and self._loading is None:
            self._transport.startWriting()

    def stopProducing(self) -> None:
        """See ``IPullProducer``: the connection is lost."""
        self._fail(PeerClosed("connection lost"))

    def _advance(self, taken: int) -> None:
        """Something was taken; perhaps the part is complete, and another one comes."""
        self._channel.sent_bytes += taken
        self._progress += taken
        if self._progress >= _PROGRESS_BYTES:
            self._progress = 0
            self._progress_s = self._channel.clock.seconds()
        part, sent = self._part, self._sent
        if part is not None and sent is not None and part.offset == part.end:
            self._part = self._sent = None
            sent.callback(None)

    def _load(self, part: _Part) -> None:
        """Let the disk worker bring the next window into memory."""
        size = part.window
        self._loading = self._disk.run(os.pread, part.descriptor, size, part.offset)

        def loaded(_: Any) -> None:
            self._loading = None
            part.resident_to = part.offset + size
            self._progress_s = self._channel.clock.seconds()  # not the peer's fault
            if self._part is part:
                self._transport.startWriting()

        def failed(failure: Any) -> None:
            self._loading = None
            self._fail(StoreError(f"cannot read: {failure.getErrorMessage()}"))

        self._loading.addCallbacks(loaded, failed)

    def _check_progress(self) -> None:
        """Give up a peer that takes too little for too long."""
        clock, limit_s = self._channel.clock, self._channel.deadlines.stall_s
        if self._part is None or self._loading is not None:
            self._progress_s = clock.seconds()  # it is not the peer that takes long
        rest_s = self._progress_s + limit_s - clock.seconds()
        if rest_s > 0:
            self._timer = clock.callLater(rest_s, self._check_progress)
        else:
            self._fail(PeerTooSlow(Limit.READING, "nothing read"))

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._part = None
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.errback(error)


async def _settled(reading: Deferred[bytes]) -> None:
    """Wait for a read whose result does not matter any more."""
    reading.addErrback(lambda _: b"")
    await reading


def _translate(failure: Any) -> Any:
    error = failure.trap(OSError) and failure.value
    raise StoreError(f"cannot read: {error.strerror}") from error
