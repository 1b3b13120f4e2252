"""The part of the composition root that follows a master."""

from __future__ import annotations

import datetime
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from imageserver.audit import AuditLog, Entry
from imageserver.config import Settings
from imageserver.errors import ConfigError, ConnectionFailed
from imageserver.flags import SECOND
from imageserver.images.database import ImageDatabase
from imageserver.images.missing import MissingObjects
from imageserver.images.replica import ReplicaImages
from imageserver.index.base import UpkeepIndex
from imageserver.objects.salvage import salvage
from imageserver.objects.store import ObjectStore
from imageserver.replication.bandwidth import Throttle
from imageserver.replication.forward import Forwarder
from imageserver.replication.image_scrub import ImageScrub
from imageserver.replication.replicator import Replicator
from imageserver.replication.session import Surroundings
from imageserver.replication.state import replication_metrics
from imageserver.rpc.object_server import ObjectService
from imageserver.rpc.replica import ReplicaMethods
from imageserver.srpc.client import Connection
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.methods import Method
from imageserver.srpc.metric import Metric
from imageserver.srpc.proxy import parse_proxy
from imageserver.srpc.tls import ClientTLS, load_certificates
from imageserver.worker import Worker

_MASTER = "replication master"
_PATIENCE_S = 120.0
_KEEP_ALIVE_S = 15.0
_REPAIRED_AT_ONCE = 10_000
_LOOK_S = 1.0


@attrs.frozen
class Workers:
    """Who does what blocks."""

    disk: Worker
    metadata: Worker
    cpu: Worker
    background: Worker


class Following:
    """What a replica has more than other servers.

    Attributes:
        replicator: follows the master.
        state: how that went a second ago at most; for any thread.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        credentials: CredentialWatch,
        database: ImageDatabase,
        objects: ObjectStore,
        index: UpkeepIndex,
        missing: MissingObjects,
        workers: Workers,
        audit_log: AuditLog,
    ) -> None:
        """Put it together; nothing is started yet.

        Raises:
            ConfigError: the settings contradict each other.
            CertificateError: the CA certificates for the master cannot be used.
        """
        self._reactor = reactor
        self._settings = settings
        self._credentials = credentials
        self._database = database
        self._index = index
        self._missing = missing
        self._workers = workers
        self._audit_log = audit_log
        self._objects = objects
        self._starting: Deferred[None] | None = None
        self._repairing: Deferred[None] | None = None
        self._proxy = parse_proxy(settings.srpc_proxy)
        self._authorities = None
        if settings.image_server_ca_file:
            self._authorities = load_certificates(Path(settings.image_server_ca_file))
        host, port = settings.image_server_hostname, settings.image_server_port_num
        around = Surroundings(
            reactor,
            self._dial,
            host,
            port,
            ReplicaImages(database, self._write_down),
            objects,
            workers.disk,
            workers.metadata,
            settings.read_rules(),
            settings.replication_streams,
            Throttle(settings.replication_schedule, reactor.seconds, second_of_day),
            random.random,
        )
        self.replicator = Replicator(around, secrets.token_hex(16))
        self.state = self.replicator.state()
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._scrub = ImageScrub(
            reactor,
            database,
            workers.background,
            settings.scrub_rate,
            settings.scrub_interval / SECOND,
            self.replicator.bring_again,
        )
        self._scrubbing: Deferred[None] | None = None
        self._forwarder = Forwarder(
            reactor, self._dial, host, port, objects, workers.disk
        )
        missing.restore = self._restore

    @property
    def role(self) -> str:
        """What this server is."""
        kind = "archive" if self._settings.archive_mode else "replica"
        return f"{kind} of {self.replicator.address}"

    def metrics(self) -> Iterator[Metric]:
        """How it goes, in numbers."""
        return replication_metrics(self.state)

    def gate(self, methods: Iterable[Method]) -> Iterable[Method]:
        """The methods of a server, as a replica has them."""
        replica = ReplicaMethods(
            self.replicator,
            self._forwarder,
            self._database,
            self._workers.metadata,
            on_demand=self._settings.replication_on_demand,
        )
        return replica.gate(methods)

    def pass_on(self, service: ObjectService) -> None:
        """Let the master have all objects that are added."""
        service.begin_passing_on = lambda: self._forwarder.begin_objects().pass_on

    async def _dial(self, host: str, port: int) -> Connection:
        current = self._credentials.current
        if current.key_pair is None and self._authorities is None:
            return await self._dial_with(None, host, port)
        tls = current.client_tls(self._authorities)
        try:
            return await self._dial_with(tls, host, port)
        except ConnectionFailed:
            if current.server_tls is not None or self._authorities is not None:
                raise
        # Who is insecure may have a master that is.
        return await self._dial_with(None, host, port)

    async def _dial_with(
        self, tls: ClientTLS | None, host: str, port: int
    ) -> Connection:
        settings = self._settings
        dialler = Dialler(
            self._reactor,
            self._workers.cpu,
            tls,
            Deadlines(
                handshake_s=settings.srpc_default_tls_handshake_timeout / SECOND,
                body_s=_PATIENCE_S,
                stall_s=_PATIENCE_S,
                keep_alive_s=_KEEP_ALIVE_S,
            ),
            settings.srpc_default_connect_timeout / SECOND,
            self._proxy,
            not settings.srpc_client_do_not_use_method_powers,
        )
        return await dialler.dial(host, port)

    def start(self) -> None:
        """Begin to follow; all images are loaded."""
        self._looking.start(_LOOK_S).addErrback(
            lambda failure: self._log.failure("replication is not watched", failure)
        )
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        left_over, self._objects.left_over = self._objects.left_over, []
        kept = await self._workers.disk.run(salvage, self._objects, left_over)
        if kept:
            self._log.info("kept {n} objects that were just being fetched", n=kept)
        self.replicator.start()
        self._scrubbing = Deferred.fromCoroutine(self._scrub.run())

    def _write_down(self, method: str, subject: str) -> None:
        """The master's changes are in the audit log, too; called in a thread."""
        address = self._settings.replication_master
        entry = Entry(_MASTER, address, f"ImageServer.{method}", subject, "ok")
        try:
            self._audit_log.append(entry)
        except OSError:  # it has been done: to fail would not help
            self._log.failure("cannot write the audit log: {entry}", entry=entry)

    def _look(self) -> None:
        self.state = self.replicator.state()

    async def reload(self) -> None:
        """Read the filters again. If they are bad, the old ones stay in use."""
        try:
            rules = await self._workers.metadata.run(self._settings.read_rules)
        except ConfigError as error:
            self._log.error(
                "filters are not read anew, the old ones stay in use: {error}",
                error=error,
            )
        else:
            if self._settings.has_filters:
                self.replicator.change_rules(rules)

    async def stop(self) -> None:
        """Follow no more."""
        if self._looking.running:
            self._looking.stop()
        self._forwarder.stop()
        if self._starting is not None:
            await self._starting
        self._scrub.stop()
        await self.replicator.stop()
        if self._scrubbing is not None:
            await self._scrubbing
        if self._repairing is not None:
            await self._repairing

    def _restore(self, _: Sequence[bytes]) -> None:
        """Objects are missing; called in a thread."""
        self._reactor.callFromThread(self._begin_repair)

    def _begin_repair(self) -> None:
        if self._repairing is None or self._repairing.called:
            self._repairing = Deferred.fromCoroutine(self._repair())

    async def _repair(self) -> None:
        await self.replicator.repair(
            lambda: self._index.missing_objects(_REPAIRED_AT_ONCE)
        )
        await self._workers.background.run(self._missing.refresh)


def second_of_day() -> float:
    """The time of day here, in seconds since midnight."""
    now = datetime.datetime.now().astimezone()
    return now.hour * 3_600 + now.minute * 60 + now.second
