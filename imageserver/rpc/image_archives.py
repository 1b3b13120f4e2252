"""The methods of ImageServer that archive images and bring them back."""

from __future__ import annotations

from twisted.internet.defer import DeferredSemaphore

from imageserver.errors import RequestError
from imageserver.images.archives import Archives
from imageserver.images.database import ImageDatabase
from imageserver.model.image_messages import (
    GetImageArchiveRequest,
    GetImageArchiveResponse,
    RestoreImageFromArchiveRequest,
    RestoreImageFromArchiveResponse,
)
from imageserver.srpc.access import Caller
from imageserver.worker import Worker

_AT_ONCE = 2  # archives are as large as images, and in memory


class ImageArchives:
    """Makes and reads archives."""

    def __init__(self, database: ImageDatabase, metadata: Worker) -> None:
        """Archive images of ``database``, whose work is done by ``metadata``."""
        self._archives = Archives(database)
        self._metadata = metadata
        self._working = DeferredSemaphore(_AT_ONCE)

    async def get(
        self, _: Caller, request: GetImageArchiveRequest
    ) -> GetImageArchiveResponse:
        """A signed copy of an image."""
        make = self._archives.make
        try:
            async with self._working:
                data = await self._metadata.run(make, request.image_name)
        except RequestError as error:
            return GetImageArchiveResponse(error=str(error))
        return GetImageArchiveResponse(data)

    async def restore(
        self, caller: Caller, request: RestoreImageFromArchiveRequest
    ) -> RestoreImageFromArchiveResponse:
        """Bring an image back."""
        restore = self._archives.restore
        try:
            async with self._working:
                await self._metadata.run(
                    restore, request.archive_data, request.expires_at, caller
                )
        except RequestError as error:
            return RestoreImageFromArchiveResponse(str(error))
        return RestoreImageFromArchiveResponse()
