"""GetImageUpdates: everything that is there, then every change.

::

    S: ImageUpdate for each directory, parents first; for each image; an empty one
    S: ImageUpdate for each change, until the client closes the connection
"""

from __future__ import annotations

from imageserver.errors import PeerClosed
from imageserver.images.changes import Change, Operation
from imageserver.images.damaged import damaged_images
from imageserver.images.database import ImageDatabase
from imageserver.model.image import Directory, DirectoryMetadata
from imageserver.model.image_messages import (
    GetFilteredImageUpdatesRequest,
    ImageUpdate,
)
from imageserver.model.version_sort import version_key
from imageserver.rpc.follower import Follower
from imageserver.srpc.call import Call
from imageserver.worker import Worker

BACKLOG = 20_000
"""How many changes a client may be behind."""
_SENT_AT_ONCE = 1_000
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
        follower: Follower[Change] = Follower(call, BACKLOG)
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
    """What is there, as if it had just been made; directories first, in order.

    Images of which only a damaged file is left are named, too: replicas that have good
    copies must not delete them.
    """
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
        *[Change(Operation.ADD_IMAGE, name) for name in damaged_images(database)],
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
