"""Objects without images, and the leases of what connections upload, over SRPC."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from srpc.peers import Link, Recorder, make_server
from stores import Stores
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
    Object,
)
from imageserver.model.object_messages import AddObjectRequest
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.leases import LEASE_NS
from imageserver.rpc import unreferenced_objects
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_server import ObjectService
from imageserver.rpc.unreferenced_objects import UnreferencedObjectService
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.testing import InlineWorker


class UnreferencedObjects(SynchronousTestCase):
    """A server with an empty store."""

    def setUp(self) -> None:
        self.now_ns = 10**18
        stores = Stores(self, lambda: self.now_ns)
        self.index, self.store = stores.index, stores.objects
        self.obstacle = ""
        collection = Collection(
            self.store, self.index, CleanupLimits(), lambda: self.obstacle
        )
        worker = InlineWorker()
        unreferenced = UnreferencedObjectService(
            collection, self.index, lambda: self.now_ns, worker, worker
        )
        self.methods = unreferenced.methods(open_reads=True)
        self.clock = clock = Clock()
        imports = ObjectImports(
            self.store, worker, Agent(clock), clock, ImportSources()
        )
        objects = ObjectService(self.store, worker, imports, clock)
        self.server = make_server(
            self.clock,
            [
                *self.methods,
                *objects.methods(
                    public_add=False,
                    public_check=False,
                    public_get=False,
                    open_reads=False,
                ),
            ],
        )

    def connect(self) -> tuple[Recorder, Link]:
        """A new connection."""
        peer = Recorder()
        channel = Channel(self.clock, Deadlines())
        link = Link(self.clock, channel, peer)
        self.server.serve(channel, True, "")
        return peer, link

    def exchange(self, connection: tuple[Recorder, Link], data: bytes) -> bytes:
        """Send something; all that comes back."""
        peer, link = connection
        peer.transport.write(data)
        link.pump()
        return peer.take()

    def upload(self, connection: tuple[Recorder, Link], *contents: bytes) -> None:
        """Upload objects."""
        encoder = gob.Encoder()
        data = b"ObjectServer.AddObjects\n"
        for content in contents:
            data += encoder.encode(AddObjectRequest(len(content))) + content
        self.exchange(connection, data + encoder.encode(AddObjectRequest()))

    def list(self) -> list[Object]:
        """What is listed, with the end mark."""
        answer = self.exchange(self.connect(), b"ImageServer.ListUnreferencedObjects\n")
        self.assertEqual(answer[:1], b"\n")
        decoder, found, position = gob.Decoder(), [], 1
        while position < len(answer):
            message, position = gob.next_message(answer, position, gob.DEFAULT_LIMITS)
            value = decoder.feed(message, Object)
            if value is not gob.MORE:
                found.append(value)
        return found

    def delete(self, percentage: int, bytes_: int) -> bytes:
        """What is answered to somebody who wants to delete objects."""
        request = DeleteUnreferencedObjectsRequest(percentage, bytes_)
        return self.exchange(
            self.connect(),
            b"ImageServer.DeleteUnreferencedObjects\n" + gob.Encoder().encode(request),
        )

    def test_access(self) -> None:
        """Deleting takes power over the method; listing is reading."""
        delete, list_ = self.methods
        self.assertFalse(delete.public or delete.unauthenticated)
        self.assertTrue(list_.public and list_.unauthenticated)

    def test_nothing(self) -> None:
        """Of nothing, the list is just its end."""
        self.assertEqual(self.list(), [Object()])

    def test_list(self) -> None:
        """All objects come that could be deleted, over pages of them."""
        self.patch(unreferenced_objects, "_LISTED_AT_ONCE", 3)
        contents = [b"%d" % n for n in range(10)]
        connection = self.connect()
        self.upload(connection, *contents)
        self.assertEqual(self.list(), [Object()])
        self.now_ns += LEASE_NS
        hashes = sorted(map(hash_of, contents))
        self.assertEqual(self.list(), [*(Object(h, 1) for h in hashes), Object()])

    def test_delete(self) -> None:
        """What is out of use longest goes; who wants more than there is is told so."""
        connection = self.connect()
        for content in (b"first", b"second", b"third"):
            self.now_ns += 1
            self.upload(connection, content)
        self.now_ns += LEASE_NS
        answer = self.delete(0, 1)
        expected = gob.Encoder().encode(DeleteUnreferencedObjectsResponse())
        self.assertEqual(answer, b"\n\n" + expected)
        self.assertNotIn(hash_of(b"first"), self.index.objects_after(b"", 9))
        self.assertEqual(len(self.list()), 3)
        self.assertEqual(self.delete(0, 1000), b"\nno more objects to delete\n")
        self.assertEqual(self.list(), [Object()])

    def test_obstacle(self) -> None:
        """The reason why nothing can be deleted comes without paths."""
        self.obstacle = "the images are being loaded"
        self.assertEqual(
            self.delete(100, 0),
            b"\ncannot delete objects: the images are being loaded\n",
        )

    def test_leases_of_connections(self) -> None:
        """Uploads are kept while their connection lives, and for a lease more."""
        connection, other = self.connect(), self.connect()
        self.upload(connection, b"first")
        self.upload(other, b"of another one")
        for _ in range(3):
            self.now_ns += LEASE_NS - 1
            self.store.leases.renew()
            self.upload(connection, b"second")
        other[1].left.lose(ConnectionLost())
        self.now_ns += LEASE_NS - 1
        self.store.leases.renew()
        self.now_ns += 1
        self.delete(100, 0)
        left = self.index.objects_after(b"", 9)
        self.assertEqual(left.keys(), {hash_of(b"first"), hash_of(b"second")})
        connection[1].left.lose(ConnectionLost())
        self.now_ns += LEASE_NS - 1
        self.delete(100, 0)
        self.assertEqual(len(self.index.objects_after(b"", 9)), 2)
        self.now_ns += 1
        self.delete(100, 0)
        self.assertEqual(self.index.objects_after(b"", 9), {})
