"""Calling a server.

One call at a time per connection; a call that did not run to its end closes the
connection, since nobody could tell where the next one begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, NoRouteError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from imageserver.errors import (
    CallError,
    CertificateError,
    ConnectionFailed,
    MethodDenied,
    PeerClosed,
    ProtocolError,
    RemoteProtocolError,
)
from imageserver.gob import Limits
from imageserver.srpc.access import ANONYMOUS, Caller
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.protocol import (
    DENIED,
    GOB,
    JSON,
    SECURED,
    UNSECURED,
    Line,
    parse_status_line,
)
from imageserver.srpc.socket_options import set_socket_options
from imageserver.srpc.tls import ClientTLS, wrap
from imageserver.worker import Worker

T = TypeVar("T")

_LINE_LIMIT = 64 << 10
_CONNECTED = "200 Connected to Go SRPC"
_RESPONSES = Limits(message_bytes=1 << 30, depth=64)
_REFUSALS = {
    404: "no SRPC endpoint",
    405: "missing certificate",
    401: "bad certificate",
}


class _Dialler(Protocol):
    """Lets what sits on the connection change while it is open."""

    transport: Any

    def __init__(self, channel: Channel) -> None:
        self.inner: Protocol = channel
        self._keep_alive_s = channel.deadlines.keep_alive_s

    def connectionMade(self) -> None:
        set_socket_options(self.transport, self._keep_alive_s)
        self.inner.makeConnection(self.transport)

    def abort(self) -> None:
        """End the connection at once, if there is one."""
        if self.transport is not None:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.inner.connectionLost(reason)


class Connection:
    """A connection to a server, ready for calls."""

    def __init__(self, channel: Channel, decoding: Worker, coder: str = GOB) -> None:
        self._channel = channel
        self._decoding = decoding
        self._coder = coder
        self._lock = DeferredLock()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, or about to go."""
        return self._channel.closed

    async def ping(self) -> None:
        """Make sure that the server answers.

        Raises:
            ProtocolError: it does not.
        """
        async with self._exclusively():
            # A lone line end might be taken for the one behind a JSON value.
            self._channel.write(b" \n" if self._coder == JSON else b"\n")
            await self._accepted()

    async def call(
        self, method: str, request: Any, response: type[T], patience_s: float = 0.0
    ) -> T:
        """Call a request-reply method.

        Args:
            method: ``Service.Method``.
            request: the request.
            response: the class of the response.
            patience_s: how much longer than usual the server may take.

        Raises:
            CallError: the server refused the call, or it failed.
            ProtocolError: the connection broke.
            DecodeError: the response is not one.
        """
        async with self.begin(method) as call:
            call.send(request)
            await self._accepted(patience_s)
            return await call.receive(response)

    @asynccontextmanager
    async def begin(self, method: str) -> AsyncIterator[Call]:
        """Begin a call, and end it with the block.

        A block that is left by anything but an error line of the server closes the
        connection.

        Raises:
            CallError: the server refused the call.
            ProtocolError: the connection broke.
        """
        async with self._exclusively():
            self._channel.write(method.encode() + b"\n")
            await self._accepted()
            caller = Caller(ANONYMOUS, False)
            channel, coder = self._channel, self._coder
            yield Call(channel, caller, _RESPONSES, self._decoding, coder)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        await self._lock.acquire()
        try:
            if self.closed:
                raise PeerClosed("the connection is closed")
            if self._channel.receiver.skips_newline:
                await self._get_in_step()
            yield
        except CallError:
            raise
        except BaseException:
            self._channel.abort()
            raise
        finally:
            if len(self._channel.receiver):  # the call left something of its response
                self._channel.abort()
            self._lock.release()

    async def _get_in_step(self) -> None:
        """Find out whether a line end behind the last JSON value is on its way.

        Some servers send one, some do not. If it is, it comes before the answer to a
        line that no server accepts.

        Raises:
            RemoteProtocolError: the server says something else.
        """
        channel = self._channel
        channel.receiver.skips_newline = False
        channel.write(b"?\n")
        await channel.drain()
        want, limit_s = Line(_LINE_LIMIT), channel.deadlines.body_s
        line = await channel.take(want, limit_s) or await channel.take(want, limit_s)
        if not line.endswith(b": ?"):
            raise RemoteProtocolError("the server is out of step")

    async def _accepted(self, patience_s: float = 0.0) -> None:
        """Wait for the line that says "go on".

        Raises:
            CallError: the line says something else.
        """
        with suppress(PeerClosed):  # what it said before it went is worth knowing
            await self._channel.drain()
        line = await self._channel.take(
            Line(_LINE_LIMIT), self._channel.deadlines.body_s + patience_s
        )
        if line:
            text = line.decode("utf-8", "replace")
            if text == DENIED:
                raise MethodDenied(text)
            raise CallError(text)


async def connect(
    reactor: IReactorTime,
    host: str,
    port: int,
    tls: ClientTLS | None,
    decoding: Worker,
    deadlines: Deadlines | None = None,
) -> Connection:
    """Connect to a server.

    Args:
        reactor: for the connection and its deadlines.
        host: name or address.
        port: TCP port.
        tls: how to secure the connection; ``None`` for an unsecured one.
        decoding: where long messages are decoded.
        deadlines: how long the server may take.

    Raises:
        ConnectionFailed: there is no such server, or it refuses the connection.
    """
    channel = Channel(reactor, deadlines or Deadlines())
    dialler = _Dialler(channel)
    try:
        await _dial(reactor, host, port, dialler)
        await _shake_hands(channel, (SECURED if tls else UNSECURED).path)
        if tls is not None:
            channel = await _secure(channel, dialler, tls, host)
    except (ConnectionFailed, ProtocolError, CertificateError) as error:
        dialler.abort()
        raise ConnectionFailed(f"{host}:{port}: {error}") from error
    except BaseException:
        dialler.abort()
        raise
    return Connection(channel, decoding)


async def _dial(reactor: IReactorTime, host: str, port: int, dialler: _Dialler) -> None:
    endpoint = HostnameEndpoint(reactor, host.encode(), port, timeout=15)
    try:
        await endpoint.connect(Factory.forProtocol(lambda: dialler))
    except ConnectionRefusedError:
        raise ConnectionFailed("connection refused") from None
    except NoRouteError:
        raise ConnectionFailed("no route to host") from None
    except (ConnectError, OSError) as error:
        raise ConnectionFailed(str(error)) from error
    except Exception as error:
        raise ConnectionFailed(f"cannot connect: {error}") from error


async def _shake_hands(channel: Channel, path: bytes) -> None:
    channel.write(b"CONNECT " + path + b" HTTP/1.0\n\n")
    await channel.drain()
    status = await channel.take(Line(_LINE_LIMIT), channel.deadlines.head_s)
    code, text = parse_status_line(status)
    if text != _CONNECTED:
        raise ConnectionFailed(_REFUSALS.get(code, f"unexpected HTTP response: {text}"))
    blank = await channel.take(Line(_LINE_LIMIT), channel.deadlines.head_s)
    if blank.strip():
        raise RemoteProtocolError("headers behind the acceptance")


async def _secure(
    channel: Channel, dialler: _Dialler, tls: ClientTLS, host: str
) -> Channel:
    """Go on inside TLS, on a channel of its own."""
    transport = dialler.transport
    channel.release_writing()
    secured = Channel(channel.clock, channel.deadlines)
    protocol = dialler.inner = wrap(secured, tls, transport)
    await secured.handshake()
    tls.check_host(protocol, host)
    return secured
