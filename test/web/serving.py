"""The pages over stores in a folder, asked for in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http import RESPONSES

from imageserver.disk import Disk
from imageserver.images.database import ImageDatabase
from imageserver.images.image_trees import ImageTrees
from imageserver.images.loading import Progress
from imageserver.images.missing import MissingObjects
from imageserver.index.sqlite import SqliteIndex
from imageserver.log_buffer import LogBuffer
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.names import directory_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.reconciliation import Findings
from imageserver.objects.scrub import Scrub
from imageserver.objects.store import ObjectStore
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_server import ObjectService
from imageserver.srpc.access import Caller, Identity, Policy
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.credential_files import Credentials
from imageserver.srpc.methods import Method, MethodTable
from imageserver.srpc.metric import MetricRegistry
from imageserver.srpc.server import CallServer
from imageserver.testing import InlineWorker, scanned
from imageserver.web.http_site import Site
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.object_health import ObjectHealthSource
from imageserver.web.parts import WebOptions
from imageserver.web.status import StatusSource, Surroundings
from imageserver.web.web_service import WebService
from imageserver.worker import Worker


@attrs.define
class Watched:
    """What a watch over certificates tells."""

    problem: str = ""
    current: Credentials = attrs.field(factory=lambda: Credentials(None, None, ()))


@attrs.define
class Server:
    """A site and what it tells about."""

    site: Site
    clock: Clock
    calls: CallServer
    objects: ObjectStore
    progress: Progress
    credentials: Watched
    scrub: Scrub
    missing: MissingObjects
    collection: Collection
    index: SqliteIndex
    obstacles: list[str]
    database: ImageDatabase
    buffer: LogBuffer
    web: WebService

    def add(self, name: str, image: Image, contents: Iterable[bytes]) -> None:
        """Put an image in, with its objects."""
        caller = Caller(Identity(str(image.created_by)), True)
        intake = self.objects.intake()
        for content in filter(None, contents):
            intake.begin(len(content), hash_of(content))
            intake.write(content)
        assert not [it.error for it in intake.commit() if it.error]
        directory = directory_of(name)
        if self.index.owner_group(directory) is None:
            self.database.make_directory(directory, True, caller)
        self.database.add(name, scanned(image), caller)

    def exchange(self, *pieces: bytes) -> StringTransport:
        """Send pieces of a request; what became of the connection."""
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
            self.clock.advance(0)
        protocol.connectionLost(Failure(ConnectionDone()))  # ends its timer, too
        return transport

    def fetch(
        self, path: str, verb: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer.

        Args:
            path: the address.
            verb: the verb.
            headers: of the request; underscores stand for dashes.
        """
        lines = [f"{verb} {path} HTTP/1.0"]
        lines += [f"{name.replace('_', '-')}: {it}" for name, it in headers.items()]
        request = "\r\n".join((*lines, "", ""))
        answer = self.exchange(request.encode()).value()
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return (
            int(status.split()[1]),
            dict(line.split(": ", 1) for line in lines),
            body,
        )

    def get(self, path: str) -> tuple[str, dict[str, str], str]:
        """Status line, headers and body of the answer."""
        code, headers, body = self.fetch(path)
        return f"HTTP/1.1 {code} {RESPONSES[code].decode()}", headers, body.decode()

    def text(self, path: str) -> str:
        """The body of a page that is there."""
        code, _, body = self.fetch(path)
        assert code == 200, (path, code, body)
        return body.decode()

    def json(self, path: str) -> Any:
        """The same as JSON."""
        return json.loads(self.text(path))


_METHODS = (Method("S", "Open", public=True), Method("S", "Closed"))


def make_server(
    tmp_path: Path,
    options: WebOptions | None = None,
    methods: Iterable[Method] = (),
    surroundings: Surroundings | None = None,
    slow: Worker | None = None,
) -> Server:
    """Pages over empty stores."""
    for name in ("images", "objects"):
        (tmp_path / name).mkdir()
    index = SqliteIndex(tmp_path / "index", tmp_path / "objects", tmp_path / "images")
    index.open()
    index.add_directory(".", "")
    objects = ObjectStore(tmp_path / "objects", index, Disk(), lambda: 0)
    objects.open()
    database = ImageDatabase(tmp_path / "images", index, objects, Disk(), lambda: 0)
    table = MethodTable(methods or _METHODS)
    worker, clock = InlineWorker(), Clock()
    calls = CallServer(clock, table, Policy(), None, worker, Deadlines())
    progress = Progress(finished=True)
    imports = ObjectImports(objects, worker, Agent(clock), clock, ImportSources())
    service = ObjectService(objects, worker, imports, clock)
    credentials = Watched()
    scrub = Scrub(objects, index, lambda: 0, 1)
    missing = MissingObjects(database, index)
    collection = Collection(objects, index, CleanupLimits(), lambda: "")
    obstacles = [""]
    health = ObjectHealthSource(
        *(objects, database, scrub, missing, collection),
        lambda: obstacles[-1],
        lambda: Findings(foreign=7),
    )
    status = StatusSource(
        *(database, objects, service, calls, progress, clock.seconds),
        credentials,
        health,
        surroundings,
    )
    buffer = LogBuffer(100)
    web = WebService(
        clock,
        status,
        ImageLookup(database, index, ImageTrees(database.files)),
        buffer,
        MetricRegistry(),
        worker,
        slow or worker,
        worker,
        options or WebOptions(),
        clock.seconds,
    )
    health_parts = (scrub, missing, collection, index, obstacles)
    return Server(
        *(web.site, clock, calls, objects, progress, credentials, *health_parts),
        database,
        buffer,
        web,
    )
