"""Sends parts of files: ``docs/architecture.md``, "Streaming".

On a plain connection the kernel copies from file to socket (sendfile), driven by the
transport as its pull producer. On TLS a pull producer would spin while there is
nothing to send, so pieces are read ahead and written as the transport takes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from imageserver.errors import PeerClosed, PeerTooSlow, StoreError
from imageserver.objects.base import ObjectReader
from imageserver.srpc.channel import Channel
from imageserver.srpc.limit import Limit
from imageserver.worker import Worker

_PIECE_BYTES = 1 << 20
_PROBE_STEP_BYTES = 128 << 10

Read: TypeAlias = Callable[[int, int], Deferred[bytes]]
"""From where and how much to the bytes."""


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
    """Sends parts of files on any connection, in constant memory."""

    def __init__(self, disk: Worker) -> None:
        """Read what is not in memory with ``disk``."""
        self._disk = disk

    async def send(self, channel: Channel, part: FilePart) -> None:
        """Send a part of a file, behind what was written before.

        Raises:
            StoreError: the file is shorter than it should be, or cannot be read.
            RemoteProtocolError: the connection is lost, or the peer does not read.
        """
        try:
            if part.length == 0:
                return
            if channel.is_tls:
                read = partial(self._read_file, part.descriptor)
                await self._send_pieces(channel, read, part.offset, part.length)
            else:
                await self._send_file(channel, part)
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}") from error

    async def send_object(self, channel: Channel, reader: ObjectReader) -> None:
        """Send an object, as :meth:`send` does.

        Raises:
            StoreError: the object is damaged, or cannot be read.
            RemoteProtocolError: the connection is lost, or the peer does not read.
        """
        if reader.descriptor is not None:
            await self.send(channel, FilePart(reader.descriptor, 0, reader.size))
            return

        def read(offset: int, size: int) -> Deferred[bytes]:
            return self._disk.run(reader.read, offset, size)

        try:
            await self._send_pieces(channel, read, 0, reader.size)
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}") from error

    async def _send_pieces(
        self, channel: Channel, read: Read, offset: int, length: int
    ) -> None:
        end = offset + length

        def read_ahead() -> Deferred[bytes]:
            return read(offset, min(_PIECE_BYTES, end - offset))

        ahead = read_ahead()
        while offset < end:
            piece = await ahead
            if not piece:
                raise StoreError("a file ended early")
            offset += len(piece)
            if offset < end:
                ahead = read_ahead()
            channel.write(piece)
            try:
                await channel.drain()
            except BaseException:
                await ahead  # the descriptor is closed as soon as we are gone
                raise

    def _read_file(self, descriptor: int, offset: int, size: int) -> Deferred[bytes]:
        buffer = bytearray(size)
        try:
            count = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # not in memory, or this file system cannot tell
            return self._disk.run(os.pread, descriptor, size, offset)
        ready: Deferred[bytes] = Deferred()
        ready.callback(bytes(memoryview(buffer)[:count]))
        return ready

    async def _send_file(self, channel: Channel, part: FilePart) -> None:
        channel.flush()
        if channel.closed:
            raise PeerClosed("connection lost")
        channel.release_writing()
        producer = _SendfileProducer(channel, part, self._disk)
        try:
            await producer.run()
        except PeerTooSlow:
            channel.abort()
            raise
        finally:
            channel.claim_writing()


@implementer(IPullProducer)
class _SendfileProducer:
    """Fills the socket whenever the transport's own buffer is empty."""

    def __init__(self, channel: Channel, part: FilePart, disk: Worker) -> None:
        self._channel = channel
        self._transport: Any = channel.transport
        self._descriptor = part.descriptor
        self._offset = part.offset
        self._end = part.offset + part.length
        self._resident_to = part.offset
        self._progress = part.offset
        self._disk = disk
        self._started = False
        self._loading: Deferred[Any] | None = None
        self._done: Deferred[None] = Deferred()
        self._stalled = self._channel.clock.callLater(
            self._channel.deadlines.stall_s,
            self._fail,
            PeerTooSlow(Limit.READING, "nothing read"),
        )

    async def run(self) -> None:
        """Send everything."""
        try:
            self._transport.registerProducer(self, False)
            await self._done
        finally:
            if self._stalled.active():
                self._stalled.cancel()
            if not self._channel.lost:
                self._transport.unregisterProducer()
            if self._loading is not None:
                await self._loading  # it reads from the descriptor

    def resumeProducing(self) -> None:
        """See ``IPullProducer``."""
        if self._done.called or self._loading is not None:
            return
        if not self._started:
            # Registering calls this at once, perhaps with bytes in the buffer that
            # have to go first: come back when the socket is writable.
            self._started = True
        elif self._offset >= self._end:
            self._done.callback(None)
            return
        elif self._offset >= self._resident_to and not self._is_resident():
            self._load()
            return
        else:
            self._send()
        if not self._done.called:
            self._transport.startWriting()

    def stopProducing(self) -> None:
        """See ``IPullProducer``: the connection is lost."""
        self._fail(PeerClosed("connection lost"))

    def _send(self) -> None:
        count = min(self._resident_to - self._offset, self._end - self._offset)
        try:
            sent = os.sendfile(
                self._transport.fileno(), self._descriptor, self._offset, count
            )
        except BlockingIOError:
            return
        except ConnectionError as error:
            self._fail(PeerClosed(error.strerror or "connection lost"))
            return
        except OSError as error:
            self._fail(StoreError(f"cannot read: {error.strerror}"))
            return
        if sent == 0:
            self._fail(StoreError("a file ended early"))
        else:
            self._offset += sent
            if self._offset - self._progress >= _PIECE_BYTES:
                self._progress = self._offset
                self._stalled.reset(self._channel.deadlines.stall_s)

    def _window(self) -> int:
        return min(_PIECE_BYTES, self._end - self._offset)

    def _is_resident(self) -> bool:
        """Whether the next window is in memory, as far as a few probes can tell."""
        buffer = bytearray(1)
        end = self._offset + self._window()
        probes = [*range(self._offset, end, _PROBE_STEP_BYTES), end - 1]
        try:
            for offset in probes:
                os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError:
            return False
        self._resident_to = end
        return True

    def _load(self) -> None:
        end = self._offset + self._window()
        self._loading = self._disk.run(
            os.pread, self._descriptor, end - self._offset, self._offset
        )

        def loaded(_: Any) -> None:
            self._loading = None
            self._resident_to = end
            if not self._done.called:
                self._stalled.reset(self._channel.deadlines.stall_s)  # not its fault
                self._transport.startWriting()

        def failed(failure: Any) -> None:
            self._loading = None
            self._fail(StoreError(f"cannot read: {failure.getErrorMessage()}"))

        self._loading.addCallbacks(loaded, failed)

    def _fail(self, error: Exception) -> None:
        if not self._done.called:
            self._done.errback(error)
