"""Following the images of a server.

::

    S: ImageUpdate for each directory, parents first; for each image; an empty one
    S: ImageUpdate for each change, until the client closes the connection
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imageserver.model.image_messages import (
    GetFilteredImageUpdatesRequest,
    ImageUpdate,
)
from imageserver.srpc.call import Call
from imageserver.srpc.client import Remote


class Updates:
    """What a server tells, in its order."""

    def __init__(self, call: Call) -> None:
        """Listen to the server's part of a call."""
        self._call = call

    async def next(self) -> ImageUpdate:
        """The next one, however long it takes to come.

        Raises:
            ProtocolError: the connection broke.
            DecodeError: it is none.
        """
        await self._call.wait()
        return await self._call.receive(ImageUpdate)


@asynccontextmanager
async def follow_images(
    remote: Remote, *, ignore_expiring: bool
) -> AsyncIterator[Updates]:
    """Follow a server for the time of a block.

    Args:
        remote: the server; the connection is of no further use then.
        ignore_expiring: whether to hear nothing of images that expire.

    Raises:
        CallError: the server refuses.
        ProtocolError: the connection broke.
    """
    if not ignore_expiring:
        async with remote.begin("ImageServer.GetImageUpdates") as call:
            yield Updates(call)
        return
    async with remote.begin("ImageServer.GetFilteredImageUpdates") as call:
        call.send(GetFilteredImageUpdatesRequest(ignore_expiring=True))
        await call.drain()
        yield Updates(call)
