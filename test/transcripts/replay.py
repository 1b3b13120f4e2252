"""Recorded clients for our server, and recorded servers for our client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import recorded
from transcripts.conversation import (
    PING,
    RECORDINGS,
    UPDATES,
    Call,
    Incomplete,
    Recording,
    Stream,
    end_of_list,
    read_body,
    read_connection,
)
from transcripts.memory import Chunks, MemoryTransport, in_one
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.web.client import Agent

from imageserver import gob
from imageserver.disk import Disk
from imageserver.images.changes import Operation
from imageserver.images.database import ImageDatabase
from imageserver.images.image_trees import ImageTrees
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.log import Log
from imageserver.log_buffer import LogBuffer
from imageserver.model.image_messages import AddImageRequest
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.intake import Intake
from imageserver.objects.leases import LEASE_NS
from imageserver.objects.store import ObjectStore
from imageserver.rpc.image_server import ImageService
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.logger import LoggerService
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_server import ObjectService
from imageserver.rpc.tree_import import TreeImports
from imageserver.rpc.unreferenced_objects import UnreferencedObjectService
from imageserver.srpc.access import ANONYMOUS, Caller, Policy
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.front_door import FrontDoorFactory
from imageserver.srpc.local_upgrade import LocalPort, LocalUpgrade
from imageserver.srpc.methods import MethodTable
from imageserver.srpc.metric import MetricRegistry
from imageserver.srpc.server import CallServer
from imageserver.srpc.tls import ServerTLS
from imageserver.testing import InlineWorker, scanned
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.parts import WebOptions
from imageserver.web.status import StatusSource
from imageserver.web.web_service import WebService

RECORDED_AT_S = 1_795_392_000
"""When the recordings were made, in seconds since 1970."""

_NANOSECONDS = 1_000_000_000
_ROOT = Caller(ANONYMOUS, has_method_access=True)


class HastyDisk(Disk):
    """A disk that waits for nothing: what is lost with the power does not matter."""

    def flush(self, descriptor: int) -> None:
        """See :class:`~imageserver.disk.Disk`."""

    def sync(self, path: Path) -> None:
        """See :class:`~imageserver.disk.Disk`."""

    def sync_file_system(self, path: Path) -> bool:
        """See :class:`~imageserver.disk.Disk`."""
        return True


class Server:
    """Our server, on a directory, without network, threads and time.

    Attributes:
        clock: its time; it begins at :data:`RECORDED_AT_S`.
        calls: serves the calls.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: ServerTLS | None = None,
        open_reads: bool = False,
        public_add: bool = False,
        local_port: LocalPort | None = None,
        random: Callable[[int], bytes] = bytes,
    ) -> None:
        """Start the server.

        Args:
            directory: where its data will be.
            tls: how connections are secured; without it, everything is permitted.
            open_reads: what ``-allowUnauthenticatedReads`` says.
            public_add: what ``-allowPublicAddObjects`` says.
            local_port: the Unix socket; without it, clients are told so.
            random: makes cookies.
        """
        images, objects = directory / "images", directory / "objects"
        images.mkdir()
        objects.mkdir()
        self.clock = Clock()
        worker = InlineWorker()
        self._index = SqliteIndex(directory / "index", objects, images)
        self._index.open()
        self._objects = ObjectStore(objects, self._index, HastyDisk(), self._now_ns)
        self._objects.open()
        self._database = ImageDatabase(
            images, self._index, self._objects, HastyDisk(), self._now_ns
        )
        loading = Loading(self._database)
        loading.run()
        imports = ObjectImports(
            self._objects, worker, Agent(self.clock), self.clock, ImportSources()
        )
        object_service = ObjectService(self._objects, worker, imports, self.clock)
        image_service = ImageService(self._database, worker, self.clock)
        tree_imports = TreeImports(
            imports,
            self._objects,
            self._database,
            worker,
            worker,
            self.clock,
            object_service.check_length,
        )
        self.local_upgrade = LocalUpgrade(random)
        collection = Collection(self._objects, self._index, CleanupLimits(), lambda: "")
        unreferenced_service = UnreferencedObjectService(
            collection, self._index, self._now_ns, worker, worker
        )
        methods = MethodTable(
            [
                *self.local_upgrade.methods(),
                *image_service.methods(open_reads=open_reads),
                *tree_imports.methods(),
                *unreferenced_service.methods(open_reads=open_reads),
                *LoggerService(Log(lambda function, *a: function(*a))).methods(),
                *object_service.methods(
                    public_add=public_add,
                    public_check=False,
                    public_get=False,
                    open_reads=open_reads,
                ),
            ]
        )
        policy = Policy(insecure=tls is None)
        self.calls = CallServer(self.clock, methods, policy, tls, worker, Deadlines())
        self.calls.start()
        self.local_upgrade.attach(self.calls, local_port)
        status = StatusSource(
            self._database,
            self._objects,
            object_service,
            self.calls,
            loading.progress,
            self.clock.seconds,
        )
        trees = ImageTrees(self._database.files)
        web = WebService(
            self.clock,
            status,
            ImageLookup(self._database, self._index, trees),
            LogBuffer(100),
            MetricRegistry(),
            *(worker, worker, worker),
            WebOptions(),
            self.clock.seconds,
        )
        self._factory = FrontDoorFactory(self.calls, web.site)
        self._transports: list[MemoryTransport] = []

    def _now_ns(self) -> int:
        return RECORDED_AT_S * _NANOSECONDS + int(self.clock.seconds() * _NANOSECONDS)

    def connect(
        self, factory: IProtocolFactory | None = None, host: str = "127.0.0.2"
    ) -> MemoryTransport:
        """A new connection.

        Args:
            factory: makes our side of it; by itself the port of the server.
            host: our side's address; the other one comes from 127.0.0.1.
        """
        transport = MemoryTransport(self.clock, host)
        protocol = (factory or self._factory).buildProtocol(transport.getPeer())
        assert protocol is not None
        transport.connect(protocol)
        self._transports.append(transport)
        return transport

    def stop(self) -> None:
        """End all connections, and close everything."""
        stopping = Deferred.fromCoroutine(self.calls.stop())
        for transport in self._transports:
            transport.close()
        assert stopping.called, "a connection does not end"
        self._index.close()

    def make_directories(self, *names: str) -> None:
        """Make directories of images."""
        for name in names:
            self._database.make_directory(name, True, _ROOT)

    def add_objects(self) -> None:
        """Add the objects that the recorded images refer to."""
        intake = Intake(self._objects)
        for entry in recorded.load("image/objects"):
            intake.begin(entry["size"], bytes.fromhex(entry["sha512"]))
            intake.write(bytes.fromhex(entry["hex"]))
        assert not any(outcome.error for outcome in intake.commit())

    def make_changes(self, updates: Iterable[dict[str, Any]]) -> None:
        """Make the changes that a recorded server has told of."""
        for update in updates:
            directory, name = update.get("Directory"), update.get("Name", "")
            if directory:
                self.make_directories(directory["Name"])
            elif update.get("Operation") == Operation.DELETE_DIRECTORY:
                self._database.remove_directory(name)
            elif update.get("Operation") == Operation.DELETE_IMAGE:
                self._database.delete(name, _ROOT)
            else:
                self.add_image(name)

    def end_leases(self) -> None:
        """Let time pass until uploads are not kept any more without an image."""
        self.clock.advance(LEASE_NS / _NANOSECONDS)

    def add_image(self, name: str, lifetime_s: int = 0) -> None:
        """Add the recorded image; each one is a second younger than the one before.

        Args:
            name: its name.
            lifetime_s: when it expires; 0: never.
        """
        self.clock.advance(1)
        now_ns = self._now_ns()
        request = RECORDINGS["AddImage"].calls[0].request(AddImageRequest)
        created_on = gob.Time.from_nanoseconds(now_ns)
        image = gob.evolve(request.image, created_by="", created_on=created_on)
        if lifetime_s:
            expires_at_ns = now_ns + lifetime_s * _NANOSECONDS
            expires_at = gob.Time.from_nanoseconds(expires_at_ns)
            image = gob.evolve(image, expires_at=expires_at)
        self._database.add(name, scanned(image), _ROOT)


def build_state(server: Server, *parts: str) -> None:
    """Bring a new server to the state that a recording was made in.

    Args:
        server: the server.
        parts: ``directories``, ``objects``, ``later`` for when these are not kept any
            more, names of directories that end in a slash, or names of images; those
            that have ``exp`` in them expire, unless it is said that they are ``for
            ever``.
    """
    for part in parts:
        if part == "directories":
            server.make_directories("dir/a")
        elif part == "objects":
            server.add_objects()
        elif part.endswith("/"):
            server.make_directories(part.rstrip("/"))
        elif part.endswith(" for ever"):
            server.add_image(part.removesuffix(" for ever"))
        elif part == "later":
            server.end_leases()
        else:
            server.add_image(part, 3600 if "exp" in part else 0)


class RecordedClient:
    """Says to our server what a recorded client has said.

    Attributes:
        transport: the server's side of the connection.
    """

    def __init__(self, server: Server, head: bytes, chunks: Chunks) -> None:
        """Connect.

        Args:
            server: our server.
            head: the request that opens the connection.
            chunks: how to cut what is sent.
        """
        self._server = server
        self._chunks = chunks
        self._said = b""
        self.transport = server.connect()
        self.say(head)

    def say(self, data: bytes) -> None:
        """Send ``data``, and let the server answer."""
        self._said += data
        self.transport.deliver(self._chunks(data))
        self.transport.pump()

    def call(self, call: Call) -> None:
        """Make a recorded call; the body is sent if the server wants it."""
        before = len(self.transport.sent())
        self.say(call.line)
        if self.transport.sent()[before:].startswith(b"\n"):
            self.say(call.sent)
            self.wait_for(call)

    def wait_for(self, call: Call) -> None:
        """Let the time pass that the client grants, and what it hears of happen."""
        for request in call.requests:
            if isinstance(request, dict):
                self._server.clock.advance(request.get("Timeout", 0) / _NANOSECONDS)
        self.transport.pump()
        if call.method in UPDATES:
            news = call.answers[end_of_list(call.answers) + 1 :]
            self._server.make_changes(news)
            self.transport.pump()

    def hang_up(self) -> list[Call]:
        """Close the connection; what was said on it, by calls."""
        self.transport.hang_up()
        said, heard = Stream(self._said), Stream(self.transport.sent())
        return read_connection(said, heard, ends_lines=False)


def replay(server: Server, recording: Recording, chunks: Chunks = in_one) -> list[Call]:
    """Say to our server what a recorded client said; what came of it."""
    client = RecordedClient(server, recording.head, chunks)
    for call in recording.calls:
        client.call(call)
    return client.hang_up()


def replay_pipelined(server: Server, recording: Recording) -> list[Call]:
    """The same, by a client that sends everything without waiting for anything."""
    client = RecordedClient(server, b"", in_one)
    bodies = [call.line + call.sent for call in recording.calls]
    client.say(recording.head + b"".join(bodies))
    for call in recording.calls:
        client.wait_for(call)
    return client.hang_up()


class RecordedServer:
    """Says to our client what a recorded server has said.

    Attributes:
        transport: the client's side of the connection.
        head: the request with which the client opened the connection.
        seen: what the client has called.
    """

    def __init__(
        self, transport: MemoryTransport, calls: Iterable[Call], chunks: Chunks
    ) -> None:
        """Wait for a client.

        Args:
            transport: the client's.
            calls: the calls that will come, with their recorded answers.
            chunks: how to cut what is sent.
        """
        self._chunks = chunks
        self._script = self._answer_all(list(calls))
        self._pending = b""
        self.transport = transport
        self.head = b""
        self.seen: list[Call] = []
        next(self._script)

    def pump(self) -> None:
        """Answer what has come."""
        while True:
            self.transport.pump()
            before = len(self.transport.sent())
            self._script.send(self.transport.sent())
            if self._pending:
                pending, self._pending = self._pending, b""
                self.transport.deliver(self._chunks(pending))
            elif before == len(self.transport.sent()):
                return

    def _answer_all(self, calls: list[Call]) -> Any:
        """A coroutine that is sent all that the client has said so far."""
        client = yield from _wait_for(Stream((yield)), lambda s: s.until(b"\n\n"))
        self.head = client.data[: client.position]
        self._pending += b"HTTP/1.0 200 Connected to Go SRPC\n\n"
        for call in calls:
            begin = client.position
            client = yield from _wait_for(client, Stream.line)
            line = client.data[begin : client.position]
            seen = Call(line.strip().decode(), line)
            self.seen.append(seen)
            self._pending += f"{call.acceptance}\n".encode()
            if call.acceptance or call.method == PING:
                continue
            client = yield from _wait_for(client, lambda s, c=seen: read_body(c, s))
            if call.cut_off:
                self.transport.hang_up()
            self._pending += call.received
        while True:
            said = yield
            assert said == client.data[: client.position], "more than was expected"


def _wait_for(stream: Stream, read: Any) -> Any:
    """Read something from a stream as soon as it is complete; the stream behind it."""
    begin = stream.position
    while True:
        try:
            read(stream)
        except Incomplete:
            stream = Stream((yield))
            stream.position = begin
        else:
            return stream
