"""One connection, read and written by one coroutine.

A :class:`Channel` sits on a TCP transport or, wrapped by :mod:`imageserver.srpc.tls`,
on TLS. Reading stops while nobody asks for what has arrived; writing waits while the
peer does not read. Both have deadlines.
"""

from __future__ import annotations

from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from imageserver.errors import (
    LocalProtocolError,
    PeerClosed,
    PeerTooSlow,
    RemoteProtocolError,
)
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.limit import Limit
from imageserver.srpc.outgoing import Outgoing
from imageserver.srpc.protocol import Data, Receiver, Want

__all__ = ["Channel", "Deadlines"]

T = TypeVar("T")

_READ_HIGH_WATER = 256 << 10
_MUCH_BYTES = 256 << 10
_WRITE_AT_ONCE = 64 << 10
_TAKES_PER_TURN = 32


@implementer(IHandshakeListener, IPushProducer)
class Channel(Protocol):
    """See the module.

    Attributes:
        receiver: what has arrived and was not asked for yet.
        deadlines: how long the peer may take.
        clock: to measure them with.
        sent_bytes: what was sent so far, before it was encrypted.
        received_bytes: what has arrived so far.
    """

    transport: Any

    def __init__(self, clock: IReactorTime, deadlines: Deadlines) -> None:
        self.receiver = Receiver()
        self.deadlines = deadlines
        self.clock = clock
        self._want: Want[Any] | None = None
        self._wanted: Deferred[Any] | None = None
        self._handshake: Deferred[None] = Deferred()
        self._departures: list[Deferred[None]] = []
        self._reading_paused = False
        self._writable = True
        self._drained: Deferred[None] | None = None
        self._outgoing = Outgoing()
        self._lost: Failure | None = None
        self._closing: IDelayedCall | None = None
        self._aborted = False
        self._taking = False
        self._taken_this_turn = 0
        self.sent_bytes = self.received_bytes = 0

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost is not None

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, or about to go."""
        return self.lost or self._aborted or self._closing is not None

    @property
    def writable(self) -> bool:
        """Whether the peer keeps up with what is written."""
        return self._writable

    @property
    def is_tls(self) -> bool:
        """Whether what is written is encrypted on the way."""
        return isinstance(self.transport, TLSMemoryBIOProtocol)

    def connectionMade(self) -> None:
        """The transport is there."""
        self.claim_writing()

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self._handshake.callback(None)

    async def handshake(self) -> None:
        """Wait for the TLS handshake.

        Raises:
            PeerTooSlow: it takes too long.
            PeerClosed: the connection is lost, or the handshake has failed.
        """
        self._check_connected()
        limit_s = self.deadlines.handshake_s
        await self._within(limit_s, self._handshake, Limit.HANDSHAKE)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._closing is not None:
            return  # nobody will ask for them
        self.received_bytes += len(data)
        if self._is_wanted_as_it_is(data) and self._wanted is not None:
            self._wanted.callback(data)  # much may come so: it is not even copied
            return
        self.receiver.receive_data(data)
        self._try_to_satisfy()
        if self._wanted is None and len(self.receiver) > _READ_HIGH_WATER:
            self._pause_reading()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; whoever waits is told."""
        self._lost = reason
        self._outgoing.clear()
        self.receiver.receive_eof(_alert(reason))
        self._try_to_satisfy()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        closed = PeerClosed(reason.getErrorMessage())
        if self._drained is not None and not self._drained.called:
            self._drained.errback(closed)
        if not self._handshake.called:
            self._handshake.errback(closed)
            self._handshake.addErrback(lambda _: None)  # perhaps nobody waits for it
        departures, self._departures = self._departures, []
        for departure in departures:
            departure.callback(None)

    def departure(self) -> Deferred[None]:
        """Fires when the connection is gone; cancelled when nobody wants to know."""
        gone: Deferred[None] = Deferred(self._departures.remove)
        if self.lost:
            gone.callback(None)
        else:
            self._departures.append(gone)
        return gone

    async def take(self, want: Want[T], timeout_s: float | None = None) -> T:
        """The next thing that the peer sends.

        Args:
            want: what it has to be.
            timeout_s: how long to wait for it; ``None``: for ever.

        Raises:
            RemoteProtocolError: the peer broke a rule or a limit.
            PeerTooSlow: it did not come in time.
            PeerClosed: the connection ended before it was complete.
        """
        if self._taking:
            raise LocalProtocolError("two readers on one connection")
        self._taking = True
        try:
            return await self._take(want, timeout_s)
        finally:
            self._taking = False

    async def _take(self, want: Want[T], timeout_s: float | None) -> T:
        if self._taken_this_turn >= _TAKES_PER_TURN:
            # Much has arrived at once; other connections want to live, too.
            self._taken_this_turn = 0
            await deferLater(self.clock, 0)
        thing = self.receiver.take(want)
        if thing is not None:
            self._taken_this_turn += 1
            return thing
        self._taken_this_turn = 0
        self._want = want
        self._wanted = Deferred()
        self._resume_reading()
        try:
            result: T = await self._within(timeout_s, self._wanted, Limit.BODY)
        finally:
            self._want = self._wanted = None
        return result

    def expect_much(self) -> None:
        """Take what comes with few calls of the system from now on."""
        carrier = self.transport.transport if self.is_tls else self.transport
        carrier.bufferSize = _MUCH_BYTES

    def write(self, data: bytes) -> None:
        """Send ``data``, at the latest with the next :meth:`flush`."""
        if self.lost:
            return
        self.sent_bytes += len(data)
        self._outgoing.append(data)
        if len(self._outgoing) >= _WRITE_AT_ONCE:
            self._write_while_writable()

    def flush(self) -> None:
        """Hand everything written so far to the transport."""
        while self._outgoing and not self.lost:
            self.transport.write(self._outgoing.take_piece())

    async def drain(self) -> None:
        """Flush, and wait until the peer has taken enough of it to send more.

        Raises:
            PeerTooSlow: the peer reads next to nothing for too long.
            PeerClosed: the connection is lost.
        """
        if self._drained is not None:
            raise LocalProtocolError("two writers on one connection")
        self._write_while_writable()
        while not self._writable and self._lost is None:
            self._drained = Deferred()
            try:
                limit_s = self.deadlines.stall_s
                await self._within(limit_s, self._drained, Limit.READING)
            finally:
                self._drained = None
            self._write_while_writable()
        self._check_connected()

    def claim_writing(self) -> None:
        """Be the transport's producer, so that it tells when to stop writing."""
        self._writable = True
        if not self.lost:
            self.transport.registerProducer(self, True)

    def release_writing(self) -> None:
        """Let somebody else be the transport's producer."""
        if not self.lost:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: the peer does not keep up."""
        self._writable = False

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._writable = True
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def stopProducing(self) -> None:
        """See ``IPushProducer``; :meth:`connectionLost` follows."""
        self._writable = False

    def close(self, *, linger: bool = False) -> None:
        """Send what was written, then end the connection.

        Args:
            linger: end only our half and drop what still comes until the peer ends
                its half. Closing with unread bytes would reset the connection, and
                the peer might never see what was sent last.
        """
        self.receiver.rest()  # nobody asks for it any more, and it may be large
        if self.closed:
            return
        self._closing = self.clock.callLater(self.deadlines.stall_s, self.abort)
        self.flush()
        self.release_writing()
        self._resume_reading()  # to see the peer's end
        if linger and not self.is_tls:  # TLS waits for the peer's end in any case
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection at once."""
        if not self.lost and not self._aborted:
            self._aborted = True
            self.transport.abortConnection()

    def _check_connected(self) -> None:
        if self._lost is not None:
            raise PeerClosed(self._lost.getErrorMessage())

    def _write_while_writable(self) -> None:
        while self._outgoing and self._writable and not self.lost:
            self.transport.write(self._outgoing.take_piece())

    async def _within(
        self, timeout_s: float | None, deferred: Deferred[T], limit: Limit
    ) -> T:
        if timeout_s is None:
            return await deferred
        deferred.addTimeout(timeout_s, self.clock)
        try:
            return await deferred
        except TimeoutError:
            self.abort()
            raise PeerTooSlow(limit, f"nothing for {timeout_s:g} s") from None

    def _is_wanted_as_it_is(self, data: bytes) -> bool:
        want, wanted = self._want, self._wanted
        return (
            isinstance(want, Data)
            and wanted is not None
            and not wanted.called
            and not len(self.receiver)
            and 0 < len(data) <= want.limit
        )

    def _try_to_satisfy(self) -> None:
        if self._wanted is None or self._want is None or self._wanted.called:
            return
        try:
            thing = self.receiver.take(self._want)
        except RemoteProtocolError:
            self._wanted.errback()
        else:
            if thing is not None:
                self._wanted.callback(thing)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.lost:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.lost:
            self._reading_paused = False
            self.transport.resumeProducing()


def _alert(reason: Failure) -> str:
    """What the peer's TLS has said when it ended the connection; empty: nothing."""
    error: Any = reason.value
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])
    return ""
