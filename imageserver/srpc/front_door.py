"""One port, several protocols: the first bytes tell which.

::

    0x16            TLS for the whole connection; then, inside of it:
    CONNECT <path>  calls, on TLS if the path says so
    anything else   pages: replayed, with CRLF line ends, into the HTTP channel

Existing clients end their lines with a bare LF, which no HTTP server of Twisted takes,
and compare the answer to CONNECT byte by byte: it is made here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from imageserver.errors import CertificateError, RemoteProtocolError
from imageserver.srpc.access import ANONYMOUS, Identity
from imageserver.srpc.accounting import PLAIN, TLS, Way
from imageserver.srpc.channel import Channel
from imageserver.srpc.connection_limits import Place
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import (
    ACCEPTED,
    Endpoint,
    Head,
    Receiver,
    Request,
)
from imageserver.srpc.server import CallServer
from imageserver.srpc.socket_options import set_socket_options
from imageserver.srpc.tls import peer_identity, wrap

HANDSHAKE_RECORD = b"\x16"
ALERT = bytes.fromhex("15030100020246")
"""A fatal alert, "protocol version": clients that see it begin again, with TLS."""

_MAPPED = "::ffff:"  # stands in front of IPv4 addresses on a port for both


class FrontDoor(Protocol):
    """Looks at the first byte, and keeps the clock until the peer is known."""

    transport: Any

    def __init__(self, server: CallServer, site: IProtocolFactory) -> None:
        self.server = server
        self.site = site
        self.place: Place | None = None
        self.inner: Any = None
        self._deadline: IDelayedCall | None = None
        self._refused = False

    def connectionMade(self) -> None:
        """The clock starts."""
        self.server.accounting.accepted += 1
        self.server.accounting.open_raw += 1
        deadlines = self.server.deadlines
        self.expect(Limit.FIRST_BYTE, deadlines.first_byte_s)
        set_socket_options(self.transport, deadlines.keep_alive_s)

    def dataReceived(self, data: bytes) -> None:
        """Begin, or pass bytes on."""
        if self.inner is None:
            if self._refused:
                return
            self._begin(data[:1])
            if self.inner is None:
                return
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass the news on."""
        self.server.accounting.open_raw -= 1
        self.stop_clock()
        if self.place is not None:
            self.place.leave()
        if self.inner is not None:
            inner, self.inner = self.inner, None
            inner.connectionLost(reason)
        self._refused = True

    @property
    def peer(self) -> str:
        """Address and port of the peer."""
        address = self.transport.getPeer()
        return f"{address.host.removeprefix(_MAPPED)}:{address.port}"

    def expect(self, limit: Limit, seconds: float) -> None:
        """Something has to happen in time."""
        self.stop_clock()
        self._deadline = self.server.clock.callLater(seconds, self._expire, limit)

    def stop_clock(self) -> None:
        """It has happened."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def watch(self, transport: Any, was_ending: bool = False) -> None:
        """See to it that a connection goes when the HTTP channel has ended it.

        The channel would wait for ever for its peer to read, or to end TLS.

        Args:
            transport: that of the channel.
            was_ending: whether it was ended some time ago.
        """
        if was_ending:
            self._expire(Limit.READING)
            return
        self._deadline = self.server.clock.callLater(
            self.server.deadlines.stall_s,
            self.watch,
            transport,
            transport.disconnecting,
        )

    def evict(self) -> None:
        """Make room for somebody else."""
        self._expire(Limit.HALF_OPEN)

    def refuse(self, answer: bytes) -> None:
        """Say no; what still comes is not looked at. The clock runs on."""
        self._refused = True
        self.inner = None
        self.server.accounting.rejected += 1
        self.transport.write(answer)
        # Closing with unread bytes would reset the connection, and the answer be lost.
        self.transport.loseWriteConnection()

    def _begin(self, first: bytes) -> None:
        server = self.server
        if first == HANDSHAKE_RECORD and server.tls is not None:
            self.expect(Limit.HANDSHAKE, server.deadlines.handshake_s)
            self.inner = wrap(Entrance(self), server.tls.optional, self.transport)
            return
        self.expect(Limit.HEADER_TIME, server.deadlines.head_s)
        if server.requires_tls:
            self.refuse(ALERT)
            return
        self.inner = Entrance(self)
        self.inner.makeConnection(self.transport)

    def _expire(self, limit: Limit) -> None:
        self.server.exceeded(limit, self.peer)
        self.transport.abortConnection()


@implementer(IHandshakeListener)
class Entrance(Protocol):
    """Reads the head of the first request, then makes way for what it asks for.

    Its transport is that of the door, or TLS on it.
    """

    transport: Any

    def __init__(self, door: FrontDoor) -> None:
        self._door = door
        self._server = door.server
        self._receiver = Receiver()

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self._door.expect(Limit.HEADER_TIME, self._server.deadlines.head_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended before it began."""
        if self._is_tls:
            self._server.sparing_log.info(
                "no request",
                "{peer}: no request over TLS: {reason}",
                peer=self._door.peer,
                reason=reason.getErrorMessage(),
            )

    def dataReceived(self, data: bytes) -> None:
        """Collect the head."""
        self._receiver.receive_data(data)
        try:
            request = self._receiver.take(Head(self._server.lengths.head))
        except RemoteProtocolError as error:
            self._server.note(error, self._door.peer)
            self._refuse("400 Bad Request")
            return
        if request is not None:
            self._open(request)

    @property
    def _is_tls(self) -> bool:
        return self.transport is not self._door.transport

    def _open(self, request: Request) -> None:
        endpoint = request.endpoint
        if endpoint is None:
            self._replay(request)
            return
        refusal, identity = self._decide(request, endpoint)
        if refusal:
            self._refuse(refusal)
            return
        server, door = self._server, self._door
        door.stop_clock()
        self.transport.write(ACCEPTED)
        channel = Channel(server.clock, server.deadlines)
        if endpoint.over_tls and not self._is_tls:
            assert server.tls is not None  # noqa: S101 - _decide has seen to it
            self._make_way(wrap(channel, server.tls, self.transport))
        else:
            channel.makeConnection(self.transport)
            self._make_way(channel)
        server.serve(
            channel,
            request.method_powers,
            door.peer,
            way=Way(TLS if channel.is_tls else PLAIN, endpoint.coder),
            identity=identity,
            place=door.place,
        )
        self._pass_rest()

    def _decide(
        self, request: Request, endpoint: Endpoint
    ) -> tuple[str, Identity | None]:
        """Status of a refusal, empty if there is none; and who the peer is.

        Who it is may not be known yet: ``None``.
        """
        over_tls = endpoint.over_tls
        identity = None if over_tls else ANONYMOUS
        refusal = ""
        if over_tls and self._server.tls is None:
            refusal = "404 Not Found"
        elif request.method != b"CONNECT":
            refusal = "400 Bad Request"
        elif not over_tls and not self._server.offers_unsecured:
            refusal = "405 Method Not Allowed"
        elif over_tls and self._is_tls and (identity := self._identify()) is None:
            refusal = "401 Unauthorized"
        elif not request.is_query_well_formed:
            refusal = "400 Bad Request"
        return refusal, identity

    def _identify(self) -> Identity | None:
        """Who the peer of a connection that began with TLS is."""
        try:
            return peer_identity(self.transport)
        except CertificateError as error:
            self._server.note(error, self._door.peer)
            return None

    def _refuse(self, status: str) -> None:
        head = f"HTTP/1.0 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        if self._is_tls:
            self._server.accounting.rejected += 1
            self.transport.write(head.encode())
            self.transport.wrappedProtocol = Protocol()
            self.transport.loseConnection()
        else:
            self._door.refuse(head.encode())

    def _replay(self, request: Request) -> None:
        """Let the HTTP channel see the request as if it had come to it."""
        self._door.stop_clock()
        self._server.accounting.pages += 1
        inner: Any = self._door.site.buildProtocol(self.transport.getPeer())
        self._make_way(inner)
        inner.makeConnection(self.transport)
        self._door.watch(self.transport)
        head = request.head
        if request.method == b"CONNECT":  # to a page: whoever asks so wants to see it
            head = b"GET" + head[len(b"CONNECT") :]
        inner.dataReceived(head)
        self._pass_rest()

    def _make_way(self, inner: Any) -> None:
        """Bytes go to ``inner`` from now on."""
        if self._is_tls:
            self.transport.wrappedProtocol = inner
        else:
            self._door.inner = inner
        self._next: Callable[[bytes], None] = inner.dataReceived

    def _pass_rest(self) -> None:
        rest = self._receiver.rest()
        if rest:
            self._next(rest)


class FrontDoorFactory(Factory):
    """Makes a :class:`FrontDoor` for each connection."""

    noisy = False

    def __init__(self, server: CallServer, site: IProtocolFactory) -> None:
        """Serve calls with ``server``, pages with ``site``."""
        self._server = server
        self._site = site

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """See ``IProtocolFactory``; ``None`` if there are too many connections."""
        door = FrontDoor(self._server, self._site)
        host = getattr(addr, "host", "")
        door.place = self._server.gate.admit(host, door.evict)
        return None if door.place is None else door

    def doStart(self) -> None:
        """Start the clock of the site, too."""
        super().doStart()
        self._site.doStart()

    def doStop(self) -> None:
        """Stop it again."""
        super().doStop()
        self._site.doStop()
