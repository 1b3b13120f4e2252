"""Moving to a Unix socket, as our client does it, over real sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from srpc.clients import REQUEST, ClientCase, Scripted, until
from srpc.peers import authority, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from imageserver.errors import ConnectionFailed, MethodDenied
from imageserver.model.image_messages import CheckImageResponse
from imageserver.srpc import dialling
from imageserver.srpc.accounting import PLAIN, TLS, UNIX
from imageserver.srpc.call import Call
from imageserver.srpc.client import Connection
from imageserver.srpc.local_upgrade import LocalUpgrade
from imageserver.srpc.messages import (
    LocalUpgradeToUnixRequestOne,
    LocalUpgradeToUnixRequestTwo,
    LocalUpgradeToUnixResponseOne,
    LocalUpgradeToUnixResponseTwo,
)
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import JSON, JSON_UNSECURED
from imageserver.srpc.tls import ClientTLS
from imageserver.srpc.unix_port import UnixPort
from imageserver.testing import InlineWorker


class OurServer(ClientCase):
    """A server that offers a Unix socket."""

    def open(self, name: str = "", **options: Any) -> None:
        upgrade = LocalUpgrade()
        self.serve(*upgrade.methods(), **options)
        name = name or f"@imageserver test {os.getpid()}"
        upgrade.attach(self.server, UnixPort(reactor, InlineWorker(), name))
        self.addCleanup(upgrade.stop)

    def carriers(self) -> list[str]:
        """What open connections run on."""
        ways = self.server.accounting.open_by_way
        return sorted(way.carrier for way, count in ways.items() if count)

    async def test_move(self):
        """Calls go over the socket, and nothing is left of TCP."""
        self.open()
        connection = await self.connect()
        await self.assertCalls(connection)
        await until(lambda: self.carriers() == [UNIX])
        self.assertEqual(self.server.accounting.open_raw, 1)

    async def test_path(self):
        """The same where the socket is a file."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.open(str(Path(directory.name) / "socket"))
        await self.assertCalls(await self.connect())
        await until(lambda: self.carriers() == [UNIX])

    async def test_identity(self):
        """Who we are is known on the socket, too."""
        self.open(tls=server_tls())
        trusting = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        await self.assertCalls(await self.connect(trusting))
        powerless = await self.connect(ClientTLS(user_pair()))
        with self.assertRaises(MethodDenied):
            await powerless.call("Test.Check", REQUEST, CheckImageResponse)
        await until(lambda: self.carriers() == [UNIX])

    async def test_json(self):
        """Values travel on the socket as they did on TCP."""
        self.patch(dialling, "_PLAIN", (JSON_UNSECURED,))
        self.open()
        await self.assertCalls(await self.connect())
        await until(lambda: self.carriers() == [UNIX])
        ways = self.server.accounting.by_way
        self.assertEqual({way.coder for way in ways}, {JSON})

    async def test_whole_tls(self):
        """The same where the server takes nothing but TLS."""
        self.open(tls=server_tls(), requires_tls=True)
        await self.assertCalls(await self.connect(ClientTLS(user_pair("a", "*.*"))))
        await until(lambda: self.carriers() == [UNIX])

    async def test_no_powers(self):
        """Who does not use powers stays on TCP."""
        self.open(tls=server_tls())
        tls = ClientTLS(user_pair("alice", "*.*"))
        await (await self.connect(tls, method_powers=False)).ping()
        self.assertEqual(self.carriers(), [TLS])


class OtherServers(ClientCase):
    """Servers that do it otherwise, or wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.offer = LocalUpgradeToUnixResponseOne("", b"8 bytes.", "@nothing there")
        self.second = LocalUpgradeToUnixResponseTwo()
        self.arrivals: list[bool] = []
        self.visitors: set[Any] = set()
        self.numbers = itertools.count()

    async def tearDown(self) -> None:
        await super().tearDown()
        await until(lambda: not self.visitors)

    async def upgrade(self, call: Call) -> None:
        request = await call.receive(LocalUpgradeToUnixRequestOne)
        self.assertEqual(len(request.client_cookie), 8)
        call.send(self.offer)
        await call.drain()
        if self.offer.error:
            return
        arrival = await call.receive(LocalUpgradeToUnixRequestTwo)
        self.arrivals.append(arrival.sent_server_cookie)
        if arrival.sent_server_cookie:
            call.send(self.second)

    async def connect(self, **options: Any) -> Connection:
        if self.port is None:
            self.serve(Method("", "LocalUpgradeToUnix", stream=self.upgrade))
        return await super().connect(**options)

    def listen(self, answer: bytes | None) -> None:
        """There is a socket that answers so."""
        name = f"@imageserver test {os.getpid()} {next(self.numbers)}"
        kind = type("It", (Scripted,), {"answer": answer, "open": self.visitors})
        address = "\0" + name[1:]
        port = reactor.listenUNIX(address, Factory.forProtocol(kind))
        self.addCleanup(port.stopListening)
        self.offer = LocalUpgradeToUnixResponseOne("", b"8 bytes.", name)

    async def assertGoesOn(self, arrivals: list[bool], **options: Any) -> None:
        """Calls go over TCP, as if nothing had been."""
        connection = await self.connect(**options)
        answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
        self.assertTrue(answer.image_exists)
        self.assertEqual(self.arrivals, arrivals)
        ways = self.server.accounting.open_by_way
        self.assertEqual([way.carrier for way in ways], [PLAIN])
        await until(lambda: not self.visitors)

    async def test_error(self):
        """A server that has no socket."""
        self.offer = LocalUpgradeToUnixResponseOne("anything at all")
        await self.assertGoesOn([])

    async def test_unknown_method(self):
        """A server that does not know the method."""
        self.serve()
        await self.assertGoesOn([])

    async def test_nothing_there(self):
        """A socket that is not there, or cannot be."""
        for number, name in enumerate(
            ("@nothing there", "/nonexistent/x", "relative", "", "@", "/" + "x" * 200)
        ):
            self.offer = LocalUpgradeToUnixResponseOne("", b"8 bytes.", name)
            await self.assertGoesOn([False] * (number + 1))

    async def test_odd_cookie(self):
        """We say nothing but 8 bytes to a socket in the server's name."""
        self.listen(b"\0")
        name = self.offer.socket_path_name
        self.offer = LocalUpgradeToUnixResponseOne("", b"GET / HTTP/1.0\n\n", name)
        await self.assertGoesOn([False])

    async def test_no_acknowledgement(self):
        """A socket that ends, or answers something else."""
        for number, answer in enumerate((b"", b"\1")):
            self.listen(answer)
            await self.assertGoesOn([False] * (number + 1))

    async def test_silent_socket(self):
        """A socket that answers nothing is given up in time."""
        self.listen(None)
        await self.assertGoesOn([False], connect_timeout_s=0.6)

    async def test_cookie_not_found(self):
        """A server that does not find us there."""
        self.listen(b"\0")
        self.second = LocalUpgradeToUnixResponseTwo("cookie not found")
        await self.assertGoesOn([True])

    async def test_no_cookie_back(self):
        """If TCP has been given up and the socket does not know us, that is an end."""
        for answer, text in (
            (b"\0", "EOF"),
            (b"\0half", "unexpected EOF"),
            (b"\0another.", "the Unix socket is not the server's"),
        ):
            self.listen(answer)
            with self.assertRaisesRegex(ConnectionFailed, f": {text}$"):
                await self.connect()
            await until(lambda: not self.visitors)
        await until(lambda: not self.server.accounting.open_connections)

    async def test_broken_off(self):
        """A server that breaks the connection off cannot be called any more."""

        async def fail(call: Call) -> None:
            await call.receive(LocalUpgradeToUnixRequestOne)
            call.write(b"\3\1\1\1")

        self.serve(Method("", "LocalUpgradeToUnix", stream=fail))
        with self.assertRaises(ConnectionFailed):
            await self.connect()
        await until(lambda: not self.server.accounting.open_connections)

    async def test_silent_server(self):
        """A server that says nothing to our wish is given up in time."""
        gate: Deferred[None] = Deferred()

        async def wait(call: Call) -> None:
            await gate

        self.serve(Method("", "LocalUpgradeToUnix", stream=wait))
        with self.assertRaisesRegex(ConnectionFailed, r"no answer within 0\.05 s$"):
            await self.connect(connect_timeout_s=0.05)
        gate.callback(None)
        await until(lambda: not self.server.accounting.open_connections)

    async def test_cancelled(self):
        """Dialling that is given up on the way leaves nothing open."""
        self.listen(None)
        dialling = Deferred.fromCoroutine(self.connect())
        await until(lambda: self.visitors)
        await deferLater(reactor, 0)
        dialling.cancel()
        with self.assertRaises(CancelledError):
            await dialling
        await until(lambda: not self.server.accounting.open_connections)
