"""Calls of ImageServer that people and their programs make.

:mod:`imageserver.client.image_server` has those that everybody makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imageserver.client.image_server import ImageServerClient, check_error
from imageserver.gob import Time
from imageserver.model.image_messages import (
    ChangeImageExpirationRequest,
    ChangeImageExpirationResponse,
    ChangeOwnerRequest,
    ChangeOwnerResponse,
    DeleteDirectoryRequest,
    DeleteDirectoryResponse,
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
    GetImageArchiveRequest,
    GetImageArchiveResponse,
    GetImageInodesRequest,
    GetImageInodesResponse,
    GetImageUsageEstimateRequest,
    GetImageUsageEstimateResponse,
    GetObjectStatisticsForImagesRequest,
    GetObjectStatisticsForImagesResponse,
    ImageUpdate,
    ImportTreeRequest,
    ImportTreeResponse,
    Object,
    RestoreImageFromArchiveRequest,
    RestoreImageFromArchiveResponse,
)

_FOR_EVER_S = 1e8
_IMPORT_PATIENCE_S = 24 * 3600.0


class ImageCatalog(ImageServerClient):
    """All calls of ImageServer of one server.

    All methods raise ``CallError`` if the server refuses, ``ProtocolError`` if the
    connection breaks.
    """

    async def change_expiration(self, name: str, expires_at: Time) -> None:
        """Let an image expire later; a zero time: never."""
        response = await self._remote.call(
            "ImageServer.ChangeImageExpiration",
            ChangeImageExpirationRequest(expires_at, name),
            ChangeImageExpirationResponse,
        )
        check_error(response.error)

    async def chown_directory(self, name: str, group: str) -> None:
        """Give a directory to a group; empty: to nobody."""
        await self._remote.call(
            "ImageServer.ChownDirectory",
            ChangeOwnerRequest(name, group),
            ChangeOwnerResponse,
        )

    async def delete_directory(self, name: str) -> None:
        """Remove an empty directory."""
        response = await self._remote.call(
            "ImageServer.DeleteDirectory",
            DeleteDirectoryRequest(name),
            DeleteDirectoryResponse,
        )
        check_error(response.error)

    async def delete_unreferenced_objects(self, percentage: int, size: int) -> None:
        """Delete so many percent, and so many bytes, of the objects out of use."""
        await self._remote.call(
            "ImageServer.DeleteUnreferencedObjects",
            DeleteUnreferencedObjectsRequest(percentage, size),
            DeleteUnreferencedObjectsResponse,
        )

    async def list_unreferenced_objects(self) -> list[Object]:
        """The objects that no image uses, in no particular order."""
        found: list[Object] = []
        async with self._remote.begin("ImageServer.ListUnreferencedObjects") as call:
            while True:
                item = await call.receive(Object)
                if not item.size:
                    return found
                found.append(item)

    async def get_archive(self, name: str) -> GetImageArchiveResponse:
        """A signed copy of an image, or the server from which to get it."""
        response = await self._remote.call(
            "ImageServer.GetImageArchive",
            GetImageArchiveRequest(name),
            GetImageArchiveResponse,
        )
        check_error(response.error)
        return response

    async def restore_archive(self, archive: bytes, expires_at: Time) -> str:
        """Bring an archived image back; not empty: the server where to do it."""
        response = await self._remote.call(
            "ImageServer.RestoreImageFromArchive",
            RestoreImageFromArchiveRequest(archive, expires_at),
            RestoreImageFromArchiveResponse,
        )
        check_error(response.error)
        return response.replication_master

    async def get_inodes(
        self, name: str, paths: Sequence[bytes]
    ) -> GetImageInodesResponse:
        """The inodes of some paths of an image; those that it has not are left out."""
        response = await self._remote.call(
            "ImageServer.GetImageInodes",
            GetImageInodesRequest(tuple(paths), name),
            GetImageInodesResponse,
        )
        check_error(response.error)
        return response

    async def estimate_usage(self, name: str) -> int | None:
        """How many bytes an image takes unpacked; ``None``: there is none."""
        response = await self._remote.call(
            "ImageServer.GetImageUsageEstimate",
            GetImageUsageEstimateRequest(name),
            GetImageUsageEstimateResponse,
        )
        return response.usage_estimate if response.image_exists else None

    async def get_object_statistics(
        self, names: Sequence[str], *, ignore_missing: bool = False
    ) -> GetObjectStatisticsForImagesResponse:
        """What images amount to together."""
        response = await self._remote.call(
            "ImageServer.GetObjectStatisticsForImages",
            GetObjectStatisticsForImagesRequest(ignore_missing, tuple(names)),
            GetObjectStatisticsForImagesResponse,
        )
        check_error(response.error)
        return response

    async def import_tree(self, request: ImportTreeRequest) -> ImportTreeResponse:
        """Let the server make an image of a published tree."""
        response = await self._remote.call(
            "ImageServer.ImportTree",
            request,
            ImportTreeResponse,
            patience_s=_IMPORT_PATIENCE_S,
        )
        check_error(response.error)
        return response

    async def follow(self, receive: Callable[[ImageUpdate], object]) -> None:
        """Tell what there is and then what changes, until cancelled.

        Args:
            receive: called with all directories and images, then with an update
                without a name, then with each change.
        """
        async with self._remote.begin("ImageServer.GetImageUpdates") as call:
            while True:
                receive(await call.receive(ImageUpdate, _FOR_EVER_S))
