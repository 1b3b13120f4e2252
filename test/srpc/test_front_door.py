"""One port for calls and pages."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

from srpc.peers import Link, Recorder, make_server, server_tls
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver.srpc.access import Policy
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.front_door import FrontDoor, FrontDoorFactory
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ServerTLS

UNSECURED, TLS = b"/_goSRPC_/", b"/_go_TLS_SRPC_/"
JSON, JSON_TLS = b"/_SRPC_/unsecured/JSON", b"/_SRPC_/TLS/JSON"


class Page(Resource):
    """Tells what it was asked."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        body = request.content.read()
        request.setHeader(b"X-Length", str(len(body)))
        host = request.getHeader("host") or "-"
        return b"%s %s %s %s" % (request.method, request.uri, host.encode(), body[:9])


async def nothing(_: Any) -> None:
    """A method that does nothing."""


OPEN = Method("Test", "Open", unauthenticated=True, stream=nothing)
CLOSED = Method("Test", "Closed", stream=nothing)


class FrontDoorCase(SynchronousTestCase):
    """Raw bytes in, raw bytes out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.site = Site(Page(), reactor=self.clock)
        self.use([CLOSED])

    def use(
        self,
        methods: list[Method],
        policy: Policy | None = None,
        tls: ServerTLS | None = None,
    ) -> None:
        """The next connections go to such a server."""
        self.server = make_server(
            self.clock,
            methods,
            policy=policy,
            tls=tls,
            deadlines=Deadlines(first_byte_s=5, head_s=5),
        )

    def connect(self) -> Recorder:
        """A new connection."""
        self.peer = Recorder()
        factory = FrontDoorFactory(self.server, self.site)
        self.link = Link(self.clock, factory.buildProtocol(None), self.peer)
        return self.peer

    def send(self, data: bytes) -> bytes:
        """Send something in one segment; what comes back."""
        self.peer.transport.write(data)
        self.link.pump()
        return self.peer.take()

    def ask(self, data: bytes) -> bytes:
        """The same on a new connection."""
        self.connect()
        return self.send(data)

    def assertRefused(self, data: bytes, status: bytes) -> None:
        """The answer has that status and nothing else, and the connection ends."""
        head, body = self.ask(data).split(b"\r\n\r\n")
        self.assertEqual(head.split(b"\r\n")[0], b"HTTP/1.0 " + status)
        self.assertIn(b"Content-Length: 0", head)
        self.assertEqual(body, b"")
        self.assertIsNotNone(self.peer.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Accepting(FrontDoorCase):
    """CONNECT to an endpoint."""

    def test_exact_acceptance(self):
        """Clients compare these 35 bytes."""
        answer = self.ask(b"CONNECT /_goSRPC_/ HTTP/1.0\n\n")
        self.assertEqual(answer, b"HTTP/1.0 200 Connected to Go SRPC\n\n")
        self.assertEqual(len(answer), 35)
        self.assertIsNone(self.peer.ended)

    def test_json(self):
        """Values travel as JSON, and calls are counted so."""
        answer = self.ask(b"CONNECT " + JSON + b" HTTP/1.0\n\nTest.Closed\n")
        self.assertEqual(answer, b"HTTP/1.0 200 Connected to Go SRPC\n\n\n")
        (way,) = self.server.accounting.by_way
        self.assertEqual(str(way), "plain-json")

    def test_forms_of_requests(self):
        """LF or CRLF, headers or none, HTTP/1.0 or 1.1, with or without Host."""
        for head in (
            b"CONNECT /_goSRPC_/ HTTP/1.0\n\n",
            b"CONNECT /_goSRPC_/ HTTP/1.0\r\n\r\n",
            b"CONNECT /_goSRPC_/ HTTP/1.1\r\n\r\n",
            b"CONNECT /_goSRPC_/ HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n",
            b"CONNECT /_goSRPC_/ HTTP/1.1\nHost: x\n\n",
            b"CONNECT /_goSRPC_/ HTTP/1.1\r\nHost: x\n\r\n",
            b"CONNECT /_goSRPC_/xyz HTTP/1.0\n\n",
            b"CONNECT /_goSRPC_/?a=b HTTP/1.0\n\n",
        ):
            self.assertEqual(self.ask(head), ACCEPTED)
            self.assertEqual(self.send(b"\n"), b"\n")

    def test_byte_by_byte(self):
        """It does not matter how the request is cut."""
        self.connect()
        for byte in b"CONNECT /_goSRPC_/ HTTP/1.1\r\nHost: x\r\n\r":
            self.assertEqual(self.send(bytes([byte])), b"")
        self.assertEqual(self.send(b"\n"), ACCEPTED)
        for byte in b"Test.No":
            self.assertEqual(self.send(bytes([byte])), b"")
        self.assertEqual(self.send(b"\n"), b"Test: unknown method: No\n")

    def test_pipelined_ping(self):
        """Bytes in the same segment are not lost."""
        data = b"CONNECT /_goSRPC_/ HTTP/1.0\n\n\n\n"
        self.assertEqual(self.ask(data), ACCEPTED + b"\n\n")

    def test_socket_options(self):
        """Small answers leave at once, and dead peers are found."""
        self.connect()
        options = {"no delay": True, "keep alive": True}
        self.assertEqual(self.link.left.options, options)

    def test_no_powers(self):
        """The query of the CONNECT counts for all calls of the connection."""
        self.ask(b"CONNECT /_goSRPC_/ HTTP/1.0\n\n")
        self.assertEqual(self.send(b"Test.Closed\n"), b"\n")
        self.ask(b"CONNECT /_goSRPC_/?doNotUseMethodPowers=true HTTP/1.0\n\n")
        self.assertEqual(self.send(b"Test.Closed\n"), b"access to method denied\n")
        self.assertEqual(self.send(b"\n"), b"\n")

    def test_unsecured_with_tls(self):
        """Where anybody may call something, the unsecured endpoint is there."""
        self.use([OPEN, CLOSED], tls=server_tls())
        self.assertEqual(self.ask(b"CONNECT /_goSRPC_/ HTTP/1.0\n\n"), ACCEPTED)
        self.assertEqual(self.send(b"Test.Closed\n"), b"access to method denied\n")
        self.assertEqual(self.send(b"Test.Open\n"), b"\n")

    def test_deadline_ends_with_the_head(self):
        """Between calls, a connection may be idle for as long as it likes."""
        self.ask(b"CONNECT /_goSRPC_/ HTTP/1.0\n\n")
        self.clock.advance(1_000_000)
        self.assertEqual(self.send(b"\n"), b"\n")


class Refusing(FrontDoorCase):
    """What is refused, and how."""

    def test_insecure_server(self):
        """Without TLS there are no TLS endpoints, whatever the method."""
        for method in (b"CONNECT", b"GET"):
            for path in (TLS, JSON_TLS):
                self.assertRefused(
                    method + b" " + path + b" HTTP/1.0\n\n", b"404 Not Found"
                )

    def test_method_is_not_connect(self):
        """Endpoints take nothing but CONNECT."""
        self.use([CLOSED], tls=server_tls())
        for method in (b"GET", b"POST", b"connect"):
            for path in (UNSECURED, TLS, JSON, JSON_TLS):
                request = method + b" " + path + b" HTTP/1.0\n\n"
                self.assertRefused(request, b"400 Bad Request")

    def test_tls_required(self):
        """Unsecured endpoints say so if they are of no use to anybody."""
        self.use([CLOSED], tls=server_tls())
        for path in (UNSECURED, JSON):
            for query in (b"", b"?a=%zz"):
                request = b"CONNECT " + path + query + b" HTTP/1.0\n\n"
                self.assertRefused(request, b"405 Method Not Allowed")

    def test_malformed_query(self):
        """A query that cannot be read is refused on every endpoint."""
        for path in (UNSECURED, JSON):
            request = b"CONNECT " + path + b"?a=%zz HTTP/1.0\n\n"
            self.assertRefused(request, b"400 Bad Request")
        self.use([CLOSED], tls=server_tls())
        self.assertRefused(b"CONNECT " + TLS + b"?%4 HTTP/1.0\n\n", b"400 Bad Request")

    def test_json_has_nothing_below(self):
        """The endpoints of JSON are exactly where they are."""
        self.assertIn(b"GET " + JSON, self.ask(b"CONNECT " + JSON + b"/ HTTP/1.0\n\n"))

    def test_unknown_path(self):
        """A path that nobody knows is for the site to refuse."""
        self.assertIn(b"GET /nosuch", self.ask(b"CONNECT /nosuch HTTP/1.0\n\n"))

    def test_garbage(self):
        """What is not HTTP is refused as early as it shows."""
        for data in (
            b"\x16\x03\x01\x02\x00",
            b"\n\n",
            b"\0",
            b"hello\n\n",
            b"A B C\n\n",
        ):
            self.assertRefused(data, b"400 Bad Request")

    def test_head_too_long(self):
        """Nobody can make the server keep a long head."""
        data = b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 6000
        self.assertRefused(data, b"400 Bad Request")

    def test_after_a_refusal(self):
        """What comes after a refusal is not looked at."""
        self.connect()
        door = self.link.left.protocol
        door.dataReceived(b"\0")
        door.dataReceived(b"CONNECT /_goSRPC_/ HTTP/1.0\n\n\0\0")
        self.link.pump()
        self.assertEqual(self.peer.data.count(b"HTTP/1.0"), 1)

    def test_slow_head(self):
        """A head has to come in time, however busily it drips."""
        self.connect()
        for _ in range(9):
            self.assertEqual(self.send(b"GET"), b"")
            self.clock.advance(0.5)
        self.assertIsNone(self.peer.ended)
        self.clock.advance(0.6)
        self.link.pump()
        self.assertIsNotNone(self.peer.ended)
        self.assertEqual(self.peer.data, b"")

    def test_silence(self):
        """Who says nothing is cut off, too."""
        self.connect()
        self.clock.advance(5.1)
        self.link.pump()
        self.assertIsNotNone(self.peer.ended)

    def test_refused_peer_that_does_not_go(self):
        """A peer that does not read its refusal is cut off by the same deadline."""
        self.connect()
        self.peer.transport.pauseProducing()
        self.send(b"\0")
        self.assertFalse(self.link.left.lost)
        self.clock.advance(5.1)
        self.link.pump()
        self.assertTrue(self.link.left.lost)

    def test_lost_early(self):
        """A connection may be lost at any time; no timer stays behind."""
        for data in (
            b"",
            b"GET /",
            b"CONNECT /_goSRPC_/ HTTP/1.0\n\n",
            b"GET / HTTP/1.1\n",
        ):
            self.ask(data)
            self.peer.transport.abortConnection()
            self.link.pump()
            self.assertTrue(self.link.left.lost)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.accounting.open_connections, 0)


class Pages(FrontDoorCase):
    """Everything else goes to the site."""

    def test_bare_line_feeds(self):
        """The site sees a request whose lines end in bare LF (trap 7)."""
        answer = self.ask(b"GET /status HTTP/1.0\nHost: me\n\n")
        self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"), answer)
        self.assertTrue(answer.endswith(b"GET /status me "))
        self.assertIsNotNone(self.peer.ended)

    def test_plain_pages(self):
        """The plain pages below the endpoint are pages, for GET and for CONNECT."""
        for name in (b"getHostname", b"listMethods", b"listPublicMethods"):
            for method in (b"GET", b"CONNECT"):
                path = UNSECURED + name
                answer = self.ask(method + b" " + path + b" HTTP/1.0\n\n")
                self.assertTrue(answer.endswith(b"GET " + path + b" - "), answer)

    def test_byte_by_byte(self):
        """It does not matter how the request is cut."""
        self.connect()
        answer = b""
        for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            answer += self.send(bytes([byte]))
        self.assertTrue(answer.endswith(b"POST / a abc"), answer)

    def test_body(self):
        """A body goes to the site whole, also what came with the head."""
        body = bytes(range(256)) * 1000
        head = b"POST /x HTTP/1.1\nHost: a\nContent-Length: %d\n\n" % len(body)
        for cut in (0, 1, 1000):
            self.connect()
            self.send(head + body[:cut])
            answer = self.send(body[cut:])
            self.assertIn(b"X-Length: %d\r\n" % len(body), answer)

    def test_keep_alive(self):
        """Several requests on one connection are answered in order."""
        one = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = self.ask(one % 1 + one % 2)
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2)
        self.assertLess(answer.index(b"GET /1"), answer.index(b"GET /2"))
        self.assertIn(b"GET /3", self.send(one % 3))

    def test_strange_targets(self):
        """Targets that are no paths do no harm."""
        for target in (b"host:443", b"*", b"http://x/y", b"//", b"/%", b"?"):
            for method in (b"CONNECT", b"GET"):
                answer = self.ask(
                    method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
                )
                self.assertTrue(answer.startswith(b"HTTP/1.1 "), (target, answer))
                self.assertFalse(answer.startswith(b"HTTP/1.1 5"), (target, answer))


class Factories(FrontDoorCase):
    """The factory stands for the site, too."""

    def test_start_and_stop(self):
        """The site starts and stops with the port."""
        factory = FrontDoorFactory(self.server, self.site)
        factory.doStart()
        self.assertEqual(self.site.numPorts, 1)
        factory.doStop()
        self.assertEqual(self.site.numPorts, 0)
        self.assertIsInstance(factory.buildProtocol(None), FrontDoor)
        for call in self.clock.getDelayedCalls():
            call.cancel()
