"""Our client, against our server and against scripted ones, over real sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from srpc.peers import YEAR, authority, key_pair, make_server, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver.errors import (
    CallError,
    ConnectionFailed,
    GobDecodeError,
    MethodDenied,
    PeerClosed,
    ProtocolError,
    RequestError,
)
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.access import Policy
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.client import Connection, connect
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS, ServerTLS
from imageserver.srpc.trust import Trust
from imageserver.testing import InlineWorker
from imageserver.tool.authority import Validity
from imageserver.worker import PoolWorker

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

    def serve(self, **options: Any) -> None:
        """A server of ours."""
        methods = [
            Method("Test", "Check", request=CheckImageRequest, reply=self.check),
            Method("Test", "Stream", stream=self.stream),
            Method("Test", "Open", unauthenticated=True, stream=self.stream),
        ]
        self.server = make_server(reactor, methods, deadlines=DEADLINES, **options)
        factory = FrontDoorFactory(self.server, Site(Resource()))
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")

    def script(self, answer: bytes | None) -> None:
        """A server that says ``answer`` and goes; with ``None`` it says nothing."""
        kind = type("It", (Scripted,), {"answer": answer, "open": self.peers})
        self.port = reactor.listenTCP(
            0, Factory.forProtocol(kind), interface="127.0.0.1"
        )

    async def connect(
        self, tls: ClientTLS | None = None, deadlines: Deadlines = DEADLINES
    ) -> Connection:
        """A connection to whatever listens."""
        number = self.port.getHost().port
        connection = await connect(
            reactor, "127.0.0.1", number, tls, InlineWorker(), deadlines
        )
        self.connections.append(connection)
        return connection

    async def assertFails(self, text: str, tls: ClientTLS | None = None) -> None:
        """No connection, for that reason."""
        with self.assertRaises(ConnectionFailed) as caught:
            await self.connect(tls)
        where = f"127.0.0.1:{self.port.getHost().port}: "
        self.assertEqual(str(caught.exception), where + text)

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


class Calls(ClientCase):
    """Calls on one connection."""

    async def test_calls(self):
        """Pings, calls and streams follow each other."""
        self.serve()
        connection = await self.connect()
        for _ in range(3):
            await connection.ping()
            answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
            self.assertEqual(answer, CheckImageResponse(True))
            async with connection.begin("Test.Stream") as call:
                lines = []
                while line := await call.receive_line(100):
                    lines.append(line)
            self.assertEqual(lines, [b"a line"] * 100)
        self.assertFalse(connection.closed)

    async def test_tls(self):
        """The same over TLS; the certificate says who calls."""
        self.serve(tls=server_tls())
        trusting = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        connection = await self.connect(trusting)
        answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
        self.assertTrue(answer.image_exists)
        powerless = await self.connect(ClientTLS(user_pair()))
        with self.assertRaises(MethodDenied):
            await powerless.call("Test.Check", REQUEST, CheckImageResponse)
        await powerless.ping()

    async def test_error_line(self):
        """An error of a call leaves the connection as it is."""
        self.serve()
        connection = await self.connect()
        with self.assertRaisesRegex(CallError, "^no such image$"):
            await connection.call(
                "Test.Check", CheckImageRequest("no such"), CheckImageResponse
            )
        with self.assertRaisesRegex(CallError, "^unknown service: No$"):
            await connection.call("No.Check", REQUEST, CheckImageResponse)
        await connection.ping()
        self.assertFalse(connection.closed)

    async def test_denied(self):
        """A denial is an error of its own, with the text that is known."""
        self.serve(policy=Policy())
        connection = await self.connect()
        with self.assertRaisesRegex(MethodDenied, "^access to method denied$"):
            await connection.call("Test.Check", REQUEST, CheckImageResponse)
        await connection.ping()

    async def test_one_call_at_a_time(self):
        """Calls that are begun at the same time are made one after the other."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        calls = [
            Deferred.fromCoroutine(
                connection.call("Test.Check", CheckImageRequest(n), CheckImageResponse)
            )
            for n in ("a", "b", "c")
        ]
        await until(lambda: self.order)
        await deferLater(reactor, 0.01)
        self.assertEqual(self.order, ["begin a"])
        self.gates["a"].callback(None)
        await gatherResults(calls)
        self.assertEqual(
            self.order, ["begin a", "end a", "begin b", "end b", "begin c", "end c"]
        )

    async def test_abandoned_call(self):
        """After a call that did not end, no other call gets the rest of its answer."""
        self.serve()
        connection = await self.connect()
        queued: list[Deferred[Any]] = []
        with self.assertRaisesRegex(ValueError, "enough"):
            async with connection.begin("Test.Stream") as call:
                await call.receive_line(100)
                queued.append(Deferred.fromCoroutine(connection.ping()))
                raise ValueError("enough")
        self.assertTrue(connection.closed)
        with self.assertRaises(PeerClosed):
            await queued[0]
        with self.assertRaises(PeerClosed):
            await connection.ping()

    async def test_call_left_early(self):
        """The same if the block is just left."""
        self.serve()
        connection = await self.connect()
        async with connection.begin("Test.Stream") as call:
            await call.receive_line(100)
        self.assertTrue(connection.closed)

    async def test_cancelled_call(self):
        """A call that is cancelled ends its connection."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        call = Deferred.fromCoroutine(
            connection.call("Test.Check", CheckImageRequest("a"), CheckImageResponse)
        )
        await until(lambda: self.order)
        call.cancel()
        with self.assertRaises(CancelledError):
            await call
        self.assertTrue(connection.closed)
        self.gates["a"].callback(None)

    async def test_wrong_response(self):
        """What is no response ends the connection."""
        self.serve()
        connection = await self.connect()
        with self.assertRaises((GobDecodeError, ProtocolError)):
            async with connection.begin("Test.Stream") as call:
                await call.receive(CheckImageResponse)
        self.assertTrue(connection.closed)

    async def test_server_goes(self):
        """A server that goes ends the call that is going on, and the next ones."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        call = Deferred.fromCoroutine(
            connection.call("Test.Check", CheckImageRequest("a"), CheckImageResponse)
        )
        await until(lambda: self.order)
        stopping = Deferred.fromCoroutine(self.server.stop())
        with self.assertRaises(PeerClosed):
            await call
        with self.assertRaisesRegex(PeerClosed, "the connection is closed"):
            await connection.ping()
        self.gates["a"].callback(None)
        await stopping

    async def test_slow_server(self):
        """A server that does not answer in time is given up."""
        self.serve()
        connection = await self.connect(deadlines=Deadlines(body_s=0.05))
        self.gates["a"] = Deferred()
        with self.assertRaises(ProtocolError):
            await connection.call(
                "Test.Check", CheckImageRequest("a"), CheckImageResponse
            )
        self.assertTrue(connection.closed)
        self.gates["a"].callback(None)

    async def test_error_while_sending(self):
        """The error line arrives although much of the request was never read."""
        self.serve()
        connection = await self.connect()
        with self.assertRaises(CallError):
            async with connection.begin("Test.Check") as call:
                call.write(b"\xfc\x7f\xff\xff\xff" + bytes(30 << 20))
                await connection._accepted()

    async def test_error_for_who_reads_late(self):
        """A client that reads only when it has sent everything gets it, too."""
        self.serve()
        number = self.port.getHost().port

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                client.sendall(b"CONNECT /_goSRPC_/ HTTP/1.0\n\nTest.Check\n")
                client.sendall(b"\xfc\x7f\xff\xff\xff" + bytes(20 << 20))
                data = b""
                while piece := client.recv(1000):
                    data += piece
                return data

        pool = PoolWorker(reactor, "client", 1)
        pool.startService()
        self.addCleanup(pool.stopService)
        answer = await pool.run(talk)
        self.assertTrue(answer.startswith(ACCEPTED + b"\n"))
        self.assertRegex(answer[len(ACCEPTED) :], rb"\A\n[^\n]+\n\Z")

    async def test_socket_options(self):
        """Both sides notice when the other one is gone for good."""
        self.serve()
        connection = await self.connect()
        served = next(iter(self.server._open))
        for channel in (connection._channel, served):
            handle = channel.transport.getHandle()
            for option, value in (
                (socket.TCP_KEEPIDLE, 300),
                (socket.TCP_KEEPINTVL, 300),
                (socket.TCP_NODELAY, 1),
            ):
                self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, option), value)


class Connecting(ClientCase):
    """Why there may be no connection."""

    async def test_refused(self):
        """Nobody listens."""
        self.script(b"")
        number = self.port.getHost().port
        await self.port.stopListening()
        with self.assertRaises(ConnectionFailed) as caught:
            await connect(reactor, "127.0.0.1", number, None, InlineWorker())
        text = f"127.0.0.1:{number}: connection refused"
        self.assertEqual(str(caught.exception), text)
        self.port = None

    async def test_no_such_host(self):
        """The name is unknown."""
        with self.assertRaises(ConnectionFailed):
            await connect(reactor, "no.such.invalid", 1, None, InlineWorker())

    async def test_no_tls_on_the_server(self):
        """A server without TLS has no endpoint for us (404)."""
        self.serve()
        await self.assertFails("no SRPC endpoint", ClientTLS(user_pair()))

    async def test_tls_required(self):
        """A server that wants a certificate says so (405)."""
        self.serve(tls=server_tls())
        self.server.methods = type(self.server.methods)([])
        await self.assertFails("missing certificate")

    async def test_bad_certificate(self):
        """A refused certificate shows at the latest with the first call."""
        self.serve(tls=server_tls())
        expired = key_pair(authority().issue("alice", Validity.of_days(-1)))
        for pair in (None, expired):
            with self.assertRaises((ConnectionFailed, PeerClosed)):
                await (await self.connect(ClientTLS(pair))).ping()

    async def test_wrong_server(self):
        """A server whose certificate we do not trust is left alone."""
        self.serve(tls=server_tls())
        distrustful = ClientTLS(user_pair(), [authority("foreign").certificate])
        with self.assertRaisesRegex(ConnectionFailed, "certificate verify failed"):
            await self.connect(distrustful)

    async def test_another_host(self):
        """A server with a good certificate for another host is left alone, too."""
        self.serve(tls=ServerTLS(user_pair(), Trust([authority().certificate])))
        await (await self.connect(ClientTLS(user_pair()))).ping()
        trusting = ClientTLS(user_pair(), [authority().certificate])
        with self.assertRaises(ConnectionFailed):
            await self.connect(trusting)
        named = key_pair(authority().issue("server", YEAR, hosts=["192.0.2.1"]))
        self.server.tls = ServerTLS(named, Trust([authority().certificate]))
        with self.assertRaisesRegex(ConnectionFailed, "is not for 127"):
            await self.connect(trusting)

    async def test_unexpected_answers(self):
        """Whatever a server answers, there is an error with its reason."""
        for answer, text in (
            (b"HTTP/1.0 404 Not Found\r\n\r\n", "no SRPC endpoint"),
            (b"HTTP/1.0 405 Method Not Allowed\r\n\r\n", "missing certificate"),
            (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "bad certificate"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "unexpected HTTP response: 200 OK"),
            (
                b"HTTP/1.0 400 Bad Request\r\n\r\n",
                "unexpected HTTP response: 400 Bad Request",
            ),
            (ACCEPTED[:-1] + b"X: y\n\n", "headers behind the acceptance"),
            (b"SSH-2.0-x\n", "malformed HTTP response b'SSH-2.0-x'"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "unexpected EOF"),
            (b"", "EOF"),
            (ACCEPTED[:-1], "EOF"),
            (b"HTTP/1.0 " + b"9" * 70_000 + b"\n", "line longer than 65536 bytes"),
        ):
            self.script(answer)
            await self.assertFails(text)
            await self.port.stopListening()
        self.port = None

    async def test_silent_server(self):
        """A server that does not answer is given up in time."""
        self.script(None)
        with self.assertRaisesRegex(ConnectionFailed, r"nothing for 0\.05 s"):
            await self.connect(deadlines=Deadlines(head_s=0.05))
        await until(lambda: not self.peers)

    async def test_silence_instead_of_tls(self):
        """The same for a handshake."""
        kind = type("It", (Scripted,), {"answer": None, "open": self.peers})
        kind.dataReceived = lambda self, data: self.transport.write(  # type: ignore[method-assign]
            ACCEPTED if data.startswith(b"CONNECT") else b""
        )
        self.port = reactor.listenTCP(
            0, Factory.forProtocol(kind), interface="127.0.0.1"
        )
        with self.assertRaisesRegex(ConnectionFailed, r"nothing for 0\.05 s"):
            await self.connect(ClientTLS(user_pair()), Deadlines(handshake_s=0.05))
        await until(lambda: not self.peers)

    async def test_cancelled(self):
        """A connection that is given up while it comes about is not left open."""
        self.script(None)
        connecting = Deferred.fromCoroutine(self.connect())
        await until(lambda: self.peers)
        connecting.cancel()
        with self.assertRaises((CancelledError, ConnectionFailed)):
            await connecting
        await until(lambda: not self.peers)
