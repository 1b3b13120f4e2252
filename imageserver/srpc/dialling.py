"""Finding a way to call a server: ``docs/protocol.md``, "Dialling".

::

    for each endpoint:  connect (or go through the proxy), CONNECT, TLS
                        404: the next endpoint, on a new connection
    not HTTP at all:    the same with TLS from the first byte on
    same machine:       move to a Unix socket
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from imageserver.errors import (
    ConnectionFailed,
    ImageServerError,
    RemoteProtocolError,
)
from imageserver.srpc.carrier import Carrier, connect_tcp, within
from imageserver.srpc.channel import Channel
from imageserver.srpc.client import Connection
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.local_move import move_to_unix
from imageserver.srpc.local_socket import COOKIE_BYTES, is_local
from imageserver.srpc.protocol import (
    JSON_SECURED,
    JSON_UNSECURED,
    SECURED,
    UNSECURED,
    Endpoint,
    Line,
    parse_status_line,
)
from imageserver.srpc.tls import ClientTLS
from imageserver.worker import Worker

CONNECT_TIMEOUT_S = 15.0

_LINE_LIMIT = 64 << 10
_SHOWN = 100  # bytes of what is no HTTP
_VERSION = b"HTTP/1."
_CONNECTED = "200 Connected to Go SRPC"
_NO_ENDPOINT = "no SRPC endpoint"
_NOT_FOUND = 404
_REFUSALS = {
    _NOT_FOUND: _NO_ENDPOINT,
    405: "missing certificate",
    401: "bad certificate",
}
_ANNOTATION = "*"
_NO_POWERS = b"?doNotUseMethodPowers=true"


_OVER_TLS = (SECURED, JSON_SECURED)
_PLAIN = (UNSECURED, JSON_UNSECURED)
"""In the order in which they are tried."""


@attrs.frozen
class Opened:
    """A connection that calls can be made on.

    Attributes:
        carrier: its uppermost layer.
        endpoint: where it has led to.
    """

    carrier: Carrier
    endpoint: Endpoint


class Proxy(Protocol):
    """Connects us with servers that we do not reach ourselves."""

    async def reach(self, dialler: Dialler, host: str, port: int) -> Carrier:
        """A connection to a server, by way of the proxy.

        Args:
            dialler: how to connect with the proxy.
            host: the server.
            port: its TCP port.

        Raises:
            ImageServerError: there is none.
        """


class _NotHTTP(RemoteProtocolError):
    """What has answered does not speak HTTP; perhaps it is TLS that it wants."""


class _NoEndpoint(ConnectionFailed):
    """The server is none for us, at this endpoint."""


class _Status:
    """Code and text of the answer to CONNECT. See ``Want``."""

    def take(self, buffer: bytearray) -> tuple[int, str] | None:
        """See ``Want``: what cannot become an answer is not waited for."""
        begin = bytes(buffer[: len(_VERSION)])
        if not _VERSION.startswith(begin):
            first = bytes(buffer[:_SHOWN]).partition(b"\n")[0]
            raise _NotHTTP(f"malformed HTTP response {first!r}")
        line = Line(_LINE_LIMIT).take(buffer)
        if line is None:
            return None
        try:
            return parse_status_line(line)
        except RemoteProtocolError as error:
            raise _NotHTTP(str(error)) from error


@attrs.frozen(eq=False)
class Dialler:
    """Connects to servers.

    With ``tls``, calls go over TLS or not at all.

    Attributes:
        reactor: for connections and their deadlines.
        decoding: where long messages are decoded.
        tls: how to secure connections; ``None`` for unsecured ones.
        deadlines: how long servers may take once they are connected.
        connect_timeout_s: how long each of these may take: connecting, CONNECT with
            the TLS handshake, and moving to a Unix socket.
        proxy: goes between; ``None``: nobody does.
        method_powers: whether to use what gives us power over methods.
        random: makes so many unpredictable bytes.
    """

    reactor: Any
    decoding: Worker
    tls: ClientTLS | None = None
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    proxy: Proxy | None = None
    method_powers: bool = True
    random: Callable[[int], bytes] = secrets.token_bytes

    async def dial(self, host: str, port: int) -> Connection:
        """Connect to a server.

        Args:
            host: name or address; what follows a ``*`` is somebody's annotation.
            port: TCP port.

        Raises:
            ConnectionFailed: there is no such server, or it refuses us.
        """
        try:
            opened = await self.open(host.partition(_ANNOTATION)[0], port)
            return await self._settle(opened)
        except ImageServerError as error:
            raise ConnectionFailed(f"{host}:{port}: {error}") from error

    async def open(self, host: str, port: int) -> Opened:
        """The same without moving to a Unix socket, layer by layer.

        Raises:
            CertificateError: our certificates are not valid.
            ImageServerError: there is no such server, or it refuses us.
        """
        if self.tls is None:
            return await self._try(host, port, _PLAIN)
        self.tls.check_validity(datetime.datetime.now(datetime.UTC))
        try:
            return await self._try(host, port, _OVER_TLS)
        except _NotHTTP:
            return await self._try(host, port, _OVER_TLS, whole=self.tls)

    async def _try(
        self,
        host: str,
        port: int,
        endpoints: Sequence[Endpoint],
        whole: ClientTLS | None = None,
    ) -> Opened:
        """The first of the endpoints that there is; with ``whole`` inside of TLS."""
        for endpoint in endpoints:
            if self.proxy is None:
                carrier = await self.reach(host, port)
            else:
                carrier = await self.proxy.reach(self, host, port)
            entering = self._enter(carrier, host, endpoint, whole)
            try:
                upper = await within(self.reactor, self.connect_timeout_s, entering)
            except _NoEndpoint:
                carrier.abort()
            except BaseException:
                carrier.abort()
                raise
            else:
                return Opened(upper, endpoint)
        raise ConnectionFailed(_NO_ENDPOINT)

    async def reach(self, host: str, port: int) -> Carrier:
        """A connection to a port, with nothing said on it yet.

        Raises:
            ConnectionFailed: there is no such port.
        """
        return await connect_tcp(
            self.reactor, host, port, self.deadlines, self.connect_timeout_s
        )

    async def _enter(
        self, carrier: Carrier, host: str, endpoint: Endpoint, whole: ClientTLS | None
    ) -> Carrier:
        if whole is not None:
            carrier = await carrier.secure(whole, host)
        query = b"" if self.method_powers else _NO_POWERS
        await _ask(carrier.channel, endpoint.path + query)
        if endpoint.over_tls and whole is None:
            assert self.tls is not None  # noqa: S101 - open has seen to it
            carrier = await carrier.secure(self.tls, host)
        return carrier

    def connection(self, opened: Opened) -> Connection:
        """Calls, in the way of the endpoint."""
        return Connection(opened.carrier.channel, self.decoding, opened.endpoint.coder)

    async def _settle(self, opened: Opened) -> Connection:
        """A connection, on a Unix socket if the server is on this machine."""
        connection = self.connection(opened)
        if self.proxy is None and is_local(opened.carrier.transport):
            cookie = self.random(COOKIE_BYTES)
            arrival_s = self.connect_timeout_s / 3  # then there is time for TCP
            moving = move_to_unix(self.reactor, connection, cookie, arrival_s)
            try:
                await within(self.reactor, self.connect_timeout_s, moving)
            except BaseException:
                opened.carrier.abort()
                raise
        return connection


async def _ask(channel: Channel, path: bytes) -> None:
    """Send CONNECT, and see that it is accepted.

    Raises:
        ConnectionFailed: it is not.
        RemoteProtocolError: the answer is none.
    """
    channel.write(b"CONNECT " + path + b" HTTP/1.0\n\n")
    await channel.drain()
    code, text = await channel.take(_Status())
    if code == _NOT_FOUND:
        raise _NoEndpoint(_NO_ENDPOINT)
    if text != _CONNECTED:
        raise ConnectionFailed(_REFUSALS.get(code, f"unexpected HTTP response: {text}"))
    blank = await channel.take(Line(_LINE_LIMIT))
    if blank.strip():
        raise RemoteProtocolError("headers behind the acceptance")
