"""How our client finds its way, as a rule over real sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import datetime

from srpc.clients import REQUEST, ClientCase, Scripted, until
from srpc.peers import YEAR, authority, key_pair, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import ConnectionFailed, PeerClosed
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc import dialling
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.front_door import ALERT
from imageserver.srpc.protocol import (
    ACCEPTED,
    GOB,
    JSON,
    JSON_SECURED,
    JSON_UNSECURED,
    SECURED,
    UNSECURED,
    Endpoint,
)
from imageserver.srpc.tls import ClientTLS, ServerTLS
from imageserver.srpc.trust import Trust
from imageserver.testing import InlineWorker
from imageserver.tool.authority import Validity

NOT_FOUND = b"HTTP/1.0 404 Not Found\r\n\r\n"
REFUSED = b"HTTP/1.0 405 Method Not Allowed\r\n\r\n"


class Connecting(ClientCase):
    """Why there may be no connection."""

    async def test_refused(self):
        """Nobody listens."""
        self.script(b"")
        number = self.port.getHost().port
        await self.port.stopListening()
        with self.assertRaises(ConnectionFailed) as caught:
            await Dialler(reactor, InlineWorker()).dial("127.0.0.1", number)
        text = f"127.0.0.1:{number}: connection refused"
        self.assertEqual(str(caught.exception), text)
        self.port = None

    async def test_no_such_host(self):
        """The name is unknown."""
        with self.assertRaises(ConnectionFailed):
            await Dialler(reactor, InlineWorker()).dial("no.such.invalid", 1)

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
            (ALERT, "malformed HTTP response b'\\x15\\x03\\x01\\x00\\x02\\x02F'"),
            (b"HTTP/1.x 200", "unexpected EOF"),
            (b"HTTP/1.0 2000\n", "malformed HTTP response b'HTTP/1.0 2000'"),
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
        await self.assertFails("no answer within 0.05 s", connect_timeout_s=0.05)
        await until(lambda: not self.peers)

    async def test_silence_instead_of_tls(self):
        """The same for a handshake."""
        kind = type("It", (Scripted,), {"answer": None, "open": self.peers})
        kind.dataReceived = lambda self, data: self.transport.write(
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
        with self.assertRaises(CancelledError):
            await connecting
        await until(lambda: not self.peers)


class Endpoints(ClientCase):
    """Where our client knocks, and in which order."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[bytes] = []

    def answer(self, *answers: bytes) -> None:
        """A server that gives these answers, each on a connection of its own."""
        coming = iter(answers)
        test = self

        class Answering(Scripted):
            open = self.peers

            def dataReceived(self, data: bytes) -> None:
                test.asked.append(data)
                self.transport.write(next(coming, b""))
                self.transport.loseConnection()

        self.port = reactor.listenTCP(
            0, Factory.forProtocol(Answering), interface="127.0.0.1"
        )

    def assertAsked(self, *paths: bytes) -> None:
        self.assertEqual(self.asked, [b"CONNECT %s HTTP/1.0\n\n" % p for p in paths])

    async def test_next_endpoint(self):
        """Only "404" leads to the next endpoint, on a connection of its own."""
        self.answer(NOT_FOUND, NOT_FOUND, NOT_FOUND, REFUSED, REFUSED)
        await self.assertFails("no SRPC endpoint")
        self.assertAsked(UNSECURED.path, JSON_UNSECURED.path)
        await self.assertFails("missing certificate")
        await self.assertFails("missing certificate")
        self.assertEqual(len(self.asked), 5)

    async def check_json(self, table: str, endpoint: Endpoint, tls: ClientTLS | None):
        """Calls are made at an endpoint if there is nothing at the one before it."""
        elsewhere = Endpoint(b"/elsewhere", False, GOB)
        self.patch(dialling, table, (elsewhere, endpoint))
        self.serve(tls=tls and server_tls())
        connection = await self.connect(tls)
        for image in ("image", "x" * 49):
            request = CheckImageRequest(image)
            response = await connection.call("Test.Check", request, CheckImageResponse)
            self.assertTrue(response.image_exists)
            await connection.ping()
        (way,) = self.server.accounting.by_way
        self.assertEqual(way.coder, JSON)

    async def test_json(self):
        """A server that has no gob is spoken to in JSON."""
        await self.check_json("_PLAIN", JSON_UNSECURED, None)

    async def test_json_over_tls(self):
        """The same over TLS."""
        tls = ClientTLS(user_pair("alice", "*.*"))
        await self.check_json("_OVER_TLS", JSON_SECURED, tls)

    async def test_never_unsecured(self):
        """With a certificate, nothing is asked for but TLS."""
        self.answer(NOT_FOUND, NOT_FOUND)
        await self.assertFails("no SRPC endpoint", ClientTLS(user_pair()))
        self.assertAsked(SECURED.path, JSON_SECURED.path)

    async def test_no_powers(self):
        """Who does not want to use powers says so."""
        self.answer(REFUSED)
        await self.assertFails("missing certificate", method_powers=False)
        self.assertAsked(b"/_goSRPC_/?doNotUseMethodPowers=true")

    async def test_annotation(self):
        """What follows an asterisk is no part of the name."""
        self.serve()
        number = self.port.getHost().port
        dialler = Dialler(reactor, InlineWorker())
        self.connections.append(await dialler.dial("127.0.0.1*rack 5", number))
        await self.connections[0].ping()

    async def test_whole_tls(self):
        """A server that takes nothing but TLS is found by its alert."""
        self.serve(tls=server_tls(), requires_tls=True)
        trusting = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        connection = await self.connect(trusting)
        answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
        self.assertTrue(answer.image_exists)
        self.assertEqual(self.server.accounting.accepted, 2)

    async def test_whole_tls_without_certificate(self):
        """Who has no certificate is told so; the host is verified there, too."""
        self.serve(tls=server_tls(), requires_tls=True)
        trusting = ClientTLS(None, [authority().certificate])
        await self.assertFails("bad certificate", trusting)
        named = key_pair(authority().issue("server", YEAR, hosts=["192.0.2.1"]))
        self.server.tls = ServerTLS(named, Trust([authority().certificate]))
        text = "the server's certificate is not for 127.0.0.1"
        await self.assertFails(text, trusting)

    async def test_no_tls_to_fall_back_to(self):
        """Without TLS there is nothing to try; and only what is no HTTP counts."""
        self.serve(tls=server_tls(), requires_tls=True)
        text = f"malformed HTTP response {ALERT!r}"
        await self.assertFails(text)
        await self.port.stopListening()
        for answer, text in (
            (b"", "EOF"),
            (b"HTT", "unexpected EOF"),
            (b"HTTP/1.1 400 Bad\r\n\r\n", "unexpected HTTP response: 400 Bad"),
        ):
            self.answer(answer)
            await self.assertFails(text, ClientTLS(user_pair()))
            self.assertAsked(SECURED.path)
            self.asked.clear()
            await self.port.stopListening()
        self.port = None

    async def test_alert_instead_of_handshake(self):
        """A server that does not like our certificate says so in the handshake."""
        answers = iter([ACCEPTED, bytes.fromhex("1503030002022a")])
        kind = type("It", (Scripted,), {"open": self.peers})
        kind.dataReceived = lambda self, data: self.transport.write(next(answers, b""))
        self.port = reactor.listenTCP(
            0, Factory.forProtocol(kind), interface="127.0.0.1"
        )
        await self.assertFails("bad certificate", ClientTLS(user_pair()))

    async def test_no_valid_certificate(self):
        """Nobody is asked if none of our certificates is valid today."""
        self.answer(NOT_FOUND, NOT_FOUND)
        expired = key_pair(authority().issue("alice", Validity.of_days(-1)))
        begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        future = Validity(begin, begin + datetime.timedelta(days=1))
        coming = key_pair(authority().issue("alice", future))
        for pairs, text in (
            ([expired], "no valid certificates: expired at "),
            ([coming, expired], "no valid certificates: not before "),
        ):
            with self.assertRaisesRegex(ConnectionFailed, text):
                await self.connect(ClientTLS(pairs))
            self.assertEqual(self.asked, [])
        some = ClientTLS([expired, user_pair(), coming])
        await self.assertFails("no SRPC endpoint", some)


class Reactorless(SynchronousTestCase):
    """What the system says when it cannot connect."""

    def test_errors(self):
        """Errors that users know are short; others are as the system has them."""
        for error, text in (
            (ConnectionRefusedError(), "connection refused"),
            (NoRouteError(), "no route to host"),
            (TCPTimedOutError(), TCPTimedOutError.__doc__),
            (OSError("odd"), "odd"),
            (ZeroDivisionError("odd"), "cannot connect: odd"),
        ):
            clock = MemoryReactorClock()
            dialler = Dialler(clock, InlineWorker())
            dialling = Deferred.fromCoroutine(dialler.dial("192.0.2.1", 1))
            ((_, _, factory, *_),) = clock.tcpClients
            factory.clientConnectionFailed(clock.connectors[0], Failure(error))
            clock.advance(1)
            failure = self.failureResultOf(dialling, ConnectionFailed)
            self.assertIn(f"192.0.2.1:1: {text}", failure.getErrorMessage() + ".")
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_no_answer(self):
        """A host that does not answer is given up in time."""
        clock = MemoryReactorClock()
        dialler = Dialler(clock, InlineWorker(), connect_timeout_s=7)
        dialling = Deferred.fromCoroutine(dialler.dial("192.0.2.1", 1))
        clock.advance(6.9)
        self.assertNoResult(dialling)
        clock.advance(0.2)
        failure = self.failureResultOf(dialling, ConnectionFailed)
        text = "192.0.2.1:1: no answer within 7 s"
        self.assertEqual(failure.getErrorMessage(), text)
