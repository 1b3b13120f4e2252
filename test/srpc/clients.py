"""A port on this machine, real or scripted, and our client."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from srpc.peers import make_server
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver.errors import ConnectionFailed, RequestError
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.methods import Method
from imageserver.srpc.tls import ClientTLS
from imageserver.testing import InlineWorker

REQUEST = CheckImageRequest("image")
DEADLINES = Deadlines(head_s=5, handshake_s=5, body_s=5, stall_s=5)


async def until(condition: Callable[[], Any]) -> None:
    """Let the reactor run until something is so."""
    for _ in range(5000):
        if condition():
            return
        await deferLater(reactor, 0.001)
    raise AssertionError("it never happened")


class Scripted(Protocol):
    """Says what it was told to, as soon as it is spoken to."""

    answer: bytes | None = b""
    open: set[Scripted]

    def connectionMade(self) -> None:
        self.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self.answer is not None:
            self.transport.write(self.answer)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open.discard(self)


class ClientCase(TestCase):
    """A port on this machine, and connections to it."""

    timeout = 20

    def setUp(self) -> None:
        self.connections: list[Connection] = []
        self.order: list[str] = []
        self.gates: dict[str, Deferred[None]] = {}
        self.peers: set[Scripted] = set()
        self.server: Any = None
        self.port: Any = None

    async def tearDown(self) -> None:
        for connection in self.connections:
            connection.close()
        if self.port is not None:
            await self.port.stopListening()
        if self.server is not None:
            await self.server.stop()
        for peer in list(self.peers):
            peer.transport.abortConnection()
        channels = [connection._channel for connection in self.connections]
        await until(lambda: all(c.lost for c in channels) and not self.peers)

    def serve(self, *more: Method, number: int = 0, **options: Any) -> None:
        """A server of ours, with ``more`` methods; ``number`` is that of its port."""
        methods = [
            *more,
            Method("Test", "Check", request=CheckImageRequest, reply=self.check),
            Method("Test", "Stream", stream=self.stream),
            Method("Test", "Open", unauthenticated=True, stream=self.stream),
        ]
        self.server = make_server(reactor, methods, deadlines=DEADLINES, **options)
        factory = FrontDoorFactory(self.server, Site(Resource()))
        self.port = reactor.listenTCP(number, factory, interface="127.0.0.1")

    def script(self, answer: bytes | None) -> None:
        """A server that says ``answer`` and goes; with ``None`` it says nothing."""
        kind = type("It", (Scripted,), {"answer": answer, "open": self.peers})
        self.port = reactor.listenTCP(
            0, Factory.forProtocol(kind), interface="127.0.0.1"
        )

    async def connect(
        self,
        tls: ClientTLS | None = None,
        deadlines: Deadlines = DEADLINES,
        **options: Any,
    ) -> Connection:
        """A connection to whatever listens."""
        number = self.port.getHost().port
        dialler = Dialler(reactor, InlineWorker(), tls, deadlines, **options)
        connection = await dialler.dial("127.0.0.1", number)
        self.connections.append(connection)
        return connection

    async def assertFails(
        self, text: str, tls: ClientTLS | None = None, **options: Any
    ) -> None:
        """No connection, for that reason."""
        with self.assertRaises(ConnectionFailed) as caught:
            await self.connect(tls, **options)
        where = f"127.0.0.1:{self.port.getHost().port}: "
        self.assertEqual(str(caught.exception), where + text)

    async def assertCalls(self, connection: Connection) -> None:
        """Pings, calls and streams follow each other on the connection."""
        for _ in range(2):
            await connection.ping()
            answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
            self.assertEqual(answer, CheckImageResponse(True))
            async with connection.begin("Test.Stream") as call:
                lines = []
                while line := await call.receive_line(100):
                    lines.append(line)
            self.assertEqual(lines, [b"a line"] * 100)
        self.assertFalse(connection.closed)

    async def check(self, _: Any, request: CheckImageRequest) -> CheckImageResponse:
        name = request.image_name
        self.order.append(f"begin {name}")
        if name in self.gates:
            await self.gates[name]
        self.order.append(f"end {name}")
        if name.startswith("no"):
            raise RequestError(f"{name} image")
        return CheckImageResponse(True)

    async def stream(self, call: Any) -> None:
        for _ in range(100):
            call.write(b"a line\n")
        call.write(b"\n")
