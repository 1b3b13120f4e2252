"""Two ends of a connection in memory, and what the tests put there."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import functools
import select
import socket
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from imageserver.srpc.access import Policy
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.methods import Method, MethodTable
from imageserver.srpc.server import CallServer
from imageserver.srpc.tls import KeyPair, ServerTLS, wrap
from imageserver.srpc.trust import Trust
from imageserver.testing import InlineWorker
from imageserver.tool.authority import Authority, Pair, Validity

BUFFER_BYTES = 64 << 10
YEAR = Validity.of_days(365)


@implementer(ITransport, IConsumer)
class MemoryTransport:
    """One end; it behaves as Twisted's TCP transport does.

    There is a socket for whoever writes past the transport.
    """

    def __init__(self, clock: Clock, protocol: Any) -> None:
        self.clock = clock
        self.protocol = protocol
        self.peer: MemoryTransport
        self.outgoing = bytearray()
        self.writes: list[bytes] = []
        self.producer: Any = None
        self.streaming = True
        self.writing = False
        self.sockets: tuple[socket.socket, socket.socket] | None = None
        self.options: dict[str, bool] = {}
        self.producer_paused = False
        self.paused = False
        self.disconnecting = self.half_closed = self.aborting = self.lost = False

    def write(self, data: bytes) -> None:
        if self.lost or self.half_closed:
            return
        self.writes.append(data)
        self.outgoing += data
        if (
            self.producer is not None
            and self.streaming
            and len(self.outgoing) > BUFFER_BYTES
        ):
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("two producers")
        if self.lost:
            producer.stopProducing()
            return
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def startWriting(self) -> None:
        self.writing = True

    def fileno(self) -> int:
        if self.sockets is None:
            self.sockets = socket.socketpair()
            for end in self.sockets:
                end.setblocking(False)
        return self.sockets[0].fileno()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def loseConnection(self) -> None:
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if not self.aborting:
            self.aborting = True
            self.clock.callLater(0, self.lose, ConnectionAborted())

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1234)

    getHost = getPeer

    def setTcpNoDelay(self, on: bool) -> None:
        self.options["no delay"] = on

    def setTcpKeepAlive(self, on: bool) -> None:
        self.options["keep alive"] = on

    def lose(self, reason: Exception) -> None:
        """The connection is gone, at this end."""
        if self.lost:
            return
        self.lost = True
        self.outgoing.clear()
        for end in self.sockets or ():
            end.close()
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        self.protocol.connectionLost(Failure(reason))

    def step(self) -> bool:
        """Do one thing that the network would; whether there was one."""
        if self.lost or self.aborting:
            return False
        if self.peer.lost and not self.paused and not self.peer.outgoing:
            self.lose(ConnectionDone() if not self.peer.aborting else ConnectionLost())
            return True
        if self._pass_on() or self._ask_producer():
            return True
        if self.outgoing and not (self.peer.paused or self.peer.lost):
            data = bytes(self.outgoing[:BUFFER_BYTES])
            del self.outgoing[:BUFFER_BYTES]
            self.peer.protocol.dataReceived(data)
            if not self.outgoing and self.producer_paused and self.producer:
                self.producer_paused = False
                self.producer.resumeProducing()
            return True
        return self._end()

    def _pass_on(self) -> bool:
        """What was written to the socket comes before what is in the buffer."""
        if self.sockets is None or self.peer.paused or self.peer.lost:
            return False
        try:
            data = self.sockets[1].recv(BUFFER_BYTES)
        except BlockingIOError:
            return False
        self.peer.protocol.dataReceived(data)
        return True

    def _ask_producer(self) -> bool:
        """One that pulls is asked when it can write and nothing is in front of it."""
        if self.producer is None or self.streaming or not self.writing or self.outgoing:
            return False
        if not select.select([], [self.fileno()], [], 0)[1]:
            return False
        self.writing = False
        self.producer.resumeProducing()
        return True

    def _end(self) -> bool:
        if self.outgoing:
            return False
        if self.disconnecting:
            self.lose(ConnectionDone())
            return True
        if self.half_closed and not (self.peer.paused or self.peer.lost):
            self.peer.lose(ConnectionDone())
            return True
        return False


class Link:
    """A connection between two protocols."""

    def __init__(self, clock: Clock, left: Any, right: Any) -> None:
        self.clock = clock
        self.left = MemoryTransport(clock, left)
        self.right = MemoryTransport(clock, right)
        self.left.peer, self.right.peer = self.right, self.left
        left.makeConnection(self.left)
        right.makeConnection(self.right)

    def pump(self) -> None:
        """Let everything happen that can."""
        for _ in range(100_000):
            self.clock.advance(0)
            if not self.left.step() and not self.right.step():
                self.clock.advance(0)
                if not self.left.step() and not self.right.step():
                    return
        raise AssertionError("it never ends")


class Recorder(Protocol):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure) -> None:
        self.ended = reason

    def take(self) -> bytes:
        """What came since the last time."""
        data, self.data = self.data, b""
        return data


class Outer(Protocol):
    """Puts TLS below a protocol."""

    def __init__(self, inner: Any, creator: Any) -> None:
        self.app = inner
        self.creator = creator

    def connectionMade(self) -> None:
        self.tls = wrap(self.app, self.creator, self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.tls.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        self.tls.connectionLost(reason)


class GatedWorker:
    """A worker that does nothing before it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Any]] = []
        self.runs = 0

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.runs += 1
        deferred: Deferred[Any] = Deferred()
        self.waiting.append((deferred, functools.partial(function, *args, **kwargs)))
        return deferred

    def release(self) -> None:
        """Do what is waiting."""
        waiting, self.waiting = self.waiting, []
        for deferred, function in waiting:
            try:
                result = function()
            except Exception:
                deferred.errback()
            else:
                deferred.callback(result)


def make_server(
    clock: Any,
    methods: list[Method],
    *,
    policy: Policy | None = None,
    tls: ServerTLS | None = None,
    decoding: Any = None,
    deadlines: Deadlines | None = None,
    started: bool = True,
    **options: Any,
) -> CallServer:
    """A server; insecure unless told otherwise."""
    server = CallServer(
        clock,
        MethodTable(methods),
        Policy(insecure=tls is None) if policy is None else policy,
        tls,
        decoding or InlineWorker(),
        deadlines or Deadlines(),
        **options,
    )
    if started:
        server.start()
    return server


def key_pair(pair: Pair) -> KeyPair:
    """A pair as TLS wants it."""
    return KeyPair(
        tuple(x509.load_pem_x509_certificates(pair.certificate)),
        cast(Any, load_pem_private_key(pair.key, None)),
    )


@functools.cache
def authority(name: str = "root") -> Authority:
    """A root; always the same of that name."""
    return Authority.create(name, YEAR)


@functools.cache
def server_pair() -> KeyPair:
    """The server's certificate."""
    return key_pair(authority().issue("server", YEAR, hosts=["localhost", "127.0.0.1"]))


@functools.cache
def user_pair(name: str = "alice", *methods: str) -> KeyPair:
    """A user's certificate."""
    return key_pair(authority().issue(name, YEAR, methods=methods, groups=["ops"]))


def server_tls() -> ServerTLS:
    """The server's side of TLS, trusting the common root."""
    return ServerTLS(server_pair(), Trust([authority().certificate]))
