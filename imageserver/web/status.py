"""What the status page tells, and metrics: everything about this server."""

from __future__ import annotations

import datetime
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

import imageserver
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Progress
from imageserver.index.summary import DirectoryTotals
from imageserver.objects.base import ObjectStorage
from imageserver.rpc.object_server import GET_OBJECTS_SLOTS, ObjectService
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.expiry import Expiry
from imageserver.srpc.server import CallServer
from imageserver.web.attention import Attention, find_attention
from imageserver.web.object_health import ObjectHealth, ObjectHealthSource
from imageserver.web.process_metrics import open_descriptors, resident_bytes

_FRESH_S = 1.0
_PATIENCE = 20
_OLD_S = 30.0
_FOLLOWING = ("ImageServer.GetImageUpdates", "ImageServer.GetFilteredImageUpdates")


@attrs.frozen
class Status:
    """Everything on the status page. Sizes in bytes, times in seconds."""

    version: str
    role: str
    insecure: bool
    ready: bool
    images_to_load: int
    images_loaded: int
    uptime_s: float
    images: int
    directories: int
    objects: int
    object_bytes: int
    referenced_objects: int
    referenced_bytes: int
    quarantined: int
    capacity_bytes: int
    free_bytes: int
    connections: int
    open_connections: int
    calls: int
    running_calls: int
    denied_calls: int
    crashed_calls: int
    slots_used: int
    slots: int
    cpu_s: float
    resident_bytes: int
    python: str
    health: ObjectHealth | None = None
    certificates: tuple[Expiry, ...] = ()
    certificates_outdated: bool = False
    attention: tuple[Attention, ...] = ()
    started_s: float = 0.0
    incomplete: int = 0
    refuses_uploads: bool = False
    cleanup_start_percent: int = 100
    cleanup_stop_percent: int = 100
    crashed_before: bool = False
    replication: Mapping[str, Any] | None = None
    replication_clients: int = 0
    rejected_connections: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    duplicate_bytes: int = 0
    threads: int = 0
    descriptors: int = 0
    memory_peak_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        return attrs.asdict(self, value_serializer=_as_json)


@attrs.frozen
class Surroundings:
    """What others know.

    Attributes:
        role: what this server is: ``master``, ``replica of X``, ``archive of X``.
        replication: gives how replication goes, as plain values; ``None``: there is
            none.
        directory_totals: gives what is directly in each directory.
        cleanup_start_percent: how full the file system is when objects are removed.
        cleanup_stop_percent: how full it is to be then.
        crashed_before: gives whether the run before ended in a crash.
    """

    role: str = "master"
    replication: Callable[[], Mapping[str, Any] | None] = lambda: None
    directory_totals: Callable[[], Mapping[str, DirectoryTotals]] = dict
    cleanup_start_percent: int = 100
    cleanup_stop_percent: int = 100
    crashed_before: Callable[[], bool] = lambda: False


class StatusSource:
    """Collects a :class:`Status`. May be used from any thread."""

    def __init__(
        self,
        database: ImageDatabase,
        objects: ObjectStorage,
        object_service: ObjectService,
        server: CallServer,
        progress: Progress,
        now_s: Callable[[], float],
        credentials: CredentialWatch | None = None,
        health: ObjectHealthSource | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._object_service = object_service
        self._server = server
        self._progress = progress
        self._now_s = now_s
        self._credentials = credentials
        self._health = health
        self._surroundings = surroundings or Surroundings()
        self._started_s = now_s()
        self._lock = threading.Lock()
        self._latest: Status | None = None
        self._stale_s = 0.0

    @property
    def ready(self) -> bool:
        """Whether everything is loaded."""
        return self._progress.finished

    @property
    def server(self) -> CallServer:
        """Knows the methods."""
        return self._server

    @property
    def slots_used(self) -> int:
        """How many GetObjects calls are being served."""
        return self._object_service.slots.used

    @property
    def role(self) -> str:
        """What this server is, in words."""
        return self._surroundings.role

    @property
    def alarms(self) -> int:
        """How many things need somebody; blocks.

        It is half a minute old at most: all pages show it.
        """
        latest = self._latest
        if latest is None or self._now_s() >= self._stale_s + _OLD_S:
            latest = self.collect()
        return len(latest.attention)

    def collect(self) -> Status:
        """The status; blocks.

        It is a second old at most, or twenty times as old as it takes to collect it:
        with millions of objects that takes a while.
        """
        with self._lock:
            latest = self._latest
            if (
                latest is None
                or latest.ready != self.ready
                or self._now_s() >= self._stale_s
            ):
                began_s = time.perf_counter()
                latest = self._latest = self._collect()
                took_s = time.perf_counter() - began_s
                self._stale_s = self._now_s() + max(_FRESH_S, _PATIENCE * took_s)
            return latest

    def _collect(self) -> Status:
        index = self._database.index
        totals = self._objects.totals()
        accounting = self._server.accounting
        usage = resource.getrusage(resource.RUSAGE_SELF)
        surroundings = self._surroundings
        sent, received = self._server.traffic
        free_bytes = self._objects.free_bytes()
        state = surroundings.replication()
        data = sum(it.data_bytes for it in surroundings.directory_totals().values())
        status = Status(
            version=imageserver.__version__,
            role=surroundings.role,
            insecure=self._server.policy.insecure,
            ready=self._progress.finished,
            images_to_load=self._progress.total,
            images_loaded=self._progress.done,
            uptime_s=self._now_s() - self._started_s,
            images=index.image_count(),
            directories=len(index.directories()),
            objects=totals.objects,
            object_bytes=totals.bytes_,
            referenced_objects=totals.referenced_objects,
            referenced_bytes=totals.referenced_bytes,
            quarantined=self._objects.quarantined
            + len(self._database.quarantine.names()),
            capacity_bytes=self._objects.capacity_bytes(),
            free_bytes=free_bytes,
            connections=accounting.connections,
            open_connections=accounting.open_connections,
            calls=accounting.calls,
            running_calls=accounting.running_calls,
            denied_calls=accounting.denied_calls,
            crashed_calls=accounting.crashed_calls,
            slots_used=self._object_service.slots.used,
            slots=GET_OBJECTS_SLOTS,
            cpu_s=usage.ru_utime + usage.ru_stime,
            resident_bytes=resident_bytes(),
            python=sys.version.split()[0],
            health=self._health.collect(totals) if self._health is not None else None,
            started_s=self._started_s,
            incomplete=len(self._database.incomplete),
            refuses_uploads=self._objects.room_bytes() <= 0,
            cleanup_start_percent=surroundings.cleanup_start_percent,
            cleanup_stop_percent=surroundings.cleanup_stop_percent,
            crashed_before=surroundings.crashed_before(),
            replication=state,
            replication_clients=accounting.running_of(_FOLLOWING),
            rejected_connections=accounting.rejected,
            sent_bytes=sent,
            received_bytes=received,
            duplicate_bytes=max(0, data - totals.referenced_bytes),
            threads=threading.active_count(),
            descriptors=open_descriptors(),
            memory_peak_bytes=usage.ru_maxrss << 10,
        )
        status = self._add_certificates(status)
        return attrs.evolve(status, attention=find_attention(status, self._now_s()))

    def _add_certificates(self, status: Status) -> Status:
        if self._credentials is None:
            return status
        return attrs.evolve(
            status,
            certificates=tuple(
                attrs.evolve(expiry, file=Path(expiry.file).name)
                for expiry in self._credentials.current.expiries
            ),
            certificates_outdated=bool(self._credentials.problem),
        )


def _as_json(_owner: object, _attribute: object, value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value
