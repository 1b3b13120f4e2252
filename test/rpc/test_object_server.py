"""GetObjects and AddObjects, on objects in memory."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import os
from typing import Any

from rpc.web import Web, refused
from srpc.peers import Link, Recorder, make_server
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver import gob
from imageserver.errors import ObjectNotFound
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    CheckObjectsRequest,
    CheckObjectsResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)
from imageserver.objects.memory import MemoryStorage
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_server import ObjectOptions, ObjectService
from imageserver.srpc.access import Identity, Policy
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.testing import InlineWorker

SMALL = [b"object %d" % number for number in range(20)]
LARGE = os.urandom(3 << 20)
DEADLINES = Deadlines(body_s=5, stall_s=5)
ADMIN = Identity("admin", methods=("*.*",))
USER = Identity("user")


class Client:
    """One connection."""

    def __init__(self, case: ServiceCase, identity: Identity) -> None:
        self.peer = Recorder()
        self.channel = Channel(case.clock, DEADLINES)
        self.link = Link(case.clock, self.channel, self.peer)
        case.server.serve(self.channel, True, "", identity=identity)

    def send(self, data: bytes) -> bytes:
        """Send something; what comes back."""
        self.peer.transport.write(data)
        return self.read()

    def read(self) -> bytes:
        """What has come."""
        self.link.pump()
        return self.peer.take()

    def get(self, *contents: bytes, exclusive: bool = False) -> bytes:
        """Ask for objects; everything that comes back."""
        request = GetObjectsRequest(exclusive, tuple(map(hash_of, contents)))
        encoded = gob.Encoder().encode(request)
        return self.send(b"ObjectServer.GetObjects\n" + encoded)

    def is_usable(self) -> bool:
        """Whether the next call works."""
        return self.send(b"\n") == b"\n"


class ServiceCase(SynchronousTestCase):
    """A server on a storage."""

    def setUp(self) -> None:
        self.storage = MemoryStorage(100 << 20)
        self.clock = Clock()
        self.serve()
        for content in (*SMALL, LARGE):
            self.storage.contents[hash_of(content)] = content

    def serve(self, options: ObjectOptions | None = None) -> None:
        """Begin to serve, with options."""
        worker = InlineWorker()
        imports = ObjectImports(
            self.storage, worker, Web(refused), self.clock, ImportSources()
        )
        self.service = ObjectService(self.storage, worker, imports, self.clock, options)
        methods = self.service.methods(
            public_add=False, public_check=True, public_get=True, open_reads=False
        )
        self.server = make_server(
            self.clock, methods, policy=Policy(), deadlines=DEADLINES
        )

    def connect(self, identity: Identity = ADMIN) -> Client:
        """A client."""
        return Client(self, identity)

    def damage(self, content: bytes) -> None:
        """Let an object have another content of the same size."""
        self.storage.contents[hash_of(content)] = content[:-1] + bytes(
            [content[-1] ^ 1]
        )


def answer(*contents: bytes, error: str = "", sizes: Any = None) -> bytes:
    """All of a good answer."""
    if sizes is None:
        sizes = tuple(map(len, contents))
    response = gob.Encoder().encode(GetObjectsResponse(error, sizes))
    return b"\n" + response + b"".join(contents)


class GetObjects(ServiceCase):
    """Objects on their way out."""

    def test_contents(self) -> None:
        """Small and large ones come in the order asked for, as often as asked for."""
        wanted = [*SMALL[:3], LARGE, SMALL[7], LARGE, SMALL[7], *SMALL]
        for verify in (False, True):
            self.serve(ObjectOptions(verify))
            client = self.connect()
            self.assertEqual(client.get(*wanted), answer(*wanted))
            self.assertEqual(client.get(), answer())
            self.assertTrue(client.is_usable())

    def test_unknown(self) -> None:
        """What is not there is named, and the next call works."""
        client = self.connect()
        text = f"unknown object: {hash_of(b'x').hex()}"
        expected = answer(error=text, sizes=(0, len(SMALL[0])))
        self.assertEqual(client.get(b"x", SMALL[0]), expected)
        self.assertEqual(client.get(SMALL[0]), answer(SMALL[0]))

    def check_damaged(self, content: bytes, *before: bytes) -> None:
        """The stream breaks before the last byte of a wrong object, which is gone."""
        self.serve(ObjectOptions(verify_reads=True))
        self.damage(content)
        client = self.connect()
        received = client.get(*before, content, SMALL[9])
        whole = answer(*before, content, SMALL[9])
        self.assertTrue(whole.startswith(received))
        self.assertLess(len(received), len(whole) - len(SMALL[9]))
        self.assertTrue(client.channel.closed)
        self.assertEqual(self.storage.quarantined, 1)
        text = f"unknown object: {hash_of(content).hex()}"
        self.assertEqual(self.connect().get(content), answer(error=text, sizes=(0,)))

    def test_damaged_large(self) -> None:
        """A large one, of which all but the last piece was sent."""
        self.check_damaged(LARGE, SMALL[0])

    def test_damaged_small(self) -> None:
        """A small one, after large ones and beside small ones."""
        self.check_damaged(SMALL[4], LARGE, SMALL[0])

    def test_cannot_be_read(self) -> None:
        """A disk that fails breaks the connection, and is no failure of ours."""

        def fail(*_: Any) -> Any:
            raise OSError(5, "Input/output error")

        for method, content in (("read_objects", SMALL[0]), ("reader", LARGE)):
            self.patch(self.storage, method, fail)
            client = self.connect()
            response = answer(sizes=(len(content),))
            self.assertEqual(client.get(content), response)
            self.assertTrue(client.channel.closed)
        self.assertEqual(self.server.accounting.crashed_calls, 0)

    def test_one_of_several_gone(self) -> None:
        """What was opened is closed when another one cannot be."""
        readers: list[Any] = []
        real = self.storage.reader
        closed: list[Any] = []

        class Reader:
            def __init__(self, inner: Any) -> None:
                self.inner = inner
                self.size = inner.size
                self.descriptor = None
                self.read = inner.read

            def close(self) -> None:
                closed.append(self)

        def reader(hash_: bytes, size: int) -> Any:
            if len(readers) == 3:
                raise ObjectNotFound(hash_)
            readers.append(Reader(real(hash_, size)))
            return readers[-1]

        self.patch(self.storage, "reader", reader)
        client = self.connect()
        client.get(*[LARGE] * 5)
        self.assertTrue(client.channel.closed)
        self.assertEqual(closed, readers)
        readers.clear()
        closed.clear()
        client = self.connect()
        client.peer.transport.pauseProducing()
        client.get(*[LARGE] * 3)
        client.link.left.lose(ConnectionError())
        self.assertEqual(closed, readers)
        self.assertEqual(len(closed), 3)

    def test_damaged_without_verifying(self) -> None:
        """Without the flag objects are sent as they are."""
        self.damage(SMALL[4])
        damaged = self.storage.contents[hash_of(SMALL[4])]
        self.assertEqual(self.connect().get(SMALL[4]), answer(damaged))

    def test_exclusive(self) -> None:
        """Who has power over the method may have it alone, for a while."""
        slow, alone, other = self.connect(USER), self.connect(), self.connect(USER)
        slow.peer.transport.pauseProducing()
        slow.get(LARGE)
        self.assertEqual(alone.get(SMALL[0], exclusive=True), b"\n")
        self.assertEqual(other.get(SMALL[1]), b"\n")
        slow.peer.transport.resumeProducing()
        self.assertEqual(slow.read(), answer(LARGE))
        self.assertEqual(b"\n" + alone.read(), answer(SMALL[0]))
        self.assertEqual(b"\n" + other.read(), answer(SMALL[1]))
        self.assertEqual(self.service.slots.used, 0)

    def test_exclusive_for_others(self) -> None:
        """Nobody else can keep others waiting."""
        slow, client, other = (self.connect(USER) for _ in range(3))
        slow.peer.transport.pauseProducing()
        slow.get(LARGE, exclusive=True)
        self.assertEqual(client.get(SMALL[0], exclusive=True), answer(SMALL[0]))
        self.assertEqual(other.get(SMALL[1]), answer(SMALL[1]))
        slow.peer.transport.resumeProducing()
        self.assertEqual(slow.read(), answer(LARGE))

    def test_slots_come_back(self) -> None:
        """Whoever goes, or does not read, does not keep a slot."""
        gone, stalled = self.connect(), self.connect()
        for client in (gone, stalled):
            client.peer.transport.pauseProducing()
            client.get(LARGE, exclusive=client is gone)
        self.assertEqual(self.service.slots.used, 1)
        gone.link.left.lose(ConnectionError())
        self.assertEqual(self.service.slots.used, 1)
        self.clock.advance(DEADLINES.stall_s)
        self.assertEqual(self.service.slots.used, 0)

    def test_not_a_request(self) -> None:
        """Something else than a request takes no slot, and is answered."""
        client = self.connect()
        request = gob.Encoder().encode(CheckObjectsResponse((1,)))
        received = client.send(b"ObjectServer.GetObjects\n" + request)
        response = gob.decode(received[1:], GetObjectsResponse).value
        self.assertNotEqual(response.error, "")
        self.assertTrue(client.channel.closed)
        self.assertEqual(self.service.slots.used, 0)


class AddObjects(ServiceCase):
    """Objects on their way in."""

    def add(self, client: Client, *objects: tuple[int, bytes]) -> list[Any]:
        """Announce and send objects, and end; the answers."""
        encoder = gob.Encoder()
        data = b"ObjectServer.AddObjects\n"
        for length, content in objects:
            data += encoder.encode(AddObjectRequest(length)) + content
        received = client.send(data + encoder.encode(AddObjectRequest()))
        decoder, position, answers = gob.Decoder(), 1, []
        while position < len(received):
            message, position = gob.next_message(received, position, gob.DEFAULT_LIMITS)
            value = decoder.feed(message, AddObjectResponse)
            if value is not gob.MORE:
                answers.append(value)
        return answers

    def test_too_long(self) -> None:
        """An object over the limit is refused with both sizes, and ends the stream."""
        self.serve(ObjectOptions(object_bytes=1000))
        client = self.connect()
        first, second = self.add(client, (1000, bytes(1000)), (1001, b""))
        self.assertEqual((first.error, first.added), ("", True))
        text = "object of 1001 bytes: the limit is 1000 (-maxObjectSize)"
        self.assertEqual(second, AddObjectResponse(text, bytes(64), False))
        self.assertTrue(client.channel.closed)

    def test_no_space(self) -> None:
        """One for which there is no space is skipped; those behind it are not."""
        self.storage.limit_bytes = sum(map(len, self.storage.contents.values())) + 2000
        client = self.connect()
        answers = self.add(
            client, (1000, bytes(1000)), (3000, b"x" * 3000), (100, b"y" * 100)
        )
        self.assertEqual([answer.added for answer in answers], [True, False, True])
        text = "cannot store: no space for an object of 3000 bytes"
        self.assertEqual(answers[1].error, text)
        self.assertTrue(client.is_usable())

    def test_far_too_little_space(self) -> None:
        """One that would take long to skip ends the stream."""
        client = self.connect()
        (refusal,) = self.add(client, (2 << 30, b""))
        self.assertEqual(refusal.error, f"no space for an object of {2 << 30} bytes")
        self.assertTrue(client.channel.closed)


class CheckObjects(ServiceCase):
    """Which objects are there."""

    def test_sizes(self) -> None:
        """Sizes come in the order of the request; 0: not there."""
        client = self.connect(USER)
        hashes = (hash_of(SMALL[3]), bytes(64), hash_of(LARGE), hash_of(SMALL[3]))
        request = gob.Encoder().encode(CheckObjectsRequest(hashes))
        sizes = (len(SMALL[3]), 0, len(LARGE), len(SMALL[3]))
        response = gob.Encoder().encode(CheckObjectsResponse(sizes))
        received = client.send(b"ObjectServer.CheckObjects\n" + request)
        self.assertEqual(received, b"\n\n" + response)
