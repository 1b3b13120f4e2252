"""What a client's connection runs on, while it changes on the way.

A connection may begin in the clear, go through a proxy, and continue inside of TLS, or
of TLS inside of TLS. Each of these layers is a :class:`Carrier`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, NoRouteError
from twisted.internet.interfaces import (
    IHandshakeListener,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from imageserver.errors import ConnectionFailed, PeerClosed
from imageserver.srpc.channel import Channel
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.socket_options import set_socket_options
from imageserver.srpc.tls import ClientTLS, wrap

T = TypeVar("T")

_BAD_CERTIFICATE = "bad certificate"


@implementer(IHandshakeListener)
class Carrier(Protocol):
    """One layer of a connection, and what sits on it.

    Attributes:
        channel: what is said on this layer.
    """

    transport: Any

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._inner: Protocol = channel

    def connectionMade(self) -> None:
        """Pass the news on."""
        self._inner.makeConnection(self.transport)

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self.channel.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass the news on."""
        self._inner.connectionLost(reason)

    def abort(self) -> None:
        """End the connection at once, if there is one."""
        if self.transport is not None:
            self.transport.abortConnection()

    async def secure(self, tls: ClientTLS, host: str) -> Carrier:
        """Go on inside of TLS; the layer for that.

        Args:
            tls: how to secure it.
            host: whose certificate the server has to have, if servers are verified.

        Raises:
            ConnectionFailed: the server does not accept our certificate.
            RemoteProtocolError: the handshake failed or took too long.
            CertificateError: the server is not the one we wanted.
        """
        self.channel.release_writing()
        upper = Carrier(Channel(self.channel.clock, self.channel.deadlines))
        protocol = self._inner = wrap(upper, tls, self.transport)
        try:
            await upper.channel.handshake()
        except PeerClosed as error:
            if _BAD_CERTIFICATE in str(error):
                raise ConnectionFailed(_BAD_CERTIFICATE) from error
            raise
        tls.check_host(protocol, host)
        return upper


async def connect_tcp(
    reactor: Any, host: str, port: int, deadlines: Deadlines, timeout_s: float
) -> Carrier:
    """Connect to a port.

    Args:
        reactor: for the connection and its deadlines.
        host: name or address.
        port: TCP port.
        deadlines: how long the peer may take.
        timeout_s: how long connecting may take, finding the address included.

    Raises:
        ConnectionFailed: there is no such port.
    """
    endpoint = HostnameEndpoint(reactor, host.encode(), port, timeout=timeout_s)
    carrier = await within(
        reactor, timeout_s, _connect(endpoint, Carrier(Channel(reactor, deadlines)))
    )
    set_socket_options(carrier.transport, deadlines.keep_alive_s)
    return carrier


async def connect_unix(
    reactor: Any, address: str, deadlines: Deadlines, timeout_s: float
) -> Carrier:
    """Connect to a Unix socket.

    Args:
        reactor: for the connection and its deadlines.
        address: path, or NUL and a name.
        deadlines: how long the peer may take.
        timeout_s: how long connecting may take.

    Raises:
        ConnectionFailed: there is no such socket, or it is not for us.
    """
    endpoint = UNIXClientEndpoint(reactor, address, timeout=timeout_s)
    carrier = Carrier(Channel(reactor, deadlines))
    return await within(reactor, timeout_s, _connect(endpoint, carrier))


async def _connect(endpoint: IStreamClientEndpoint, carrier: Carrier) -> Carrier:
    try:
        factory = Factory.forProtocol(lambda: carrier)
        factory.noisy = False
        await _cancellable(endpoint.connect(factory))
    except CancelledError:
        carrier.abort()
        raise
    except ConnectionRefusedError:
        raise ConnectionFailed("connection refused") from None
    except NoRouteError:
        raise ConnectionFailed("no route to host") from None
    except (ConnectError, OSError) as error:
        raise ConnectionFailed(str(error)) from error
    except Exception as error:
        raise ConnectionFailed(f"cannot connect: {error}") from error
    return carrier


def _cancellable(work: Deferred[T]) -> Deferred[T]:
    """The same, but cancelled it says so; of endpoints, each says something else."""
    is_given_up = False

    def give_up(_: Deferred[T]) -> None:
        nonlocal is_given_up
        is_given_up = True
        work.cancel()

    outer: Deferred[T] = Deferred(give_up)

    def pass_on(result: Any) -> None:
        if not is_given_up:
            outer.callback(result)

    work.addBoth(pass_on)
    return outer


async def within(
    clock: IReactorTime, seconds: float, work: Coroutine[Any, Any, T]
) -> T:
    """What ``work`` gives, if it takes no longer than that.

    Raises:
        ConnectionFailed: it does.
    """
    working: Deferred[T] = Deferred.fromCoroutine(work)
    working.addTimeout(seconds, clock)
    try:
        return await working
    except TimeoutError:
        raise ConnectionFailed(f"no answer within {seconds:g} s") from None
