"""The composition root: everything that the daemon consists of.

One ``MultiService`` whose children are the pools of threads; the port, the stores and
what goes on in the background start after them and stop before them, so that every
call finds everything in place until it has ended.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger, globalLogPublisher

from imageserver.audit import AuditLog
from imageserver.config import Settings, refuse_reference
from imageserver.disk import Disk, lock_directory
from imageserver.errors import ConfigError, StoreError
from imageserver.following import Following, Workers
from imageserver.listening import adopt, bind
from imageserver.log import Log
from imageserver.log_buffer import LogBuffer
from imageserver.log_files import LogFiles
from imageserver.offer import make_offer
from imageserver.page_service import Shown, make_pages
from imageserver.rpc.auditing import audited
from imageserver.rpc.readiness import Readiness
from imageserver.srpc.access import Policy
from imageserver.srpc.credential_files import Credentials
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.methods import Method, MethodTable
from imageserver.srpc.metric import MetricRegistry
from imageserver.srpc.server import CallServer
from imageserver.srpc.unix_port import UnixPort
from imageserver.stores import make_stores
from imageserver.supervision import Supervisor
from imageserver.web.web_service import WebService
from imageserver.worker import PoolWorker

_DISK_THREADS = 8
_METADATA_THREADS = 4
_CPU_THREADS = 1
_PAGES_THREADS = 1
_BROWSING_THREADS = 1
_BACKGROUND_THREADS = 1
_SERVING = "serving"
_CONNECT_S = 15.0
_IDLE_S = 30


class ImageServer(MultiService):
    """The daemon as a service.

    Attributes:
        ports: what the server listens on, once it does.
        credentials: our certificate, and whom we trust.
        stores: what it keeps.
        metrics: what is measured.
        log_files: gives the files of the log, if there are any.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        drop_privileges: Callable[[], None],
        failed: Callable[[Exception], None],
        supervisor: Supervisor,
        inherited: Sequence[int] = (),
        log_files: Callable[[], LogFiles | None] = lambda: None,
    ) -> None:
        """Put everything together; nothing is started yet.

        Args:
            reactor: runs it.
            settings: how it is to be.
            drop_privileges: called when the port is bound and certificates are read,
                before any data is touched.
            failed: told if the data cannot be loaded.
            supervisor: told when we are ready, and when we stop.
            inherited: sockets to listen on, instead of a port of our own.
            log_files: gives the files of the log, if there are any.

        Raises:
            CertificateError: the certificates cannot be used.
            ConfigError: the settings contradict each other.
        """
        super().__init__()
        self.ports: list[IListeningPort] = []
        self._supervisor = supervisor
        self._inherited = inherited
        self.log_files = log_files
        self._reactor = reactor
        self._settings = settings
        self._drop_privileges = drop_privileges
        self._failed = failed
        self._make_pools()
        self._watched_log = Log(
            reactor.callFromThread, settings.initial_log_debug_level
        )
        self._log_buffer = LogBuffer(settings.logbuf_lines)
        supervisor.setServiceParent(self)
        self.stores = make_stores(reactor, settings, self._metadata, self._background)
        self._readiness = Readiness(self.stores.loading, self._background)
        self.credentials = CredentialWatch(
            reactor, self._metadata, settings.credential_files, self._use
        )
        self.credentials.setServiceParent(self)
        self._insecure = self.credentials.current.server_tls is None
        if self._insecure and settings.require_tls:
            raise ConfigError("there is no TLS in insecure mode: leave -requireTLS out")
        self._offer = make_offer(
            reactor, settings, self.stores, self._workers, self._watched_log
        )
        self._audit_log = AuditLog(settings.audit_path, Disk(), time.time_ns)
        self.following: Following | None = None
        if settings.replication_master:
            self.following = self._make_following()
        self._server = self._make_server()
        self.metrics = self._make_metrics()
        self._startup: Deferred[None] | None = None
        self._web: WebService | None = None
        self._is_ready = False
        self._locks: list[int] = []

    def _make_pools(self) -> None:
        self._disk = self._add_pool("disk", _DISK_THREADS)
        self._metadata = self._add_pool("metadata", _METADATA_THREADS)
        self._cpu = self._add_pool("cpu", _CPU_THREADS)
        # Anybody may ask for pages: they must not keep calls waiting.
        self._pages = self._add_pool("pages", _PAGES_THREADS)
        self._browsing = self._add_pool("browsing", _BROWSING_THREADS)
        self._background = self._add_pool("background", _BACKGROUND_THREADS)
        self._workers = Workers(self._disk, self._metadata, self._cpu, self._background)

    def _add_pool(self, name: str, threads: int) -> PoolWorker:
        pool = PoolWorker(self._reactor, name, threads)
        pool.setServiceParent(self)
        return pool

    def _make_following(self) -> Following:
        return Following(
            self._reactor,
            self._settings,
            self.credentials,
            self.stores.database,
            self.stores.objects,
            self.stores.index,
            self.stores.missing,
            self._workers,
            self._audit_log,
        )

    def _make_server(self) -> CallServer:
        settings = self._settings
        offered: Iterable[Method] = self._offer.methods
        if self.following is not None:
            self.following.pass_on(self._offer.object_service)
            offered = self.following.gate(offered)
        written = audited(offered, self._audit_log, self._metadata)
        methods = MethodTable(self._readiness.gate(written))
        policy = Policy(
            insecure=self._insecure,
            trusted_users=frozenset(settings.srpc_trusted_users),
            trusted_groups=frozenset(settings.srpc_trusted_groups),
        )
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return CallServer(
            self._reactor,
            methods,
            policy,
            self.credentials.current.server_tls,
            self._cpu,
            settings.deadlines,
            lengths=settings.lengths,
            limits=settings.connection_limits(descriptors),
            requires_tls=settings.require_tls,
        )

    def _make_metrics(self) -> MetricRegistry:
        metrics = MetricRegistry()
        metrics.add(self._server.accounting.metrics)
        metrics.add(self.credentials.metrics)
        if self.following is not None:
            metrics.add(self.following.metrics)
        return metrics

    def _use(self, credentials: Credentials) -> None:
        """Secure new connections with these."""
        self._server.tls = credentials.server_tls

    def privilegedStartService(self) -> None:
        """Bind the port, before anything slow is done.

        Raises:
            ConfigError: the port is not to be had.
        """
        super().privilegedStartService()
        name = self._settings.unix_socket(os.getpid())  # that of the process that stays
        self._offer.local_upgrade.attach(
            self._server,
            UnixPort(self._reactor, self._metadata, name) if name else None,
        )
        self._web = self._make_pages()
        self._listen(FrontDoorFactory(self._server, self._web.site))

    def _make_pages(self) -> WebService:
        web = make_pages(  # their service ends before the pools of threads do
            self._reactor,
            self._settings,
            Shown(
                stores=self.stores,
                object_service=self._offer.object_service,
                server=self._server,
                credentials=self.credentials,
                metrics=self.metrics,
                log_buffer=self._log_buffer,
                log_files=self.log_files,
                following=self.following,
            ),
            self._pages,
            self._browsing,
            self._background,
        )
        web.setServiceParent(self)
        return web

    def _listen(self, factory: FrontDoorFactory) -> None:
        settings = self._settings
        if self._inherited:
            self.ports = adopt(self._reactor, self._inherited, factory)
        else:
            self.ports.append(
                bind(self._reactor, settings.port_num, settings.listen_address, factory)
            )
        for port in self.ports:
            address: Any = port.getHost()
            self._log.info(
                "listening on {host} port {port}, for up to {total} connections",
                host=address.host,
                port=address.port,
                total=self._server.gate.limits.total,
            )

    def startService(self) -> None:
        """Open the stores, and begin to load.

        Raises:
            ConfigError: the data directories cannot be used.
        """
        self._drop_privileges()
        settings = self._settings
        globalLogPublisher.addObserver(self._watched_log)
        globalLogPublisher.addObserver(self._log_buffer)
        directories = {Path(settings.image_dir), Path(settings.object_dir)}
        for directory in sorted(directories):
            self._locks.append(lock_directory(directory))
        refuse_reference(directories)
        if self._insecure:
            self._log.warn(
                "*** insecure mode: everybody who can connect may do everything ***"
            )
        for name in settings.unused:
            self._log.info("-{name} has no effect in this server", name=name)
        self.stores.open()
        super().startService()
        self._startup = Deferred.fromCoroutine(self._start_up())

    def stopService(self) -> Deferred[None]:
        """Stop: no new connections, no calls, no background work; then the rest."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._supervisor.stopping()
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        await self._offer.local_upgrade.stop()
        self.stores.collection.stop()  # a call may wait for it
        self.stores.loading.stop()
        self._readiness.stop()
        if self.following is not None:
            await self.following.stop()
        await self._server.stop()
        if self._startup is not None:
            self.running = 0
            await self._startup
        await self.stores.upkeep.stop()
        if self._web is not None:
            await maybeDeferred(self._web.disownServiceParent)
        await self._offer.downloads.closeCachedConnections()
        await maybeDeferred(super().stopService)
        self.stores.index.close()
        while self._locks:
            os.close(self._locks.pop())
        self._log.info("stopped")
        globalLogPublisher.removeObserver(self._watched_log)
        globalLogPublisher.removeObserver(self._log_buffer)

    async def reload(self) -> None:
        """Read the files again that may have been changed by hand."""
        self._supervisor.reloading()
        await self.credentials.reload()
        if self.following is not None:
            await self.following.reload()
        self._supervisor.ready(_SERVING)

    async def _start_up(self) -> None:
        try:
            await self._load()
        except Exception as error:
            self._log.failure("loading failed")
            self._failed(error)

    async def _load(self) -> None:
        """Load the images; calls and the background work begin before the last one."""
        try:
            await self._load_images()
        except StoreError:
            if not await self._metadata.run(self.stores.index.rebuild_if_damaged):
                raise
            await self._load_images()

    async def _load_images(self) -> None:
        loading = self.stores.loading
        await self._metadata.run(self.stores.missing.resume)
        await self._metadata.run(loading.begin)
        if not self.running:
            return
        if not self._is_ready:
            self._is_ready = True
            self._server.start()
            self.stores.upkeep.start()
            self._log.info(
                "ready, but for {pending} images to read", pending=len(loading.pending)
            )
            self._supervisor.ready(_SERVING)
        for name in tuple(loading.pending):
            await self._background.run(loading.load, name)
            if not self.running:
                return
        await self._metadata.run(loading.finish)
        self._readiness.complete()
        if self.following is not None:
            self.following.start()
