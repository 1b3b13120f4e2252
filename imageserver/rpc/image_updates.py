"""GetImageUpdates: everything that is there, then every change.

::

    S: ImageUpdate for each directory, parents first; for each image; an empty one
    S: ImageUpdate for each change, until the client closes the connection
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from imageserver.errors import LimitExceeded, PeerClosed
from imageserver.images.changes import Change, Operation
from imageserver.images.database import ImageDatabase
from imageserver.model.image import Directory, DirectoryMetadata
from imageserver.model.image_messages import (
    GetFilteredImageUpdatesRequest,
    ImageUpdate,
)
from imageserver.model.version_sort import version_key
from imageserver.srpc.call import Call
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import Data
from imageserver.worker import Worker

BACKLOG = 20_000
"""How many changes a client may be behind."""
_SENT_AT_ONCE = 1_000
_DISCARDED_BYTES = 64 << 10
_END_OF_LIST = ImageUpdate(operation=Operation.ADD_IMAGE)


class ImageUpdates:
    """Serves those who follow the image database."""

    def __init__(self, database: ImageDatabase, metadata: Worker) -> None:
        """Follow ``database``, whose work is done by ``metadata``."""
        self._database = database
        self._metadata = metadata

    async def get_image_updates(self, call: Call) -> None:
        """Send everything, then every change."""
        await self._follow(call, ignore_expiring=False)

    async def get_filtered_image_updates(self, call: Call) -> None:
        """The same, perhaps without images that expire."""
        request = await call.receive(GetFilteredImageUpdatesRequest)
        await self._follow(call, ignore_expiring=request.ignore_expiring)

    async def _follow(self, call: Call, *, ignore_expiring: bool) -> None:
        follower = Follower(call)
        changes = self._database.changes

        def look() -> list[Change]:
            return _everything(self._database)

        try:
            listing = await self._metadata.run(changes.listen, follower.put, look)
            await _send(call, listing, ignore_expiring=ignore_expiring)
            call.send(_END_OF_LIST)
            await call.drain()
            while True:
                news = await follower.news()
                await _send(call, news, ignore_expiring=ignore_expiring)
        except PeerClosed:
            raise follower.ended or PeerClosed("the client has left") from None
        finally:
            changes.leave(follower.put)
            follower.end()


def _everything(database: ImageDatabase) -> list[Change]:
    """What is there, as if it had just been made; directories first, in order."""
    index = database.index
    directories = sorted(index.directories().items(), key=lambda d: version_key(d[0]))
    return [
        *[
            Change(Operation.MAKE_DIRECTORY, name, owner_group=group)
            for name, group in directories
        ],
        *[
            Change(Operation.ADD_IMAGE, record.name, expires=record.expires)
            for record in index.images()
        ],
    ]


async def _send(call: Call, changes: list[Change], *, ignore_expiring: bool) -> None:
    for number, change in enumerate(changes):
        is_image = change.operation == Operation.ADD_IMAGE
        if is_image and change.expires and ignore_expiring:
            continue
        call.send(_update(change))
        if number % _SENT_AT_ONCE == 0:
            await call.drain()
    await call.drain()


def _update(change: Change) -> ImageUpdate:
    if change.operation == Operation.MAKE_DIRECTORY:
        metadata = DirectoryMetadata(change.owner_group)
        directory = Directory(change.name, metadata)
        return ImageUpdate("", directory, change.operation)
    return ImageUpdate(change.name, None, change.operation)


class Follower:
    """One client, and the changes that it was not told of yet.

    What the client says is read and thrown away, so that its leaving is noticed.

    Attributes:
        ended: why there is no more to tell; ``None``: there may be.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._changes: deque[Change] = deque()
        self._waiting: Deferred[None] | None = None
        self.ended: Exception | None = None
        self._reading = Deferred.fromCoroutine(_discard(call))
        self._reading.addErrback(self._stop)

    def put(self, change: Change) -> None:
        """There is something to tell."""
        if self.ended is not None:
            return
        if len(self._changes) >= BACKLOG:
            text = f"more than {BACKLOG} changes behind"
            self._fail(LimitExceeded(Limit.READING, text))
            self._call.channel.abort()
            return
        self._changes.append(change)
        self._wake()

    async def news(self) -> list[Change]:
        """What there is to tell; waits for it.

        Raises:
            RemoteProtocolError: the client has left, or does not keep up.
        """
        if not self._changes and self.ended is None:
            self._waiting = Deferred()
            await self._waiting
        if self.ended is not None:
            raise self.ended
        news = list(self._changes)
        self._changes.clear()
        return news

    def end(self) -> None:
        """Nobody will be told any more."""
        self._reading.cancel()

    def _stop(self, failure: Failure) -> None:
        self._fail(PeerClosed(failure.getErrorMessage()))

    def _fail(self, error: Exception) -> None:
        self.ended = self.ended or error
        self._changes.clear()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def _discard(call: Call) -> None:
    """Read until the client closes the connection.

    Raises:
        PeerClosed: it has.
    """
    while True:
        await call.channel.take(Data(_DISCARDED_BYTES))
