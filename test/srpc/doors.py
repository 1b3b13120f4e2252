"""A front door in memory, and clients that come to it."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from collections import Counter
from typing import Any

from srpc.peers import Link, Outer, Recorder, make_server, server_tls
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.call import Call
from imageserver.srpc.connection_limits import ConnectionLimits
from imageserver.srpc.deadlines import Deadlines, Lengths
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.limit import Limit
from imageserver.srpc.methods import Method
from imageserver.srpc.tls import ClientTLS

DEADLINES = Deadlines(
    first_byte_s=1, head_s=2, handshake_s=4, body_s=8, stall_s=16, keep_alive_s=300
)
LENGTHS = Lengths(head=500, method_line=50)
UNSECURED = b"CONNECT /_goSRPC_/ HTTP/1.0\n\n"
TLS = b"CONNECT /_go_TLS_SRPC_/ HTTP/1.0\n\n"


class Page(Resource):
    """Tells what it was asked; ``/wait`` never answers."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        if request.uri == b"/wait":
            return NOT_DONE_YET
        secure = b"secure" if request.isSecure() else b"plain"
        return b"%s %s %s" % (request.method, secure, request.content.read())


class Client(Recorder):
    """What a client sees; with ``tls`` inside of TLS, as a rule from the first byte."""

    def __init__(self, tls: ClientTLS | None = None, *, in_band: bool = False) -> None:
        super().__init__()
        self.link: Link
        self._tls = tls
        self._greeting = Recorder() if in_band else None

    @property
    def outer(self) -> Any:
        """The protocol on the connection itself."""
        if self._tls is None:
            return self
        return self._greeting or Outer(self, self._tls)

    def begin_tls(self) -> None:
        """CONNECT was accepted: the handshake begins."""
        outer = Outer(self, self._tls)
        self.link.right.protocol = outer
        outer.makeConnection(self.link.right)

    def send(self, data: bytes) -> bytes:
        """Send something; what comes back."""
        transport: Any = self._greeting.transport if self._greeting else self.transport
        transport.write(data)
        self.link.pump()
        return self.take()

    def greet(self) -> bytes:
        """Send CONNECT for TLS in the middle of the connection."""
        assert self._greeting is not None
        self.send(TLS)
        greeting, self._greeting = self._greeting, None
        return greeting.take()

    def vanish(self) -> None:
        """The connection is lost without a word."""
        self.link.right.abortConnection()
        self.link.pump()

    @property
    def is_gone(self) -> bool:
        """Whether the server has ended the connection."""
        return self.link.left.lost


class DoorCase(SynchronousTestCase):
    """A server with everything; every connection is to be forgotten at the end."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clients: list[Client] = []
        self.callers: list[str] = []
        self.use()

    def use(
        self, *, insecure: bool = False, open_calls: bool = True, **options
    ) -> None:
        """The next connections go to such a server."""
        methods = [
            Method("Test", "Open", unauthenticated=open_calls, stream=self.stream),
            Method("Test", "Public", public=True, stream=self.stream),
            Method("Test", "Check", request=CheckImageRequest, reply=self.reply),
        ]
        options.setdefault("tls", None if insecure else server_tls())
        options.setdefault("deadlines", DEADLINES)
        options.setdefault("lengths", LENGTHS)
        self.server = make_server(self.clock, methods, **options)
        self.site = Site(Page(), timeout=60, reactor=self.clock)
        self.factory = FrontDoorFactory(self.server, self.site)
        self.lines: list[str] = []
        self.patch(
            self.server.sparing_log._log,
            "observer",
            lambda event: self.lines.append(formatEvent(event)),
        )

    def limit(self, **limits: int) -> None:
        """A server with such limits for connections."""
        self.use(limits=ConnectionLimits(**limits))

    async def stream(self, call: Call) -> None:
        self.callers.append(call.caller.user)
        call.write((await call.receive_line(20)) + b"\n")

    async def reply(self, caller: Any, request: CheckImageRequest) -> Any:
        return CheckImageResponse(True)

    def dial(
        self, tls: ClientTLS | None = None, host: str = "192.0.2.1", **options: Any
    ) -> Client | None:
        """A new connection; ``None`` if it is not let in."""
        door = self.factory.buildProtocol(IPv4Address("TCP", host, 1234))
        if door is None:
            return None
        client = Client(tls, **options)
        client.link = Link(self.clock, door, client.outer)
        self.clients.append(client)
        client.link.pump()
        return client

    def connect(self, *arguments: Any, **options: Any) -> Client:
        """The same; it has to be let in."""
        client = self.dial(*arguments, **options)
        assert client is not None
        return client

    def wait(self, seconds: float) -> None:
        """Time goes by, and everything happens that can."""
        self.clock.advance(seconds)
        for client in self.clients:
            client.link.pump()

    def assertEndsAfter(self, client: Client, seconds: float) -> None:
        """The connection is there until then, and no longer."""
        self.wait(seconds - 0.1)
        self.assertFalse(client.is_gone)
        self.wait(0.2)
        self.assertTrue(client.is_gone)

    def assertLimited(self, limit: Limit, text: str = "", times: int = 1) -> None:
        """That limit was exceeded, and nothing else; the log says so."""
        self.assertEqual(self.server.accounting.limits, Counter({limit: times}))
        wanted = text or f"192.0.2.1:1234 closed: {limit}"
        self.assertTrue(any(wanted in line for line in self.lines), self.lines)

    def tearDown(self) -> None:
        for client in self.clients:
            if not client.link.right.lost:
                client.vanish()
            self.assertTrue(client.is_gone)
        gate, accounting = self.server.gate, self.server.accounting
        self.assertEqual((gate.total, gate.half_open), (0, 0))
        self.assertEqual((accounting.open_raw, accounting.open_connections), (0, 0))
        self.assertEqual(sum(accounting.open_by_way.values()), 0)
        self.assertEqual(self.server._open, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])
