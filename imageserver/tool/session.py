"""One run of a tool: its settings, its connections, its threads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from imageserver.client.credentials import load_key_pairs
from imageserver.client.image_server import ImageServerClient
from imageserver.client.object_server import ObjectServerClient
from imageserver.errors import ImageServerError
from imageserver.flags import SECOND
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.pool import ConnectionPool, PooledServer
from imageserver.srpc.proxy import parse_proxy
from imageserver.srpc.tls import ClientTLS, load_certificates
from imageserver.worker import PoolWorker

_THREADS = 4


@attrs.frozen
class Settings:
    """The values of the flags. Durations in nanoseconds."""

    image_server_hostname: str
    image_server_port_num: int
    cert_directory: str
    server_ca_file: str
    expires_in: int
    required_paths: str
    skip_fields: str
    ignore_expiring: bool
    build_commit_id: str
    timeout: int
    log_debug_level: int
    srpc_client_do_not_use_method_powers: bool
    srpc_default_connect_timeout: int
    srpc_default_keep_alive_period: int
    srpc_default_tls_handshake_timeout: int
    srpc_proxy: str


class DiallingFailed(ImageServerError):
    """There is no connection to the server."""


class Session:
    """What a sub-command works with.

    Attributes:
        reactor: runs it.
        settings: what the user wants.
        worker: does what blocks.
        interrupted: whether the user does not want to wait for it any more.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self.reactor = reactor
        self.settings = settings
        self.worker = PoolWorker(reactor, "imagetool", _THREADS)
        self.interrupted = False
        self._pool: ConnectionPool | None = None

    async def images(self) -> ImageServerClient:
        """The images of the server.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return ImageServerClient(await self._connect())

    async def objects(self) -> ObjectServerClient:
        """The objects of the server.

        Raises:
            DiallingFailed: it cannot be reached, or does not let us in.
        """
        return ObjectServerClient(await self._connect(), self.worker)

    def debug(self, text: str) -> None:
        """Tell something to those who asked for more."""
        if self.settings.log_debug_level >= 0:
            print(text, file=sys.stderr)

    async def _connect(self) -> PooledServer:
        settings = self.settings
        try:
            if self._pool is None:
                dialler = await self.blocking(self._make_dialler)
                self._pool = ConnectionPool(self.reactor, dialler.dial)
            server = self._pool.server(
                settings.image_server_hostname, settings.image_server_port_num
            )
            await server.connect()
        except ImageServerError as error:
            raise DiallingFailed(f"Error dialing: {error}") from error
        return server

    def _make_dialler(self) -> Dialler:
        settings = self.settings
        directory = settings.cert_directory or str(Path.home() / ".ssl")
        pairs = load_key_pairs(Path(directory))
        authorities = None
        if settings.server_ca_file:
            authorities = load_certificates(Path(settings.server_ca_file))
        is_secured = bool(pairs) or authorities is not None
        return Dialler(
            self.reactor,
            self.worker,
            ClientTLS(pairs, authorities) if is_secured else None,
            Deadlines(
                handshake_s=settings.srpc_default_tls_handshake_timeout / SECOND,
                keep_alive_s=settings.srpc_default_keep_alive_period / SECOND,
            ),
            settings.srpc_default_connect_timeout / SECOND,
            parse_proxy(settings.srpc_proxy),
            not settings.srpc_client_do_not_use_method_powers,
        )

    def start(self) -> None:
        """Begin."""
        self.worker.startService()

    def stop(self) -> None:
        """End the connections and the threads."""
        if self._pool is not None:
            self._pool.close()
        if not self.interrupted:
            self.worker.stopService()

    def blocking(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run something that blocks in a thread."""
        return self.worker.run(function, *args, **kwargs)
