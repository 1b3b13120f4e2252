"""Reaching servers by way of a proxy, over real sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

import pytest
from srpc.clients import DEADLINES, ClientCase, Scripted, until
from srpc.peers import authority, make_server, server_tls, user_pair
from srpc.proxies import PROXY_METHOD, SocksServer
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Factory
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver.errors import ConfigError, ConnectionFailed
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.proxy import parse_proxy
from imageserver.srpc.tls import ClientTLS
from imageserver.testing import InlineWorker

GRANTED = b"\0\x5a" + bytes(6)


class ProxyCase(ClientCase):
    """A server, and a proxy in front of it."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy_port: Any = None
        self.proxy: Any = None
        self.asked: list[tuple[str, str]] = []

    async def tearDown(self) -> None:
        await super().tearDown()
        await self.close_proxy()

    def serve(self, *args: Any, **options: Any) -> None:
        super().serve(*args, **options)
        self.number = self.port.getHost().port

    def listen(self, factory: Factory) -> None:
        """The proxy is a port of that kind."""
        self.proxy_port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.proxy_number = self.proxy_port.getHost().port

    async def close_proxy(self) -> None:
        """The proxy is there no more."""
        proxy_port, self.proxy_port = self.proxy_port, None
        if proxy_port is not None:
            await proxy_port.stopListening()
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            await proxy.stop()

    async def close_server(self) -> None:
        """Nor is the server."""
        port, self.port = self.port, None
        await port.stopListening()
        await self.server.stop()

    async def reach(
        self, scheme: str, host: str, tls: ClientTLS | None = None, **options: Any
    ) -> Connection:
        """Connect to the server, by the name ``host``, by way of the proxy."""
        proxy = parse_proxy(f"{scheme}://127.0.0.1:{self.proxy_number}")
        dialler = Dialler(
            reactor, InlineWorker(), tls, DEADLINES, proxy=proxy, **options
        )
        connection = await dialler.dial(host, self.number)
        self.connections.append(connection)
        return connection

    async def assertUnreachable(self, text: str, *args: Any, **options: Any) -> None:
        with self.assertRaises(ConnectionFailed) as caught:
            await self.reach(*args, **options)
        where = f"proxy 127.0.0.1:{self.proxy_number}: "
        _, found, reason = str(caught.exception).partition(where)
        self.assertEqual((found, reason), (where, text))


class Socks(ProxyCase):
    """Proxies that speak SOCKS."""

    def open(self) -> None:
        kind = type("It", (SocksServer,), {"asked": self.asked})
        self.listen(Factory.forProtocol(kind))

    def say(self, *answers: bytes | None) -> None:
        """A proxy that gives these answers, and ends; with ``None`` it says nothing."""
        coming = iter(answers)

        class Answering(Scripted):
            open = self.peers

            def dataReceived(self, data: bytes) -> None:
                answer = next(coming, b"")
                if answer is not None:
                    self.transport.write(answer)
                    if len(answer) != 2:
                        self.transport.loseConnection()

        self.listen(Factory.forProtocol(Answering))

    async def test_kinds(self):
        """Each kind is spoken, with names and addresses; the server is asked there."""
        self.serve()
        self.open()
        for scheme, host, asked in (
            ("socks", "images.invalid", ("4a", "images.invalid")),
            ("socks4a", "images.invalid", ("4a", "images.invalid")),
            ("socks4a", "192.0.2.1", ("4", "192.0.2.1")),
            ("socks4", "127.0.0.1", ("4", "127.0.0.1")),
            ("socks4", "localhost", ("4", "127.0.0.1")),
            ("socks5", "images.invalid", ("5", "images.invalid")),
            ("socks5", "192.0.2.1", ("5", "192.0.2.1")),
            ("socks5", "2001:db8::1", ("5", "2001:db8::1")),
        ):
            await self.assertCalls(await self.reach(scheme, host))
            self.assertEqual(self.asked.pop(), asked)

    async def test_tls(self):
        """TLS goes through to the server, whose name is the one that was asked for."""
        self.serve(tls=server_tls())
        self.open()
        tls = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        await self.assertCalls(await self.reach("socks5", "localhost", tls))
        with self.assertRaisesRegex(ConnectionFailed, "is not for images.invalid"):
            await self.reach("socks5", "images.invalid", tls)

    async def test_whole_tls(self):
        """A server that wants nothing but TLS is found behind a proxy, too."""
        self.serve(tls=server_tls(), requires_tls=True)
        self.open()
        tls = ClientTLS(user_pair("alice", "*.*"))
        await self.assertCalls(await self.reach("socks", "images.invalid", tls))
        self.assertEqual(len(self.asked), 2)

    async def test_no_move(self):
        """Behind a proxy nobody is on the same machine."""
        self.serve()
        self.open()
        await self.reach("socks4", "127.0.0.1")
        await until(lambda: self.server.accounting.open_connections)
        self.assertEqual(self.server.accounting.calls, 0)

    async def test_refusals(self):
        """What the proxy says is passed on to the user."""
        self.serve()
        for scheme, answers, text in (
            ("socks4", [b"\0\x5b" + bytes(6)], "request rejected"),
            ("socks4", [b"\0\x5c" + bytes(6)], "no identd on the client"),
            ("socks4", [b"\0\x5d" + bytes(6)], "user not confirmed"),
            ("socks4", [b"\0\x01" + bytes(6)], "refused, code 1"),
            ("socks4", [b"\5\0" + bytes(6)], "the proxy does not speak SOCKS 4"),
            ("socks4", [GRANTED[:-1]], "unexpected EOF"),
            ("socks4", [b""], "EOF"),
            ("socks5", [b"\4\0"], "the proxy does not speak SOCKS 5"),
            ("socks5", [b"\5\xff"], "the proxy wants authentication"),
            ("socks5", [b"\5\0", b"\4\0\0\1"], "the proxy does not speak SOCKS 5"),
            ("socks5", [b"\5\0", b"\5\1\0\1"], "general failure"),
            ("socks5", [b"\5\0", b"\5\4\0\1"], "no route to host"),
            ("socks5", [b"\5\0", b"\5\5\0\1"], "connection refused"),
            ("socks5", [b"\5\0", b"\5\x63\0\1"], "refused, code 99"),
            (
                "socks5",
                [b"\5\0", b"\5\0\0\2"],
                "the proxy answers with an unknown address",
            ),
            ("socks5", [b"\5\0", b"\5\0\0\3\xff"], "EOF"),
            ("socks5", [b"\5\0", b""], "EOF"),
        ):
            self.say(*answers)
            await self.assertUnreachable(text, scheme, "127.0.0.1")
            await self.close_proxy()

    async def test_names(self):
        """What cannot be asked for is not asked for."""
        self.serve()
        self.open()
        for scheme, host, text in (
            ("socks4a", "::1", "SOCKS 4 has no IPv6"),
            ("socks4a", "", "not a name: ''"),
            ("socks4a", "a\0b", "not a name: 'a\\x00b'"),
            ("socks5", "x" * 256, f"not a name: {'x' * 256!r}"),
            ("socks5", "\xe9", "not a name: 'é'"),
        ):
            await self.assertUnreachable(text, scheme, host)
        self.assertEqual(self.asked, [])

    async def test_unknown_name(self):
        """Plain SOCKS 4 wants an address, which there has to be."""
        self.serve()
        self.open()
        self.patch(reactor, "resolve", lambda host: fail(DNSLookupError(host)))
        text = "no IPv4 address of images.invalid"
        await self.assertUnreachable(text, "socks4", "images.invalid")

    async def test_nobody_there(self):
        """A proxy that is not there is told from a server that is not."""
        self.serve()
        self.open()
        await self.close_proxy()
        await self.assertUnreachable("connection refused", "socks5", "images")

    async def test_silence(self):
        """A proxy that says nothing is given up in time, and when we do not want to."""
        self.serve()
        self.say(*[None] * 4)
        for scheme in ("socks", "socks4", "socks5"):
            text = "no answer within 0.05 s"
            await self.assertUnreachable(
                text, scheme, "127.0.0.1", connect_timeout_s=0.05
            )
        reaching = Deferred.fromCoroutine(self.reach("socks", "127.0.0.1"))
        await until(lambda: self.peers)
        reaching.cancel()
        with self.assertRaises(CancelledError):
            await reaching
        await until(lambda: not self.peers)


class Srpc(ProxyCase):
    """Servers that connect their callers with others."""

    def open(self, **options: Any) -> None:
        methods = [] if options.pop("without", False) else [PROXY_METHOD]
        self.proxy = make_server(reactor, methods, deadlines=DEADLINES, **options)
        self.listen(FrontDoorFactory(self.proxy, Site(Resource())))

    async def test_plain(self):
        """Calls go through; at the end both connections end."""
        self.serve()
        self.open()
        connection = await self.reach("srpc", "127.0.0.1")
        await self.assertCalls(connection)
        connection.close()
        await until(lambda: not self.server.accounting.open_connections)
        await until(lambda: not self.proxy.accounting.open_connections)

    async def test_tls_in_tls(self):
        """Both the proxy and the server know who we are."""
        self.serve(tls=server_tls())
        self.open(tls=server_tls())
        tls = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        connection = await self.reach("srpc", "127.0.0.1", tls)
        await self.assertCalls(connection)
        self.assertEqual(connection.closed, False)
        await self.close_server()
        await until(lambda: connection.closed)

    async def test_whole_tls(self):
        """The same where both take nothing but TLS."""
        self.serve(tls=server_tls(), requires_tls=True)
        self.open(tls=server_tls(), requires_tls=True)
        tls = ClientTLS(user_pair("alice", "*.*"))
        await self.assertCalls(await self.reach("srpc", "127.0.0.1", tls))

    async def test_refusals(self):
        """What the proxy says is passed on to the user."""
        self.serve()
        self.open()
        text = "no such host: [::1]"
        await self.assertUnreachable(text, "srpc", "::1")
        await self.close_proxy()
        self.open(without=True)
        await self.assertUnreachable("unknown service: Proxy", "srpc", "127.0.0.1")
        await until(lambda: not self.proxy.accounting.open_connections)

    async def test_breaking_off(self):
        """A proxy that breaks off is no way to the server."""
        self.serve()
        await self.close_server()
        self.open()
        await self.assertUnreachable("EOF", "srpc", "127.0.0.1")
        self.assertEqual(len(self.flushLoggedErrors()), 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://host:1",
        "socks://host",
        "socks://:1080",
        "socks5://host:99999",
        "socks5://host:port",
        "socks5://user:password@host:1080",
        "srpc://host:1/path",
        "host:1080",
        "socks5://[::1:1080",
    ],
)
def test_bad_urls(url: str) -> None:
    """What is no proxy is an error that names it, before anything is dialled."""
    with pytest.raises(ConfigError, match="proxy: "):
        parse_proxy(url)


def test_no_proxy() -> None:
    """No URL is no proxy."""
    assert parse_proxy("") is None
