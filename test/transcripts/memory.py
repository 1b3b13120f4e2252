"""A connection in memory, with the manners of a TCP connection of the reactor.

Nothing happens by itself: :meth:`MemoryTransport.pump` does what the reactor would do
until there is nothing left to do.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

Chunks = Callable[[bytes], Iterator[bytes]]


def in_one(data: bytes) -> Iterator[bytes]:
    """All of it at once."""
    yield data


def in_pieces(size: int) -> Chunks:
    """In pieces of ``size`` bytes."""

    def cut(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return cut


CHUNKINGS = {"at once": in_one, "bytewise": in_pieces(1), "by seven": in_pieces(7)}


@implementer(ITCPTransport)
class MemoryTransport:
    """The transport of a protocol whose peer is a test.

    What the protocol writes goes to a file, so that there is a descriptor to which
    the kernel can copy files. A streaming producer is paused after each write, as if
    the peer were slow, and resumed by the next :meth:`pump`.

    Attributes:
        clock: that of the protocol.
        disconnecting: whether the protocol wants the connection to end.
        disconnected: whether the protocol was told that the connection is gone.
    """

    def __init__(self, clock: Clock, host: str = "127.0.0.2") -> None:
        """Make a connection.

        Args:
            clock: that of the protocol.
            host: this end's address; that of the other one is 127.0.0.1.
        """
        self._host = host
        self.disconnecting = False
        self.disconnected = False
        self.clock = clock
        self._half_closed = False
        self._protocol: Any = None
        self._file = tempfile.TemporaryFile(buffering=0)
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._writing = False
        self._reading = True
        self._incoming: deque[bytes] = deque()
        self._reason: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the peer can see that nothing more will come."""
        return self.disconnected or self._half_closed

    def connect(self, protocol: Protocol) -> None:
        """Give ``protocol`` this transport."""
        self._protocol = protocol
        protocol.makeConnection(self)

    def deliver(self, chunks: Iterable[bytes]) -> None:
        """Let the peer send something; :meth:`pump` makes it arrive."""
        self._incoming.extend(chunk for chunk in chunks if chunk)

    def hang_up(self) -> None:
        """Let the peer close the connection, behind what it has sent."""
        self.pump()
        self._lose(ConnectionDone())

    def sent(self) -> bytes:
        """All that the protocol has sent so far."""
        return os.pread(self._file.fileno(), os.fstat(self._file.fileno()).st_size, 0)

    def close(self) -> None:
        """Make an end, whatever the state."""
        self._lose(ConnectionDone())
        self._file.close()

    def pump(self) -> None:
        """Do what there is to do."""
        while self._write_some() or self._read_some() or self._wake_up():
            pass

    def _write_some(self) -> bool:
        if self.disconnected:
            return False
        if self._reason is not None:
            self._lose(self._reason)
            return True
        if self._producer is not None and self._streaming and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()
            return True
        if self._producer is not None and not self._streaming:
            writing, self._writing = self._writing, False
            if writing:
                self._producer.resumeProducing()
            return writing
        if self.disconnecting:
            self._lose(ConnectionDone())
            return True
        return False

    def _read_some(self) -> bool:
        gone = self.disconnecting or self.disconnected
        if gone or not self._incoming or not self._reading:
            return False
        self._protocol.dataReceived(self._incoming.popleft())
        return True

    def _wake_up(self) -> bool:
        now_s = self.clock.seconds()
        if any(call.getTime() <= now_s for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)
            return True
        return False

    def _lose(self, reason: Exception) -> None:
        if self.disconnected or self._protocol is None:
            return
        self.disconnected = True
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        self._protocol.connectionLost(Failure(reason))

    # What the protocol calls.

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""
        if self.ended or not data:
            return
        assert os.write(self._file.fileno(), data) == len(data)
        if self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See ``ITransport``."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See ``ITransport``."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """See ``ITCPTransport``."""
        self._reason = ConnectionAborted()

    def loseWriteConnection(self) -> None:
        """See ``ITCPTransport``."""
        self._half_closed = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See ``IConsumer``."""
        assert self._producer is None
        if self.disconnected:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        self._producer_paused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""
        self._producer = None

    def startWriting(self) -> None:
        """See ``IReadWriteDescriptor``: say when there is room."""
        self._writing = True

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: stop reading."""
        self._reading = False

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._reading = True

    def stopProducing(self) -> None:
        """See ``IPushProducer``."""
        self.loseConnection()

    def fileno(self) -> int:
        """See ``IFileDescriptor``."""
        return self._file.fileno()

    def getPeer(self) -> IPv4Address:
        """See ``ITransport``."""
        return IPv4Address("TCP", "127.0.0.1", 40000)

    def getHost(self) -> IPv4Address:
        """See ``ITransport``."""
        return IPv4Address("TCP", self._host, 6971)

    def getTcpNoDelay(self) -> bool:
        """See ``ITCPTransport``."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""

    def getTcpKeepAlive(self) -> bool:
        """See ``ITCPTransport``."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""
