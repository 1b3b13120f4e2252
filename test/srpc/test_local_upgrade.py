"""Moving to a Unix socket, as the server sees it, in memory."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import os
from typing import Any

from srpc.doors import DEADLINES, UNSECURED, Client
from srpc.peers import Link, make_server, server_tls, user_pair
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver import gob
from imageserver.errors import ConfigError
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc import local_upgrade
from imageserver.srpc.connection_limits import ConnectionLimits
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.limit import Limit
from imageserver.srpc.local_upgrade import LocalUpgrade
from imageserver.srpc.messages import (
    LocalUpgradeToUnixRequestOne,
    LocalUpgradeToUnixRequestTwo,
    LocalUpgradeToUnixResponseOne,
    LocalUpgradeToUnixResponseTwo,
)
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS

UPGRADE = b".LocalUpgradeToUnix\n"
COOKIE = b"the cli."
NO_SOCKET = LocalUpgradeToUnixResponseOne("no socket")
NOT_FOUND = LocalUpgradeToUnixResponseTwo("cookie not found")
CALL = b"Test.Check\n" + gob.Encoder().encode(CheckImageRequest("x"))
ANSWER = b"\n\n" + gob.Encoder().encode(CheckImageResponse(True))


class Socket:
    """A Unix socket that does not exist."""

    name = "@somewhere"

    def __init__(self) -> None:
        self.factory: Any = None
        self.attempts = 0
        self.obstacle: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def listen(self, factory: Any) -> None:
        self.attempts += 1
        if self.gate is not None:
            await self.gate
        if self.obstacle is not None:
            raise self.obstacle
        self.factory = factory

    async def stop(self) -> None:
        self.factory = None


class Upgrading:
    """A client over TCP, or TLS on it, that moves step by step."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def receive(self, data: bytes, type_: type) -> Any:
        position = 0
        value = gob.MORE
        while value is gob.MORE:
            message, position = gob.next_message(data, position, gob.DEFAULT_LIMITS)
            value = self.decoder.feed(message, type_)
        assert position == len(data)
        return value

    def begin(self) -> None:
        """Begin the call."""
        self.encoder, self.decoder = gob.Encoder(), gob.Decoder()
        assert self.client.send(UPGRADE) == b"\n"

    def ask(self, cookie: bytes = COOKIE) -> LocalUpgradeToUnixResponseOne:
        """Ask for the socket; the server's offer."""
        self.begin()
        request = LocalUpgradeToUnixRequestOne(cookie)
        data = self.client.send(self.encoder.encode(request))
        return self.receive(data, LocalUpgradeToUnixResponseOne)

    def arrived(self) -> LocalUpgradeToUnixResponseTwo:
        """Say that we are there; what the server says to that."""
        request = LocalUpgradeToUnixRequestTwo(True)
        data = self.client.send(self.encoder.encode(request))
        return self.receive(data, LocalUpgradeToUnixResponseTwo)

    def give_up(self) -> bytes:
        """Say that we are not there."""
        return self.client.send(self.encoder.encode(LocalUpgradeToUnixRequestTwo()))


class UpgradeCase(SynchronousTestCase):
    """A server with a socket; nothing is left of any connection at the end."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.links: list[Link] = []
        self.use()

    def use(self, **options: Any) -> None:
        """The next connections go to such a server."""
        self.socket = Socket()
        self.cookies = iter(range(1, 10_000))
        self.upgrade = LocalUpgrade(lambda size: next(self.cookies).to_bytes(size))
        methods = [
            *self.upgrade.methods(),
            Method("Test", "Check", request=CheckImageRequest, reply=self.reply),
        ]
        self.server = make_server(self.clock, methods, deadlines=DEADLINES, **options)
        self.upgrade.attach(self.server, self.socket)
        site = Site(Resource(), timeout=60, reactor=self.clock)
        self.factory = FrontDoorFactory(self.server, site)
        self.lines: list[str] = []
        self.patch(
            self.server.sparing_log._log,
            "observer",
            lambda event: self.lines.append(formatEvent(event)),
        )

    async def reply(self, caller: Any, request: Any) -> CheckImageResponse:
        self.callers.append((caller.user, caller.has_method_access))
        return CheckImageResponse(True)

    def dial(self, tls: ClientTLS | None = None, head: bytes = b"") -> Upgrading:
        """A client for whom CONNECT was accepted."""
        self.callers: list[tuple[str, bool]] = []
        door = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1234))
        client = Client(tls, in_band=tls is not None)
        client.link = Link(self.clock, door, client.outer)
        self.links.append(client.link)
        if tls is None:
            assert client.send(head or UNSECURED) == ACCEPTED
        else:
            assert client.greet() == ACCEPTED
            client.begin_tls()
            client.link.pump()
        return Upgrading(client)

    def visit(self, said: bytes = b"") -> Client | None:
        """Somebody who comes to the socket, and says that; ``None``: not let in."""
        channel = self.socket.factory.buildProtocol(None)
        if channel is None:
            return None
        visitor = Client()
        visitor.link = Link(self.clock, channel, visitor)
        self.links.append(visitor.link)
        visitor.transport.write(said)
        visitor.link.pump()
        return visitor

    def arrive(self, said: bytes) -> Client:
        """The same; it has to be let in, and gets an answer."""
        visitor = self.visit(said)
        assert visitor is not None
        self.assertEqual(visitor.take(), b"\0")
        return visitor

    def move(self, upgrading: Upgrading) -> Client:
        """Move; the client on the socket."""
        offer = upgrading.ask()
        self.assertEqual((offer.error, offer.socket_path_name), ("", "@somewhere"))
        visitor = self.arrive(offer.server_cookie)
        self.assertEqual(upgrading.arrived(), LocalUpgradeToUnixResponseTwo())
        visitor.link.pump()
        self.assertEqual(visitor.take(), COOKIE)
        return visitor

    def wait(self, seconds: float) -> None:
        """Time goes by, and everything happens that can."""
        self.clock.advance(seconds)
        for link in self.links:
            link.pump()

    def assertGoesOn(self, upgrading: Upgrading) -> None:
        """Calls are made over TCP as if nothing had been."""
        self.assertEqual(upgrading.client.send(CALL), ANSWER)
        self.assertEqual(self.upgrade._offers, {})

    def tearDown(self) -> None:
        for link in self.links:
            if not link.right.lost:
                link.right.abortConnection()
                link.pump()
            self.assertTrue(link.left.lost)
        gate, accounting = self.server.gate, self.server.accounting
        self.assertEqual((gate.total, gate.half_open), (0, 0))
        self.assertEqual((accounting.open_raw, accounting.open_connections), (0, 0))
        self.assertEqual((self.server._open, self.server._arrivals), ({}, {}))
        self.assertEqual((self.upgrade._offers, self.upgrade._strangers), ({}, set()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Moving(UpgradeCase):
    """Clients that do it right."""

    def test_move(self):
        """Calls are made on the socket; TCP ends."""
        upgrading = self.dial()
        visitor = self.move(upgrading)
        self.assertTrue(upgrading.client.is_gone)
        for _ in range(2):
            self.assertEqual(visitor.send(b"\n"), b"\n")
            self.assertEqual(visitor.send(CALL), ANSWER)
        accounting = self.server.accounting
        ways = {str(way): count for way, count in accounting.open_by_way.items()}
        self.assertEqual(ways, {"plain-gob": 0, "unix-gob": 1})
        account = accounting.methods["Test.Check"].by_way
        self.assertEqual({str(way): n for way, n in account.items()}, {"unix-gob": 2})
        self.assertEqual(self.server.gate.total, 1)

    def test_identity(self):
        """Who came over TLS is the same on the socket, and may do the same."""
        self.use(tls=server_tls())
        for methods in ((), ("Test.*",)):
            upgrading = self.dial(ClientTLS(user_pair("bob", *methods)))
            visitor = self.move(upgrading)
            self.assertTrue(upgrading.client.is_gone)
            if methods:
                self.assertEqual(visitor.send(CALL), ANSWER)
            else:
                denied = b"access to method denied\n"
                self.assertEqual(visitor.send(b"Test.Check\n"), denied)
        self.assertEqual(self.callers, [("bob", True)])

    def test_one_after_the_other(self):
        """The socket is opened once, and each client has a cookie of its own."""
        self.assertEqual(self.socket.attempts, 0)
        visitors = [self.move(self.dial()) for _ in range(3)]
        self.assertEqual(self.socket.attempts, 1)
        for visitor in visitors:
            self.assertEqual(visitor.send(CALL), ANSWER)

    def test_before_the_data_is_there(self):
        """The move does not wait for what calls wait for."""
        self.use(started=False)
        visitor = self.move(self.dial())
        self.assertEqual(visitor.send(CALL), b"")
        self.server.start()
        visitor.link.pump()
        self.assertEqual(visitor.take(), ANSWER)

    def test_bytes_in_pieces(self):
        """It does not matter how the cookie arrives, nor whether calls follow early."""
        upgrading = self.dial()
        offer = upgrading.ask()
        visitor = self.visit()
        assert visitor is not None
        answers = [visitor.send(bytes((byte,))) for byte in offer.server_cookie]
        self.assertEqual(answers, [b""] * 7 + [b"\0"])
        self.assertEqual(visitor.send(CALL), b"")
        self.assertEqual(upgrading.arrived(), LocalUpgradeToUnixResponseTwo())
        visitor.link.pump()
        self.assertEqual(visitor.take(), COOKIE + ANSWER)

    def test_client_keeps_tcp_open(self):
        """The old connection ends in time even if its client does nothing for it."""
        upgrading = self.dial()
        visitor = self.arrive(upgrading.ask().server_cookie)
        upgrading.client.link.right.pauseProducing()
        request = LocalUpgradeToUnixRequestTwo(True)
        upgrading.client.send(upgrading.encoder.encode(request))
        visitor.link.pump()
        self.assertEqual(visitor.take(), COOKIE)
        self.assertFalse(upgrading.client.is_gone)
        self.wait(DEADLINES.stall_s + 0.1)
        self.assertTrue(upgrading.client.is_gone)
        self.assertEqual(visitor.send(CALL), ANSWER)


class Declining(UpgradeCase):
    """Reasons to go on with TCP."""

    def test_no_socket(self):
        """A server without one says so."""
        self.upgrade.attach(self.server, None)
        upgrading = self.dial()
        self.assertEqual(upgrading.ask(), NO_SOCKET)
        self.assertGoesOn(upgrading)

    def test_no_powers(self):
        """Who does not use powers may not, as with existing servers."""
        head = b"CONNECT /_goSRPC_/?doNotUseMethodPowers=true HTTP/1.0\n\n"
        client = self.dial(head=head).client
        self.assertEqual(client.send(UPGRADE), b"access to method denied\n")
        self.assertEqual(client.send(b"\n"), b"\n")

    def test_obstacles(self):
        """If the socket cannot be opened that is logged, and tried again next time."""
        for attempt, obstacle in enumerate(
            (
                OSError("no space"),
                ConfigError("something else"),
                CannotListenError(None, "x", OSError("no way")),
            )
        ):
            self.socket.obstacle = obstacle
            upgrading = self.dial()
            self.assertEqual(upgrading.ask(), NO_SOCKET)
            self.assertGoesOn(upgrading)
            self.assertEqual(self.socket.attempts, attempt + 1)
            self.assertIn("no Unix socket for local clients", self.lines[-1])
        self.socket.obstacle = None
        self.move(self.dial())

    def test_remote_client(self):
        """Whoever is not on this machine does not learn where the socket is."""
        upgrading = self.dial()
        elsewhere = IPv4Address("TCP", "192.0.2.2", 1)
        self.patch(upgrading.client.link.left, "getPeer", lambda: elsewhere)
        self.assertEqual(upgrading.ask(), NO_SOCKET)
        self.assertGoesOn(upgrading)
        self.assertEqual(self.socket.attempts, 0)

    def test_odd_cookie(self):
        """Nothing but 8 bytes is said on the socket in the client's name."""
        for cookie in (b"", COOKIE[1:], COOKIE + b"x"):
            upgrading = self.dial()
            self.assertEqual(upgrading.ask(cookie), NO_SOCKET)
            self.assertGoesOn(upgrading)

    def test_too_many_offers(self):
        """Cookies that wait for their clients are limited in number."""
        self.patch(local_upgrade, "_OFFERS", 2)
        waiting = [self.dial() for _ in range(2)]
        for upgrading in waiting:
            self.assertEqual(upgrading.ask().error, "")
        late = self.dial()
        self.assertEqual(late.ask(), NO_SOCKET)
        self.assertEqual(waiting[0].give_up(), b"")
        self.assertEqual(late.ask().error, "")

    def test_client_gives_up(self):
        """A client that cannot reach the socket says so, and goes on at once."""
        upgrading = self.dial()
        offer = upgrading.ask()
        self.assertEqual(upgrading.give_up(), b"")
        self.assertGoesOn(upgrading)
        self.assertTrue(self.arrive(offer.server_cookie).is_gone)

    def test_client_gives_up_on_the_way(self):
        """The same if it had been there: what it left is closed."""
        upgrading = self.dial()
        visitor = self.arrive(upgrading.ask().server_cookie)
        self.assertEqual(upgrading.give_up(), b"")
        visitor.link.pump()
        self.assertTrue(visitor.is_gone)
        self.assertGoesOn(upgrading)

    def test_nobody_came(self):
        """Without a connection on the socket there is nowhere to go."""
        upgrading = self.dial()
        upgrading.ask()
        self.assertEqual(upgrading.arrived(), NOT_FOUND)
        self.assertGoesOn(upgrading)

    def test_wrong_cookie(self):
        """The same if somebody came who does not know the cookie."""
        upgrading = self.dial()
        cookie = upgrading.ask().server_cookie
        for wrong in (bytes(8), cookie[::-1]):
            self.assertTrue(self.arrive(wrong).is_gone)
        self.assertEqual(upgrading.arrived(), NOT_FOUND)
        self.assertGoesOn(upgrading)

    def test_came_and_left(self):
        """The same if the connection is gone again."""
        upgrading = self.dial()
        self.arrive(upgrading.ask().server_cookie).vanish()
        self.assertEqual(upgrading.arrived(), NOT_FOUND)
        self.assertGoesOn(upgrading)

    def test_cookie_is_good_once(self):
        """A second connection with the same cookie is closed; the first one counts."""
        upgrading = self.dial()
        cookie = upgrading.ask().server_cookie
        first, second = self.arrive(cookie), self.arrive(cookie)
        self.assertTrue(second.is_gone)
        self.assertEqual(upgrading.arrived(), LocalUpgradeToUnixResponseTwo())
        first.link.pump()
        self.assertEqual(first.take(), COOKIE)
        self.assertTrue(self.arrive(cookie).is_gone)
        self.assertEqual(first.send(CALL), ANSWER)

    def test_cookie_expires(self):
        """Who takes too long goes on with TCP."""
        self.patch(local_upgrade, "_OFFER_S", 3)
        upgrading = self.dial()
        cookie = upgrading.ask().server_cookie
        visitor = self.arrive(cookie)
        self.wait(2.9)
        self.assertFalse(visitor.is_gone)
        self.wait(0.2)
        self.assertTrue(visitor.is_gone)
        self.assertTrue(self.arrive(cookie).is_gone)
        self.assertEqual(upgrading.arrived(), NOT_FOUND)
        self.assertGoesOn(upgrading)

    def test_too_many_connections(self):
        """A user who has as many connections as may be keeps this one."""
        self.use(tls=server_tls(), limits=ConnectionLimits(per_user=1))
        upgrading = self.dial(ClientTLS(user_pair("bob", "*.*")))
        visitor = self.arrive(upgrading.ask().server_cookie)
        answer = upgrading.arrived()
        self.assertEqual(answer.error, "too many connections")
        visitor.link.pump()
        self.assertTrue(visitor.is_gone)
        self.assertGoesOn(upgrading)


class Strangers(UpgradeCase):
    """Whoever comes to the socket without being led there."""

    def setUp(self) -> None:
        super().setUp()
        self.open()

    def open(self) -> None:
        """The socket is there, since somebody has asked for it."""
        upgrading = self.dial()
        upgrading.ask()
        upgrading.give_up()
        upgrading.client.vanish()

    def test_silence(self):
        """Whoever says nothing has to go in time; that is counted."""
        for said in (b"", b"7 bytes"):
            visitor = self.visit(said)
            assert visitor is not None
            self.wait(DEADLINES.first_byte_s - 0.1)
            self.assertFalse(visitor.is_gone)
            self.wait(0.2)
            self.assertTrue(visitor.is_gone)
        self.assertEqual(self.server.accounting.limits[Limit.FIRST_BYTE], 2)
        self.assertIn("from the Unix socket closed: first-byte-time", self.lines[-1])

    def test_gone_at_once(self):
        """Whoever goes without a word leaves nothing behind."""
        visitor = self.visit(b"7 bytes")
        assert visitor is not None
        visitor.vanish()
        self.assertEqual(self.server.gate.total, 0)

    def test_crowd(self):
        """A crowd makes room for itself, and for clients over TCP."""
        self.use(limits=ConnectionLimits(total=8, half_open=3))
        self.open()
        crowd = [self.visit() for _ in range(5)]
        self.assertEqual(self.server.gate.half_open, 3)
        self.wait(0)
        gone = [visitor.is_gone for visitor in crowd if visitor]
        self.assertEqual(gone, [True, True, False, False, False])
        self.assertGoesOn(self.dial())

    def test_full_house(self):
        """Where there is no room at all, nobody is let in."""
        self.use(limits=ConnectionLimits(total=1))
        self.open()
        upgrading = self.dial()
        self.assertIsNone(self.visit())
        self.assertGoesOn(upgrading)

    def test_files(self):
        """Whoever sends open files is thrown out, and the files are closed."""
        visitor = self.visit()
        assert visitor is not None
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        channel = visitor.link.left.protocol
        self.assertTrue(IFileDescriptorReceiver.providedBy(channel))
        channel.fileDescriptorReceived(writing)
        self.assertEqual(os.read(reading, 1), b"")
        visitor.link.pump()
        self.assertTrue(visitor.is_gone)

    def test_unexpected_error(self):
        """What is our own fault ends that connection only."""

        def fail(_: Any, __: Any) -> Any:
            raise ZeroDivisionError

        self.patch(local_upgrade.hmac, "compare_digest", fail)
        upgrading = self.dial()
        cookie = upgrading.ask().server_cookie
        visitor = self.visit(cookie)
        assert visitor is not None
        visitor.vanish()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(upgrading.arrived(), NOT_FOUND)


class Breaking(UpgradeCase):
    """Connections that end in the middle, and servers that do."""

    def begin(self) -> tuple[Upgrading, Client]:
        """A client that is on its way."""
        upgrading = self.dial()
        return upgrading, self.arrive(upgrading.ask().server_cookie)

    def stop(self) -> Deferred[None]:
        """The server stops, as the service does it."""

        async def stop() -> None:
            await self.upgrade.stop()
            await self.server.stop()

        stopping = Deferred.fromCoroutine(stop())
        self.wait(0)
        return stopping

    def test_tcp_breaks(self):
        """The connection on the socket goes with the one that it was for."""
        upgrading, visitor = self.begin()
        upgrading.client.vanish()
        visitor.link.pump()
        self.assertTrue(visitor.is_gone)

    def test_nonsense(self):
        """A client that says what is no value loses both connections."""
        upgrading, visitor = self.begin()
        upgrading.client.send(b"\xf8nonsense")
        visitor.link.pump()
        self.assertTrue(upgrading.client.is_gone)
        self.assertTrue(visitor.is_gone)

    def test_stop(self):
        """Everything ends with the server, at whatever stage."""
        moved = self.move(self.dial())
        self.begin()
        self.visit(b"abc")
        stopping = self.stop()
        self.wait(0)
        self.assertTrue(all(link.left.lost for link in self.links))
        self.assertIsNone(self.socket.factory)
        self.assertTrue(moved.is_gone)
        self.successResultOf(stopping)

    def test_no_socket_after_the_end(self):
        """A request that comes while the server stops opens no socket."""
        upgrading = self.dial()
        self.successResultOf(Deferred.fromCoroutine(self.upgrade.stop()))
        self.assertEqual(upgrading.ask(), NO_SOCKET)
        self.assertEqual(self.socket.attempts, 0)

    def test_stop_while_opening(self):
        """A socket that is being opened is closed as soon as it is there."""
        self.socket.gate = Deferred()
        upgrading = self.dial()
        upgrading.begin()
        request = LocalUpgradeToUnixRequestOne(COOKIE)
        upgrading.client.send(upgrading.encoder.encode(request))
        stopping = Deferred.fromCoroutine(self.upgrade.stop())
        self.assertNoResult(stopping)
        self.socket.gate.callback(None)
        self.successResultOf(stopping)
        self.assertIsNone(self.socket.factory)
        upgrading.client.link.pump()
        answer = upgrading.receive(upgrading.client.take(), type(NO_SOCKET))
        self.assertEqual(answer, NO_SOCKET)
        self.assertGoesOn(upgrading)
