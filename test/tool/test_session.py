"""How imagetool connects, over real sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from srpc.clients import ClientCase
from srpc.peers import YEAR, authority, server_tls
from srpc.proxies import SocksServer
from twisted.internet import reactor
from twisted.internet.protocol import Factory

from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.access import Caller
from imageserver.srpc.methods import Method
from imageserver.tool.imagetool_flags import FLAGS
from imageserver.tool.imagetool_session import ImageSession, open_session
from imageserver.tool.pair_files import write_pair
from imageserver.tool.session import DiallingFailed
from imageserver.tool.settings import Settings


class Connecting(ClientCase):
    """Sessions with a server."""

    def setUp(self) -> None:
        super().setUp()
        self.callers: list[Caller] = []

    async def check_image(self, caller: Caller, _: Any) -> CheckImageResponse:
        self.callers.append(caller)
        return CheckImageResponse(True)

    def serve(self, **options: Any) -> None:
        method = Method(
            "ImageServer",
            "CheckImage",
            public=True,
            request=CheckImageRequest,
            reply=self.check_image,
        )
        super().serve(method, **options)

    def session(self, *flags: str) -> ImageSession:
        """A session as the command line asks for it, with alice's certificate."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        directory = Path(temporary.name)
        pair = authority().issue("alice", YEAR, methods=["*.*"])
        write_pair(pair, directory / "cert.pem", directory / "key.pem")
        argv = [
            "-imageServerHostname=127.0.0.1",
            f"-imageServerPortNum={self.port.getHost().port}",
            f"-certDirectory={directory}",
            *flags,
        ]
        values = FLAGS.parse(argv).values
        session = open_session(reactor, FLAGS.decode(values, Settings))
        session.start()
        self.addCleanup(session.stop)
        return session

    async def test_one_connection(self):
        """Calls of all kinds share a connection."""
        self.serve(tls=server_tls())
        session = self.session()
        for _ in range(3):
            self.assertTrue(await (await session.images()).check_image("x"))
            await session.objects()
        self.assertEqual(self.server.accounting.connections, 1)
        self.assertEqual({caller.user for caller in self.callers}, {"alice"})

    async def test_no_powers(self):
        """With the flag, the server ignores what the certificate permits."""
        self.serve(tls=server_tls())
        for flags in ((), ("-srpcClientDoNotUseMethodPowers",)):
            session = self.session(*flags)
            self.assertTrue(await (await session.images()).check_image("x"))
        powers = [caller.has_method_access for caller in self.callers]
        self.assertEqual(powers, [True, False])

    async def test_proxy(self):
        """With the flag, everything goes by way of the proxy."""
        self.serve(tls=server_tls())
        asked: list[tuple[str, str]] = []
        kind = type("It", (SocksServer,), {"asked": asked})
        proxy = reactor.listenTCP(0, Factory.forProtocol(kind), interface="127.0.0.1")
        self.addCleanup(proxy.stopListening)
        where = f"socks5://127.0.0.1:{proxy.getHost().port}"
        session = self.session(f"-srpcProxy={where}")
        self.assertTrue(await (await session.images()).check_image("x"))
        self.assertEqual(asked, [("5", "127.0.0.1")])

    async def test_impatience(self):
        """With the flag, a silent server is given up sooner."""
        self.script(None)
        session = self.session("-srpcDefaultConnectTimeout=50ms")
        with self.assertRaisesRegex(DiallingFailed, r"no answer within 0\.05 s"):
            await session.images()

    async def test_not_there(self):
        """What is wrong is said in the known words."""
        self.script(b"")
        session = self.session()
        number = self.port.getHost().port
        await self.port.stopListening()
        self.port = None
        text = f"^Error dialing: 127.0.0.1:{number}: connection refused$"
        with self.assertRaisesRegex(DiallingFailed, text):
            await session.images()
