"""Our client understands the recorded server, and asks as the recorded clients did."""

from __future__ import annotations

import datetime
import hashlib
import io
import itertools
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, BinaryIO

import attrs
import pytest
import recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts.conversation import (
    PING,
    RECORDINGS,
    UPGRADE,
    Call,
    Recording,
)
from transcripts.memory import CHUNKINGS, Chunks, MemoryTransport, in_one
from transcripts.replay import RecordedServer
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from imageserver import gob
from imageserver.client.image_server import ImageServerClient
from imageserver.client.object_server import ObjectServerClient
from imageserver.errors import CallError, ConnectionFailed, PeerClosed
from imageserver.model.image import Directory, Image
from imageserver.model.image_messages import (
    AddImageRequest,
    CheckDirectoryRequest,
    CheckImageRequest,
    DeleteImageRequest,
    FindLatestImageRequest,
    GetImageExpirationRequest,
    GetImageRequest,
    ListSelectedImagesRequest,
    MakeDirectoryRequest,
)
from imageserver.model.object_messages import CheckObjectsRequest, GetObjectsRequest
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler
from imageserver.testing import InlineWorker

OBJECTS = {
    bytes.fromhex(entry["sha512"]): bytes.fromhex(entry["hex"])
    for entry in recorded.load("image/objects")
}


@attrs.frozen
class Upload:
    """An object to upload."""

    hash_: bytes
    content: bytes

    @property
    def size(self) -> int:
        """Its size."""
        return len(self.content)

    @property
    def open(self) -> Callable[[], BinaryIO]:
        """Opens it."""
        return partial(io.BytesIO, self.content)


class Download(io.BytesIO):
    """An object that is being fetched."""

    finished = False

    def finish(self) -> None:
        """That was all of it."""
        self.finished = True


@attrs.frozen
class Clients:
    """What our client offers, on one connection."""

    connection: Connection
    images: ImageServerClient
    objects: ObjectServerClient


async def ping(clients: Clients, call: Call) -> str:
    """A ping; it is shown as the recorded program showed it."""
    await clients.connection.ping()
    return "ping"


async def other_method(clients: Clients, call: Call) -> None:
    """A method that our client does not know."""
    async with clients.connection.begin(call.method):
        raise AssertionError("accepted")


async def add_image(clients: Clients, call: Call) -> None:
    """ImageServer.AddImage."""
    request = call.request(AddImageRequest)
    await clients.images.add_image(request.image_name, request.image)


async def check_directory(clients: Clients, call: Call) -> bool:
    """ImageServer.CheckDirectory."""
    request = call.request(CheckDirectoryRequest)
    return await clients.images.check_directory(request.directory_name)


async def check_image(clients: Clients, call: Call) -> bool:
    """ImageServer.CheckImage."""
    request = call.request(CheckImageRequest)
    return await clients.images.check_image(request.image_name)


async def delete_image(clients: Clients, call: Call) -> None:
    """ImageServer.DeleteImage."""
    await clients.images.delete_image(call.request(DeleteImageRequest).image_name)


async def find_latest_image(clients: Clients, call: Call) -> str:
    """ImageServer.FindLatestImage."""
    return await clients.images.find_latest_image(call.request(FindLatestImageRequest))


async def get_image(clients: Clients, call: Call) -> Image | None:
    """ImageServer.GetImage."""
    return await clients.images.get_image(call.request(GetImageRequest))


async def get_expiration(clients: Clients, call: Call) -> gob.Time:
    """ImageServer.GetImageExpiration."""
    name = call.request(GetImageExpirationRequest).image_name
    return await clients.images.get_expiration(name)


async def get_replication_master(clients: Clients, call: Call) -> str:
    """ImageServer.GetReplicationMaster."""
    return await clients.images.get_replication_master()


async def list_directories(clients: Clients, call: Call) -> list[Directory]:
    """ImageServer.ListDirectories."""
    return await clients.images.list_directories()


async def list_images(clients: Clients, call: Call) -> list[str]:
    """ImageServer.ListImages."""
    return await clients.images.list_images()


async def list_selected_images(clients: Clients, call: Call) -> list[str]:
    """ImageServer.ListSelectedImages."""
    request = call.request(ListSelectedImagesRequest)
    return await clients.images.list_selected_images(request)


async def make_directory(clients: Clients, call: Call) -> None:
    """ImageServer.MakeDirectory."""
    request = call.request(MakeDirectoryRequest)
    name, make_all = request.directory_name, request.make_all
    await clients.images.make_directory(name, make_all=make_all)


async def check_objects(clients: Clients, call: Call) -> list[int]:
    """ObjectServer.CheckObjects."""
    request = call.request(CheckObjectsRequest)
    return await clients.objects.check_objects(request.hashes)


async def add_objects(clients: Clients, call: Call) -> tuple[int, int, int]:
    """ObjectServer.AddObjects; our client names the hash of every object."""
    uploads = []
    for request, content in zip(call.requests[::2], call.requests[1::2], strict=False):
        computed = hashlib.sha512(content).digest()
        uploads.append(Upload(bytes(request.get("ExpectedHash", computed)), content))
    done = await clients.objects.add_objects(uploads, lambda objects, size: None)
    return done.objects, done.added, done.bytes_


async def get_objects(clients: Clients, call: Call) -> dict[bytes, bytes]:
    """ObjectServer.GetObjects."""
    downloads: dict[bytes, Download] = {}

    def receive(hash_: bytes) -> Download:
        return downloads.setdefault(hash_, Download())

    hashes = call.request(GetObjectsRequest).hashes
    await clients.objects.get_objects(hashes, receive, lambda objects, size: None)
    assert all(download.finished for download in downloads.values())
    return {hash_: download.getvalue() for hash_, download in downloads.items()}


Invoke = Callable[[Clients, Call], Awaitable[Any]]

METHODS: dict[str, Invoke] = {
    PING: ping,
    "ImageServer.AddImage": add_image,
    "ImageServer.CheckDirectory": check_directory,
    "ImageServer.CheckImage": check_image,
    "ImageServer.DeleteImage": delete_image,
    "ImageServer.FindLatestImage": find_latest_image,
    "ImageServer.GetImage": get_image,
    "ImageServer.GetImageExpiration": get_expiration,
    "ImageServer.GetReplicationMaster": get_replication_master,
    "ImageServer.ListDirectories": list_directories,
    "ImageServer.ListImages": list_images,
    "ImageServer.ListSelectedImages": list_selected_images,
    "ImageServer.MakeDirectory": make_directory,
    "ObjectServer.AddObjects": add_objects,
    "ObjectServer.CheckObjects": check_objects,
    "ObjectServer.GetObjects": get_objects,
}
"""How our client makes the recorded calls."""

LACKING = {
    "ImageServer.AddImageTrusted",
    "ImageServer.ChangeImageExpiration",
    "ImageServer.DeleteDirectory",
    "ImageServer.DeleteUnreferencedObjects",
    "ImageServer.GetFilteredImageUpdates",
    "ImageServer.GetImageArchive",
    "ImageServer.GetImageComputedFiles",
    "ImageServer.GetImageInodes",
    "ImageServer.GetImageUpdates",
    "ImageServer.GetImageUsageEstimate",
    "ImageServer.GetObjectStatisticsForImages",
    "ImageServer.ListUnreferencedObjects",
    "ObjectServer.ImportObjects",
    "ObjectServer.TestBandwidth",
    # The dialler of our client makes it: see test_unix_upgrade.py.
    UPGRADE,
}
"""What our client lacks. Whoever adds a method has to move it from here to
:data:`METHODS`."""

CALLABLE = {
    name: [call for call in recording.calls if call.method not in LACKING]
    for name, recording in RECORDINGS.items()
}
"""The calls of each recording that our client can make."""

SHOWN = [
    name
    for name, calls in CALLABLE.items()
    if calls == RECORDINGS[name].calls
    and not name.startswith(("GetImage", "GetObjects", "AddObjects"))
]
"""Recordings whose program has shown one result for each call, as it was."""


def run(coroutine: Coroutine[Any, Any, Any], server: RecordedServer) -> Any:
    """The result of a coroutine that talks to ``server``, or its exception."""
    outcome: list[Any] = []
    deferred: Deferred[Any] = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(outcome.append)
    server.pump()
    assert outcome, "the client waits for ever"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


def begin_to_dial() -> tuple[Deferred[Connection], MemoryTransport]:
    """Let our client connect; the server has still to answer."""
    reactor = MemoryReactorClock()
    dialling = Dialler(reactor, InlineWorker()).dial("127.0.0.2", 6971)
    deferred: Deferred[Connection] = Deferred.fromCoroutine(dialling)
    return deferred, accept(reactor)


def accept(reactor: MemoryReactorClock) -> MemoryTransport:
    """The connection that our client makes now."""
    _, port, factory, *_ = reactor.tcpClients.pop()
    assert port == 6971
    transport = MemoryTransport(reactor)
    transport.connect(factory.buildProtocol(transport.getHost()))
    return transport


def dial(calls: list[Call], chunks: Chunks) -> tuple[Clients, RecordedServer]:
    """Connect our client to a server that answers ``calls`` as recorded."""
    dialling, transport = begin_to_dial()
    server = RecordedServer(transport, calls, chunks)
    server.pump()
    connection = dialling.result
    assert isinstance(connection, Connection)
    images = ImageServerClient(connection)
    objects = ObjectServerClient(connection, InlineWorker())
    return Clients(connection, images, objects), server


def make(clients: Clients, server: RecordedServer, call: Call) -> Any:
    """Make a call; what it gives, or the error that it raises."""
    invoke = METHODS.get(call.method, other_method)
    try:
        return run(invoke(clients, call), server)
    except (CallError, PeerClosed) as error:
        return error


def expected_error(call: Call) -> str:
    """The error that the recorded server has answered with; empty: none."""
    if call.cut_off:
        return "EOF"
    errors = [call.acceptance, call.failure]
    for answer in call.answers:
        if isinstance(answer, dict):
            names = ("Error", "ErrorString", "ResponseString")
            errors.extend(answer.get(name, "") for name in names)
    return next(filter(None, errors), "")


def show(result: Any) -> str:
    """A result as the recorded programs have shown it."""
    if isinstance(result, Exception):
        return "ERR: EOF" if isinstance(result, PeerClosed) else f"ERR: {result}"
    return f"OK: {show_value(result)}"


def show_value(value: Any) -> str:
    """A value as the recorded programs have shown it."""
    if isinstance(value, list):
        return f"[{' '.join(map(show_value, value))}]"
    if isinstance(value, Directory):
        group = value.metadata.owner_group
        return f"{{Name:{value.name} Metadata:{{OwnerGroup:{group}}}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def expected_requests(call: Call) -> list[Any]:
    """What our client has to send for a recorded call."""
    if call.method != "ObjectServer.AddObjects":
        return call.requests
    requests = list(call.requests)
    for number, content in enumerate(requests):
        if isinstance(content, bytes):
            computed = {"ExpectedHash": tuple(hashlib.sha512(content).digest())}
            requests[number - 1] = computed | requests[number - 1]
    return requests


def check_seen(recording: Recording, calls: list[Call], server: RecordedServer) -> None:
    """Compare what our client has sent with what the recorded client has sent."""
    assert server.head == recording.head
    assert [seen.line for seen in server.seen] == [call.line for call in calls]
    for seen, call in zip(server.seen, calls, strict=True):
        assert seen.requests == expected_requests(call)


def check_recording(name: str, chunks: Chunks) -> list[Any]:
    """Make the calls of a recording; their results, and errors."""
    clients, server = dial(CALLABLE[name], chunks)
    results: list[Any] = []
    for call in CALLABLE[name]:
        result = make(clients, server, call)
        results.append(result)
        error = expected_error(call)
        assert isinstance(result, Exception) == bool(error)
        if call.cut_off:
            assert isinstance(result, PeerClosed)
        elif error:
            assert str(result) == error
        if error and call.method == "ObjectServer.AddObjects":
            break  # answers may follow that our client does not wait for
    check_seen(RECORDINGS[name], CALLABLE[name][: len(results)], server)
    return results


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", [name for name, calls in CALLABLE.items() if calls])
def test_recording(name: str, chunking: str) -> None:
    """Our client sends what the recorded one did, and fails when that one did.

    Method lines are the very bytes, everything else has the same values.
    """
    check_recording(name, CHUNKINGS[chunking])


@given(
    name=st.sampled_from(
        ["AddObjects-queue", "GetImage", "GetObjects", "MakeDirectory"]
    ),
    sizes=st.lists(st.integers(1, 700), min_size=1),
)
@settings(max_examples=50, deadline=None)
def test_any_cut(name: str, sizes: list[int]) -> None:
    """The bytes of the server may be cut anywhere."""

    def cut(data: bytes) -> Iterator[bytes]:
        start = 0
        for size in itertools.cycle(sizes):
            if start >= len(data):
                return
            yield data[start : start + size]
            start += size

    check_recording(name, cut)


@pytest.mark.parametrize("name", SHOWN)
def test_result_is_what_was_shown(name: str) -> None:
    """Results and errors are those that the recorded program has printed."""
    shown = [show(result) for result in check_recording(name, in_one)]
    assert shown == RECORDINGS[name].client_result


def test_get_image() -> None:
    """An image comes out whole, down to the nanosecond; an absent one is ``None``."""
    image, absent = check_recording("GetImage", in_one)
    created_on, tree, nothing = RECORDINGS["GetImage"].client_result
    assert created_on == "OK: 2026-11-23 00:08:31.883480842 +0000 UTC"
    moment = datetime.datetime(2026, 11, 23, 0, 8, 31, tzinfo=datetime.UTC)
    assert image.created_on == gob.Time(int(moment.timestamp()), 883_480_842, 0)
    assert tree.startswith("OK: Tree: 7 inodes, total file size: 410 B")
    assert len(image.file_system.inodes) == 7
    assert image.file_system.data_bytes == 410
    added = RECORDINGS["AddImage"].calls[0].request(AddImageRequest).image
    assert gob.evolve(image, created_on=added.created_on) == gob.evolve(
        added, created_by=""
    )
    assert (absent, nothing) == (None, "OK: <nil>")


def test_get_image_without_file_system() -> None:
    """With IgnoreFilesystem the image is the same, but for its file system."""
    (image,) = check_recording("GetImage-ignore-filesystem", in_one)
    whole, _ = check_recording("GetImage", in_one)
    assert image == gob.evolve(whole, file_system=None)


def test_get_image_that_does_not_come() -> None:
    """After the timeout there is no image, and no error."""
    assert check_recording("GetImage-timeout", in_one) == [None]


def test_get_objects() -> None:
    """Objects arrive with their content, each under its hash."""
    objects, pong = check_recording("GetObjects", in_one)
    assert len(objects) == 2
    assert objects == {hash_: OBJECTS[hash_] for hash_ in objects}
    assert pong == "ping"


def test_add_objects() -> None:
    """It is counted what was sent, and what of it was new."""
    (uploaded,) = check_recording("AddObjects-queue", in_one)
    assert uploaded == (3, 0, sum(map(len, OBJECTS.values())))


@pytest.mark.parametrize("chunking", ["at once", "bytewise", "by seven"])
def test_refused_object_ends_the_connection(chunking: str) -> None:
    """When an object is refused, the connection is not used for another call.

    The answers to the objects behind it may still be on their way; they would be
    taken for the answer to that call.
    """
    clients, server = dial(CALLABLE["AddObjects"], CHUNKINGS[chunking])
    error = make(clients, server, CALLABLE["AddObjects"][0])
    assert isinstance(error, CallError)
    assert str(error).startswith("hash mismatch. Computed=")
    assert clients.connection.closed


REFUSALS = {
    "CONNECT on the TLS endpoint with no TLS configured": "no SRPC endpoint",
    "CONNECT on an unknown path": "no SRPC endpoint",
    "bad query": "unexpected HTTP response: 400 Bad Request",
    "unsecured CONNECT, TLS required": "missing certificate",
    "CONNECT on listMethods path": "unexpected HTTP response: 200 OK",
}
"""What our client says when it gets the recorded answers of these probes."""


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", REFUSALS)
def test_refused_connection(name: str, chunking: str) -> None:
    """A server that refuses the connection is left, and the error says why."""
    probes = {probe["name"]: probe["exchange"] for probe in recorded.load("probes")}
    answer = bytes.fromhex(probes[name][0]["server_hex"])
    dialling, transport = begin_to_dial()
    transport.deliver(CHUNKINGS[chunking](answer))
    transport.pump()
    if REFUSALS[name] == "no SRPC endpoint":  # it is asked for another one
        assert transport.disconnected
        transport = accept(transport.clock)
        transport.deliver(CHUNKINGS[chunking](answer))
        transport.pump()
    failure = dialling.result
    dialling.addErrback(lambda _: None)
    assert failure.check(ConnectionFailed)
    assert failure.getErrorMessage() == f"127.0.0.2:6971: {REFUSALS[name]}"
    assert transport.disconnected


def test_tables_are_up_to_date() -> None:
    """Every recorded method is in one table; our client has none of the second one."""
    recorded_methods = {
        call.method
        for name, recording in RECORDINGS.items()
        for call in recording.calls
        if name != "call-errors"
    }
    assert recorded_methods | {PING} == METHODS.keys() | LACKING
    assert METHODS.keys().isdisjoint(LACKING)
    for method in LACKING:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.partition(".")[2]).lower()
        assert not hasattr(ImageServerClient, name)
        assert not hasattr(ObjectServerClient, name)
