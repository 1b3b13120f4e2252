"""How our client finds its way, over real sockets."""

from __future__ import annotations

from srpc.clients import ClientCase, Scripted, until
from srpc.peers import YEAR, authority, key_pair, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory

from imageserver.errors import ConnectionFailed, PeerClosed
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.front_door import ALERT
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS, ServerTLS
from imageserver.srpc.trust import Trust
from imageserver.testing import InlineWorker
from imageserver.tool.authority import Validity


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
