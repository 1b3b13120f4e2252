"""What the status page tells."""

from __future__ import annotations

import datetime
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import DeferredLock

import imageserver
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Progress
from imageserver.objects.base import ObjectStorage
from imageserver.rpc.object_server import GET_OBJECTS_SLOTS, ObjectService
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.expiry import Expiry
from imageserver.srpc.server import CallServer
from imageserver.web.object_health import ObjectHealth, ObjectHealthSource
from imageserver.worker import Worker

_NEARLY_FULL_PERCENT = 95
_FRESH_S = 1.0


@attrs.frozen
class Attention:
    """Something that needs somebody.

    Attributes:
        level: ``bad`` or ``warn``.
        text: what is the matter.
        advice: what to do.
    """

    level: str
    text: str
    advice: str


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

    def as_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        return attrs.asdict(self, value_serializer=_as_json)


class StatusSource:
    """Collects a :class:`Status`."""

    def __init__(
        self,
        database: ImageDatabase,
        objects: ObjectStorage,
        object_service: ObjectService,
        server: CallServer,
        progress: Progress,
        worker: Worker,
        now_s: Callable[[], float],
        credentials: CredentialWatch | None = None,
        health: ObjectHealthSource | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._object_service = object_service
        self._server = server
        self._progress = progress
        self._worker = worker
        self._now_s = now_s
        self._credentials = credentials
        self._health = health
        self._started_s = now_s()
        self._collecting = DeferredLock()
        self._latest: Status | None = None
        self._collected_s = 0.0

    @property
    def ready(self) -> bool:
        """Whether everything is loaded."""
        return self._progress.finished

    @property
    def server(self) -> CallServer:
        """Knows the methods."""
        return self._server

    async def collect(self) -> Status:
        """The status, at most a second old: collecting it takes a while."""
        async with self._collecting:
            if self._latest is None or self._now_s() - self._collected_s >= _FRESH_S:
                self._latest = await self._worker.run(self._collect)
                self._collected_s = self._now_s()
            return self._latest

    def _collect(self) -> Status:
        index = self._database.index
        totals = self._objects.totals()
        accounting = self._server.accounting
        usage = resource.getrusage(resource.RUSAGE_SELF)
        status = Status(
            version=imageserver.__version__,
            role="master",
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
            free_bytes=self._objects.free_bytes(),
            connections=accounting.connections,
            open_connections=accounting.open_connections,
            calls=accounting.calls,
            running_calls=accounting.running_calls,
            denied_calls=accounting.denied_calls,
            crashed_calls=accounting.crashed_calls,
            slots_used=self._object_service.slots.used,
            slots=GET_OBJECTS_SLOTS,
            cpu_s=usage.ru_utime + usage.ru_stime,
            resident_bytes=_resident_bytes(),
            python=sys.version.split()[0],
            health=self._health.collect(totals) if self._health is not None else None,
        )
        if self._credentials is not None:
            status = attrs.evolve(
                status,
                certificates=tuple(
                    attrs.evolve(expiry, file=Path(expiry.file).name)
                    for expiry in self._credentials.current.expiries
                ),
                certificates_outdated=bool(self._credentials.problem),
            )
        attention = [
            *_attention(status),
            *_objects(status),
            *_certificates(status, self._now_s()),
        ]
        attention.sort(key=lambda found: found.level)  # "bad" comes before "warn"
        return attrs.evolve(status, attention=tuple(attention))


def _attention(status: Status) -> list[Attention]:
    """What needs somebody, worst first."""
    found = []
    if status.insecure:
        found.append(
            Attention(
                "bad",
                "This server runs in insecure mode: everybody may do everything.",
                "Give it a CA file (-CAfile) and certificates.",
            )
        )
    if status.quarantined:
        found.append(
            Attention(
                "bad",
                f"{status.quarantined} damaged files were put aside.",
                "Look at .quarantine in the data directories and at the log.",
            )
        )
    used = status.capacity_bytes - status.free_bytes
    if used * 100 >= status.capacity_bytes * _NEARLY_FULL_PERCENT:
        found.append(
            Attention(
                "bad",
                "The objects' file system is nearly full.",
                "Delete images that nobody needs, or add space.",
            )
        )
    if status.crashed_calls:
        found.append(
            Attention(
                "warn",
                f"{status.crashed_calls} calls ended in an internal error.",
                "The log has the details; please report them.",
            )
        )
    if not status.ready:
        found.append(
            Attention(
                "warn",
                f"Images are being loaded: {status.images_loaded} of"
                f" {status.images_to_load}.",
                "Each is there once it is read or asked for; some calls wait for all.",
            )
        )
    return found


def _objects(status: Status) -> list[Attention]:
    """What is the matter with objects."""
    health = status.health
    found: list[Attention] = []
    if health is None:
        return found
    if health.missing_objects:
        found.append(
            Attention(
                "bad",
                f"{health.missing_objects} objects that images need are missing.",
                "Upload them again, or delete these images.",
            )
        )
    if health.halted:
        found.append(
            Attention(
                "bad",
                "So many objects in a row are damaged that reading them was given up.",
                "Look after disk and memory of this machine, then restart.",
            )
        )
    if health.obstacle and status.ready:
        found.append(
            Attention(
                "warn",
                f"Unreferenced objects cannot be removed: {health.obstacle}.",
                "The log names the files.",
            )
        )
    return found


def _certificates(status: Status, now_s: float) -> list[Attention]:
    """What the matter is with certificates; no file is named, anybody may look."""
    found = []
    if status.certificates_outdated:
        found.append(
            Attention(
                "bad",
                "Changed certificate files cannot be used; the old ones still are.",
                "The log says why.",
            )
        )
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    for expiry in status.certificates:
        stage = expiry.stage(now)
        if stage is not None:
            verb = "expires" if stage else "has expired"
            found.append(
                Attention(
                    "warn" if stage else "bad",
                    f"The {expiry.kind} {expiry.subject} {verb}"
                    f" at {expiry.ends:%Y-%m-%d %H:%M} UTC.",
                    "Renew it; the files are read again by themselves.",
                )
            )
    return found


def _as_json(_owner: object, _attribute: object, value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
