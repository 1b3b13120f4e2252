"""The methods of ImageServer that change images and directories."""

from __future__ import annotations

from twisted.internet.defer import DeferredSemaphore

from imageserver import gob
from imageserver.errors import RequestError
from imageserver.gob import Time
from imageserver.images.database import ImageDatabase
from imageserver.model.image_messages import (
    AddImageResponse,
    AddScannedImageRequest,
    ChangeImageExpirationRequest,
    ChangeImageExpirationResponse,
    ChangeOwnerRequest,
    ChangeOwnerResponse,
    DeleteDirectoryRequest,
    DeleteDirectoryResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.srpc.access import Caller
from imageserver.worker import Worker

_ADDED_AT_ONCE = 2


def signed(
    request: AddScannedImageRequest, caller: Caller, now_ns: int
) -> AddScannedImageRequest:
    """A request whose image, if any, says that the caller has made it, now."""
    image = request.image
    if image is None:
        return request
    now = Time.from_nanoseconds(now_ns)
    image = gob.evolve(image, created_by=caller.user, created_on=now)
    return gob.evolve(request, image=image)


class ImageChanges:
    """Changes an image database."""

    def __init__(self, database: ImageDatabase, metadata: Worker) -> None:
        """Change ``database``, whose work is done by ``metadata``."""
        self._database = database
        self._metadata = metadata
        self._adding = DeferredSemaphore(_ADDED_AT_ONCE)

    async def add(
        self, caller: Caller, request: AddScannedImageRequest
    ) -> AddImageResponse:
        """Add an image, made by the caller, now."""
        request = signed(request, caller, self._database.now_ns())
        return await self.add_trusted(caller, request)

    async def add_trusted(
        self, caller: Caller, request: AddScannedImageRequest
    ) -> AddImageResponse:
        """Add an image that says itself by whom and when it was made."""
        add = self._database.add
        async with self._adding:  # large ones take long: others find threads free
            await self._metadata.run(add, request.image_name, request.image, caller)
        return AddImageResponse()

    async def change_expiration(
        self, caller: Caller, request: ChangeImageExpirationRequest
    ) -> ChangeImageExpirationResponse:
        """Let an image expire later."""
        change = self._database.change_expiration
        try:
            await self._metadata.run(
                change, request.image_name, request.expires_at, caller
            )
        except RequestError as error:
            return ChangeImageExpirationResponse(str(error))
        return ChangeImageExpirationResponse()

    async def delete(
        self, caller: Caller, request: DeleteImageRequest
    ) -> DeleteImageResponse:
        """Delete an image."""
        await self._metadata.run(self._database.delete, request.image_name, caller)
        return DeleteImageResponse()

    async def change_owner(
        self, caller: Caller, request: ChangeOwnerRequest
    ) -> ChangeOwnerResponse:
        """Give a directory to a group."""
        change = self._database.change_owner
        await self._metadata.run(
            change, request.directory_name, request.owner_group, caller
        )
        return ChangeOwnerResponse()

    async def delete_directory(
        self, _: Caller, request: DeleteDirectoryRequest
    ) -> DeleteDirectoryResponse:
        """Remove a directory."""
        remove = self._database.remove_directory
        try:
            await self._metadata.run(remove, request.directory_name)
        except RequestError as error:
            return DeleteDirectoryResponse(str(error))
        return DeleteDirectoryResponse()

    async def make_directory(
        self, caller: Caller, request: MakeDirectoryRequest
    ) -> MakeDirectoryResponse:
        """Make a directory."""
        make = self._database.make_directory
        await self._metadata.run(make, request.directory_name, request.make_all, caller)
        return MakeDirectoryResponse()
