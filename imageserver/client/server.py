"""A server, and how to reach it: where programs that use the API begin.

::

    async with Server(reactor, "imageserver.example") as server:
        for name in await server.images.list_images():
            ...

``docs/api.md`` has more, and :mod:`imageserver.client.blocking` is the same for
programs that do not use Twisted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs

from imageserver.client.credentials import load_key_pairs
from imageserver.client.image_catalog import ImageCatalog
from imageserver.client.object_server import ObjectServerClient
from imageserver.srpc.call import Call
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.dialling import CONNECT_TIMEOUT_S, Dialler
from imageserver.srpc.pool import ConnectionPool, PooledServer
from imageserver.srpc.proxy import parse_proxy
from imageserver.srpc.tls import ClientTLS, load_certificates
from imageserver.worker import PoolWorker

T = TypeVar("T")

PORT = 6971
_THREADS = 8


@attrs.frozen
class Access:
    """How to connect.

    Attributes:
        certificates: a directory with certificates and keys of ours, as
            :func:`~imageserver.client.credentials.load_key_pairs` reads it. Without
            any, calls are not secured.
        authorities: a file of CA certificates by which to verify the server; empty:
            it is not verified.
        proxy: goes between: ``socks5://HOST:PORT`` and so on; empty: nobody does.
        method_powers: whether to use what gives us power over methods.
        connect_timeout_s: how long connecting may take, and then CONNECT with the TLS
            handshake.
        handshake_timeout_s: how long a TLS handshake may take.
        keep_alive_s: how often idle connections are probed.
    """

    certificates: Path = attrs.field(factory=lambda: Path.home() / ".ssl")
    authorities: str = ""
    proxy: str = ""
    method_powers: bool = True
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    handshake_timeout_s: float = Deadlines().handshake_s
    keep_alive_s: float = Deadlines().keep_alive_s


class Server:
    """An imageserver; an asynchronous context manager.

    Calls that need a connection make one, use one again, or wait for one: any number
    of calls may go on at the same time.

    Attributes:
        host: its name or address.
        port: its port.
        images: its images: calls of ImageServer.
        objects: its objects: calls of ObjectServer.
        worker: threads for what blocks.
    """

    def __init__(
        self,
        reactor: Any,
        host: str = "localhost",
        port: int = PORT,
        access: Access | None = None,
        worker: PoolWorker | None = None,
    ) -> None:
        """Talk to the server at ``host`` and ``port``; nothing is done yet.

        Args:
            reactor: Twisted's.
            host: name or address.
            port: TCP port.
            access: how to connect.
            worker: threads to share; if left out, there are some of its own.
        """
        self.host = host
        self.port = port
        self._reactor = reactor
        self._access = access or Access()
        self._owns_worker = worker is None
        self.worker = worker or PoolWorker(reactor, "client", _THREADS)
        self._pool: ConnectionPool | None = None
        self.images = ImageCatalog(self)
        self.objects = ObjectServerClient(self, self.worker)

    async def connect(self) -> None:
        """See to it that there is a connection.

        Raises:
            CertificateError: our certificates cannot be used.
            ConnectionFailed: the server is not to be reached, or does not let us in.
        """
        await (await self._pooled()).connect()

    async def call(
        self, method: str, request: Any, response: type[T], patience_s: float = 0.0
    ) -> T:
        """Call any method. See :class:`~imageserver.srpc.client.Remote`.

        Raises:
            CertificateError: our certificates cannot be used.
            ConnectionFailed: the server is not to be reached.
            CallError: the server refuses.
            ProtocolError: the connection broke.
        """
        server = await self._pooled()
        return await server.call(method, request, response, patience_s)

    @asynccontextmanager
    async def begin(self, method: str) -> AsyncIterator[Call]:
        """Begin a call of any method. Raises what :meth:`call` does."""
        async with (await self._pooled()).begin(method) as call:
            yield call

    async def _pooled(self) -> PooledServer:
        if self._pool is None:
            if self._owns_worker and not self.worker.running:
                self.worker.startService()
            dialler = await self.worker.run(self._make_dialler)
            self._pool = self._pool or ConnectionPool(self._reactor, dialler.dial)
        return self._pool.server(self.host, self.port)

    def close(self, *, wait: bool = True) -> None:
        """End all connections, and the threads; ``wait`` for what they have begun."""
        if self._pool is not None:
            self._pool.close()
        if self._owns_worker and self.worker.running and wait:
            self.worker.stopService()

    def _make_dialler(self) -> Dialler:
        access = self._access
        pairs = load_key_pairs(access.certificates)
        authorities = None
        if access.authorities:
            authorities = load_certificates(Path(access.authorities))
        is_secured = bool(pairs) or authorities is not None
        return Dialler(
            self._reactor,
            self.worker,
            ClientTLS(pairs, authorities) if is_secured else None,
            Deadlines(
                handshake_s=access.handshake_timeout_s,
                keep_alive_s=access.keep_alive_s,
            ),
            access.connect_timeout_s,
            parse_proxy(access.proxy),
            access.method_powers,
        )

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
