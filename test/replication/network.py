"""Connections in memory, on a virtual clock, that take their time and break."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

WINDOW_BYTES = 32 << 10
PIECE_BYTES = 4 << 10


@implementer(ITransport, IConsumer)
class End:
    """One end of a connection; a transport."""

    def __init__(self, wire: Wire, protocol: Any) -> None:
        self.wire = wire
        self.protocol = protocol
        self.peer: End
        self.producer: Any = None
        self.is_producer_paused = False
        self.is_paused = False
        self.is_lost = False
        self.is_closing = False
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.is_moving = False

    def write(self, data: bytes) -> None:
        if self.is_lost or self.is_closing:
            return
        self.outgoing += data
        if self.producer is not None and len(self.outgoing) > WINDOW_BYTES:
            self.is_producer_paused = True
            self.producer.pauseProducing()
        self._move()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def _move(self) -> None:
        """Let the network carry something, if it does not already."""
        if not self.is_moving and (self.outgoing or self.is_closing):
            self.is_moving = True
            self.wire.later(self._arrive)

    def _arrive(self) -> None:
        self.is_moving = False
        if self.is_lost:
            return
        if not self.outgoing:
            if self.is_closing:
                self.wire.end(ConnectionDone())
            return
        data = bytes(self.outgoing[:PIECE_BYTES])
        del self.outgoing[: len(data)]
        if not self.wire.spend(len(data)):
            return
        self.peer.incoming += data
        self.peer.hand_over()
        if not self.outgoing and self.is_producer_paused and self.producer:
            self.is_producer_paused = False
            self.producer.resumeProducing()
        self._move()

    def hand_over(self) -> None:
        if self.incoming and not self.is_paused and not self.is_lost:
            data = bytes(self.incoming)
            self.incoming.clear()
            self.protocol.dataReceived(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer
        if self.is_lost:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False
        self.wire.later(self.hand_over)

    def loseConnection(self) -> None:
        self.is_closing = True
        self._move()

    loseWriteConnection = loseConnection

    def abortConnection(self) -> None:
        self.wire.later(lambda: self.wire.end(ConnectionAborted()), 0.0)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1234)

    getHost = getPeer

    def lose(self, reason: Exception) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self.incoming:  # what had arrived is read first
            self.is_paused = False
            data = bytes(self.incoming)
            self.incoming.clear()
            self.protocol.dataReceived(data)
        self.protocol.connectionLost(Failure(reason))


class Wire:
    """A connection between two protocols."""

    def __init__(
        self,
        clock: Clock,
        delay_s: Callable[[], float],
        budget: int,
        ended: Callable[[Wire], object],
    ) -> None:
        """Connect nobody yet.

        Args:
            clock: the time.
            delay_s: how long the next piece takes.
            budget: after how many bytes the connection breaks.
            ended: told when it is gone.
        """
        self._clock = clock
        self._delay_s = delay_s
        self._budget = budget
        self._ended = ended
        self.has_ended = False
        self.left: End
        self.right: End

    def connect(self, left: Any, right: Any) -> None:
        self.left, self.right = End(self, left), End(self, right)
        self.left.peer, self.right.peer = self.right, self.left
        left.makeConnection(self.left)
        right.makeConnection(self.right)

    def later(self, function: Callable[[], object], delay_s: float | None = None):
        return self._clock.callLater(
            self._delay_s() if delay_s is None else delay_s, function
        )

    def spend(self, size: int) -> bool:
        self._budget -= size
        if self._budget < 0:
            self.end(ConnectionLost())
        return not self.has_ended

    def end(self, reason: Exception) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        self._ended(self)
        self.left.lose(reason)
        self.right.lose(reason)


class Weather:
    """How bad the network is at the moment."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self.is_bad = True

    def delay_s(self) -> float:
        if self._random.random() < 0.02:
            return self._random.uniform(0, 0.5)
        return self._random.uniform(0, 0.01)

    def budget(self) -> int:
        """After how many bytes the next connection breaks."""
        if not self.is_bad or self._random.random() < 0.5:
            return 1 << 40
        return int(2 ** self._random.uniform(0, 17))
