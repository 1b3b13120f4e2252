"""GetImage, where it waits."""

from __future__ import annotations

from stores import Stores
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import PeerClosed, RequestError
from imageserver.images.information import InformationTemplate
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.image_messages import (
    AddScannedImageRequest,
    GetImageRequest,
    GetImageResponse,
)
from imageserver.model.inode import DirectoryInode
from imageserver.rpc.image_changes import ImageChanges
from imageserver.rpc.image_download import ImageDownload, StoredResponse
from imageserver.srpc.access import ANONYMOUS, Caller
from imageserver.testing import POWERFUL, InlineWorker, scanned

SECOND = 1_000_000_000


class Waiting(SynchronousTestCase):
    """A client asks for an image that is not there."""

    def setUp(self) -> None:
        """An empty database that has its root."""
        self.database = database = Stores(self, lambda: 1).database
        self.clock = Clock()
        self.download = ImageDownload(
            database, InlineWorker(), self.clock, InformationTemplate("")
        )
        self.changes = ImageChanges(database, InlineWorker())
        self.departures: list[Deferred[None]] = []
        self.caller = Caller(ANONYMOUS, False, "", self.departure)

    def departure(self) -> Deferred[None]:
        """What fires when the client goes away."""
        self.departures.append(Deferred())
        return self.departures[-1]

    def ask(self, timeout_ns: int) -> Deferred:
        """Ask for the image."""
        request = GetImageRequest("name", timeout_ns=timeout_ns)
        return Deferred.fromCoroutine(self.download.get_image(self.caller, request))

    def add(self) -> None:
        """Somebody adds it."""
        image = scanned(
            Image(file_system=FileSystem(root=DirectoryInode(mode=0o40755)))
        )
        request = AddScannedImageRequest("name", image)
        adding = self.changes.add(POWERFUL, request)
        self.successResultOf(Deferred.fromCoroutine(adding))

    def test_incomplete(self) -> None:
        """Of an incomplete image there is only what needs no objects."""
        self.add()
        self.database.incomplete = {"name": 2}
        self.assertEqual(
            str(self.failureResultOf(self.ask(0), RequestError).value),
            "image: name is incomplete: 2 of its objects missing",
        )
        request = GetImageRequest("name", ignore_file_system=True)
        getting = self.download.get_image(self.caller, request)
        response = self.successResultOf(Deferred.fromCoroutine(getting))
        response.close()

    def assert_nothing_left(self) -> None:
        """Nobody waits any more, and no timer runs."""
        self.assertEqual(self.download._waiting, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timeout(self) -> None:
        """Without a timeout, or with a negative one, there is no image at once."""
        for timeout_ns in (0, -SECOND):
            response = self.successResultOf(self.ask(timeout_ns))
            self.assertEqual(response, GetImageResponse())

    def test_timeout(self) -> None:
        """There is no image when the time is over, and not before."""
        asking = self.ask(2 * SECOND)
        self.clock.advance(1.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(asking), GetImageResponse())
        self.assert_nothing_left()

    def test_added_meanwhile(self) -> None:
        """All who wait are answered as soon as the image is there."""
        both = [self.ask(60 * SECOND), self.ask(60 * SECOND)]
        self.add()
        for asking in both:
            response = self.successResultOf(asking)
            self.assertIsInstance(response, StoredResponse)
            response.close()
        self.assert_nothing_left()

    def test_client_leaves(self) -> None:
        """A client that goes away ends its waiting, so that the server can stop."""
        asking = self.ask(60 * SECOND)
        self.departures[0].callback(None)
        self.failureResultOf(asking, PeerClosed)
        self.assert_nothing_left()
