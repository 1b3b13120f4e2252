"""One run of a tool: its settings, its servers, its threads, its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from imageserver.client.image_catalog import ImageCatalog
from imageserver.client.object_server import ObjectServerClient
from imageserver.client.server import Access, Server
from imageserver.errors import ImageServerError
from imageserver.flags import SECOND
from imageserver.tool.settings import Connecting
from imageserver.tool.talk import Talk
from imageserver.worker import PoolWorker

S = TypeVar("S", bound=Connecting)

_THREADS = 8


class DiallingFailed(ImageServerError):
    """There is no connection to the server."""


class Session(Generic[S]):
    """What a command works with.

    Attributes:
        reactor: runs it.
        settings: what the user wants.
        talk: tells the user something.
        worker: does what blocks.
        interrupted: whether the user does not want to wait for it any more.
    """

    def __init__(
        self, reactor: Any, settings: S, host: str, port: int, master: str = ""
    ) -> None:
        """Work with the server at ``host`` and ``port``.

        Args:
            reactor: runs it.
            settings: what the user wants.
            host: the server.
            port: its port.
            master: the server for changes, at the same port; empty: the same.
        """
        self.reactor = reactor
        self.settings = settings
        self.talk = Talk(settings)
        self.worker = PoolWorker(reactor, "tool", _THREADS)
        self.interrupted = False
        access = access_of(settings)
        self._server = Server(reactor, host, port, access, self.worker)
        self._master = self._server
        if master:
            self._master = Server(reactor, master, port, access, self.worker)

    async def server(self) -> Server:
        """The server, connected.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return await _connected(self._server)

    async def master(self) -> Server:
        """The server for changes, connected.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return await _connected(self._master)

    async def images(self) -> ImageCatalog:
        """The images of the server.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return (await self.server()).images

    async def objects(self) -> ObjectServerClient:
        """The objects of the server.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return (await self.server()).objects

    def debug(self, text: str) -> None:
        """Tell something to those who asked for more."""
        if self.settings.log_debug_level >= 0:
            self.talk.log(text)

    def start(self) -> None:
        """Begin."""
        self.worker.startService()

    def stop(self) -> None:
        """End the connections and the threads."""
        for server in (self._server, self._master):
            server.close()
        if not self.interrupted:
            self.worker.stopService()

    def blocking(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run something that blocks in a thread."""
        return self.worker.run(function, *args, **kwargs)


async def _connected(server: Server) -> Server:
    try:
        await server.connect()
    except ImageServerError as error:
        raise DiallingFailed(f"Error dialing: {error}") from error
    return server


def access_of(settings: Connecting) -> Access:
    """How the flags say to connect."""
    directory = settings.cert_directory or str(Path.home() / ".ssl")
    return Access(
        Path(directory),
        settings.server_ca_file,
        settings.srpc_proxy,
        not settings.srpc_client_do_not_use_method_powers,
        settings.srpc_default_connect_timeout / SECOND,
        settings.srpc_default_tls_handshake_timeout / SECOND,
        settings.srpc_default_keep_alive_period / SECOND,
    )
