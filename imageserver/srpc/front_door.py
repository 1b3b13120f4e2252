"""One port, several protocols: the first bytes tell which.

``CONNECT`` to an SRPC endpoint is answered here, in the exact form that existing
clients compare; they end their lines with a bare LF, which no HTTP server of Twisted
takes. Any other request is replayed, with CRLF line ends, into the HTTP channel.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from imageserver.errors import RemoteProtocolError
from imageserver.srpc.channel import Channel
from imageserver.srpc.protocol import (
    ACCEPTED,
    JSON_TLS_PATH,
    TLS_PATH,
    UNSECURED_PATH,
    Head,
    Receiver,
    Request,
)
from imageserver.srpc.server import CallServer
from imageserver.srpc.socket_options import set_socket_options
from imageserver.srpc.tls import wrap

_MAPPED = "::ffff:"  # stands in front of IPv4 addresses on a port for both
_HEAD_LIMIT = 32 << 10


class FrontDoor(Protocol):
    """Reads the head of the first request, then hands the connection on."""

    transport: Any
    _log = Logger()

    def __init__(self, server: CallServer, site: IProtocolFactory) -> None:
        self._server = server
        self._site = site
        self._receiver = Receiver()
        self._inner: Any = None
        self._deadline: IDelayedCall | None = None
        self._refused = False

    def connectionMade(self) -> None:
        """The clock starts."""
        set_socket_options(self.transport, self._server.deadlines.keep_alive_s)
        self._deadline = self._server.clock.callLater(
            self._server.deadlines.head_s,
            self.transport.abortConnection,
        )

    def dataReceived(self, data: bytes) -> None:
        """Collect the head, or pass bytes on."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._refused:
            return
        self._receiver.receive_data(data)
        try:
            request = self._receiver.take(Head(_HEAD_LIMIT))
        except RemoteProtocolError as error:
            self._log.info("{peer}: {error}", peer=self._peer, error=error)
            self._refuse("400 Bad Request")
            return
        if request is not None:
            self._open(request)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Pass the news on."""
        self._stop_clock()
        if self._inner is not None:
            self._inner.connectionLost(reason)

    @property
    def _peer(self) -> str:
        address = self.transport.getPeer()
        return f"{address.host.removeprefix(_MAPPED)}:{address.port}"

    def _stop_clock(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _open(self, request: Request) -> None:
        endpoint = request.endpoint
        if endpoint is None:
            self._replay(request)
            return
        refusal = self._refusal(request, endpoint)
        if refusal:
            self._refuse(refusal)
            return
        self._stop_clock()
        self.transport.write(ACCEPTED)
        channel = Channel(self._server.clock, self._server.deadlines)
        inner: Protocol = channel
        if endpoint == TLS_PATH:
            assert self._server.tls is not None  # noqa: S101 - _refusal has seen to it
            inner = wrap(channel, self._server.tls, self.transport)
        else:
            channel.makeConnection(self.transport)
        self._inner = inner
        self._server.serve(channel, request.method_powers, self._peer)
        self._pass_rest()

    def _refusal(self, request: Request, endpoint: bytes) -> str:
        """Status of the answer if the endpoint is not to be had; empty if it is."""
        over_tls = endpoint in (TLS_PATH, JSON_TLS_PATH)
        if over_tls and self._server.tls is None:
            return "404 Not Found"
        if request.method != b"CONNECT":
            return "400 Bad Request"
        if (
            endpoint not in (TLS_PATH, JSON_TLS_PATH)
            and not self._server.offers_unsecured
        ):
            return "405 Method Not Allowed"
        if not request.is_query_well_formed:
            return "400 Bad Request"
        if endpoint not in (TLS_PATH, UNSECURED_PATH):
            return "404 Not Found"  # the JSON coder is not offered
        return ""

    def _refuse(self, status: str) -> None:
        self._refused = True
        head = f"HTTP/1.0 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.loseConnection()

    def _replay(self, request: Request) -> None:
        """Let the HTTP channel see the request as if it had come to it."""
        self._stop_clock()
        inner: Any = self._site.buildProtocol(self.transport.getPeer())
        self._inner = inner
        inner.makeConnection(self.transport)
        head = request.head
        if request.method == b"CONNECT":  # to a page: whoever asks so wants to see it
            head = b"GET" + head[len(b"CONNECT") :]
        inner.dataReceived(head)
        self._pass_rest()

    def _pass_rest(self) -> None:
        rest = self._receiver.rest()
        if rest:
            self.dataReceived(rest)


class FrontDoorFactory(Factory):
    """Makes a :class:`FrontDoor` for each connection."""

    noisy = False

    def __init__(self, server: CallServer, site: IProtocolFactory) -> None:
        """Serve calls with ``server``, pages with ``site``."""
        self._server = server
        self._site = site

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """See ``IProtocolFactory``."""
        return FrontDoor(self._server, self._site)

    def doStart(self) -> None:
        """Start the clock of the site, too."""
        super().doStart()
        self._site.doStart()

    def doStop(self) -> None:
        """Stop it again."""
        super().doStop()
        self._site.doStop()
