"""The methods of ImageServer that answer questions, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore

from imageserver.errors import RequestError
from imageserver.gob import Time
from imageserver.images.database import ImageDatabase
from imageserver.images.inspection import (
    computed_files,
    find_inodes,
    measure_objects,
    read_file_system,
)
from imageserver.index.base import ImageRecord
from imageserver.model.file_system import FileSystem
from imageserver.model.image_messages import (
    CheckDirectoryRequest,
    CheckDirectoryResponse,
    CheckImageRequest,
    CheckImageResponse,
    FindLatestImageRequest,
    FindLatestImageResponse,
    GetImageComputedFilesRequest,
    GetImageComputedFilesResponse,
    GetImageExpirationRequest,
    GetImageExpirationResponse,
    GetImageInodesRequest,
    GetImageInodesResponse,
    GetImageUsageEstimateRequest,
    GetImageUsageEstimateResponse,
    GetObjectStatisticsForImagesRequest,
    GetObjectStatisticsForImagesResponse,
    GetReplicationMasterRequest,
    GetReplicationMasterResponse,
)
from imageserver.srpc.access import Caller
from imageserver.worker import Worker

T = TypeVar("T")


class ImageQueries:
    """Answers questions about the images of a database.

    Those that need every inode take time and memory: one at a time.
    """

    def __init__(self, database: ImageDatabase, metadata: Worker) -> None:
        """Answer from ``database``, whose work is done by ``metadata``."""
        self._database = database
        self._metadata = metadata
        self._inspecting = DeferredSemaphore(1)

    async def check_directory(
        self, _: Caller, request: CheckDirectoryRequest
    ) -> CheckDirectoryResponse:
        """Is there such a directory?"""
        index = self._database.index
        group = await self._metadata.run(index.owner_group, request.directory_name)
        return CheckDirectoryResponse(group is not None)

    async def check_image(
        self, _: Caller, request: CheckImageRequest
    ) -> CheckImageResponse:
        """Is there such an image?"""
        record = await self._record(request.image_name)
        return CheckImageResponse(record is not None)

    async def find_latest_image(
        self, _: Caller, request: FindLatestImageRequest
    ) -> FindLatestImageResponse:
        """The newest image of a directory."""
        try:
            name = await self._metadata.run(self._database.find_latest, request)
        except RequestError as error:
            return FindLatestImageResponse(error=str(error))
        return FindLatestImageResponse(name)

    async def get_expiration(
        self, _: Caller, request: GetImageExpirationRequest
    ) -> GetImageExpirationResponse:
        """When does an image expire?"""
        record = await self._record(request.image_name)
        if record is None:
            return GetImageExpirationResponse("image not found")
        if record.expires_at_ns is None:
            return GetImageExpirationResponse()
        return GetImageExpirationResponse(
            expires_at=Time.from_nanoseconds(record.expires_at_ns)
        )

    async def get_usage_estimate(
        self, _: Caller, request: GetImageUsageEstimateRequest
    ) -> GetImageUsageEstimateResponse:
        """How much space will it take?"""
        record = await self._record(request.image_name)
        if record is None:
            return GetImageUsageEstimateResponse()
        return GetImageUsageEstimateResponse(True, record.usage_bytes)

    async def get_computed_files(
        self, _: Caller, request: GetImageComputedFilesRequest
    ) -> GetImageComputedFilesResponse:
        """Which of its files are computed, and by whom?"""
        found = await self._inspect(request.image_name, computed_files)
        if found is None:
            return GetImageComputedFilesResponse()
        return GetImageComputedFilesResponse(found, True)

    async def get_inodes(
        self, _: Caller, request: GetImageInodesRequest
    ) -> GetImageInodesResponse:
        """The inodes of some files."""
        found = await self._inspect(
            request.image_name, lambda tree: find_inodes(tree, request.file_names)
        )
        if found is None:
            return GetImageInodesResponse()
        return GetImageInodesResponse(
            "", True, found.numbers, found.inodes, found.link_counts
        )

    async def get_object_statistics(
        self, _: Caller, request: GetObjectStatisticsForImagesRequest
    ) -> GetObjectStatisticsForImagesResponse:
        """What do images amount to together?"""
        database = self._database
        try:
            async with self._inspecting:
                found = await self._metadata.run(
                    measure_objects,
                    database.files,
                    database.index,
                    request.image_names,
                    ignore_missing=request.ignore_missing,
                )
        except RequestError as error:
            return GetObjectStatisticsForImagesResponse(error=str(error))
        return GetObjectStatisticsForImagesResponse(
            found.computation_ns,
            "",
            found.file_inodes,
            found.images,
            found.objects,
            found.file_inode_bytes,
            found.object_bytes,
        )

    async def get_replication_master(
        self, _: Caller, _request: GetReplicationMasterRequest
    ) -> GetReplicationMasterResponse:
        """Whom does this server follow? Nobody."""
        return GetReplicationMasterResponse()

    async def _record(self, name: str) -> ImageRecord | None:
        return await self._metadata.run(self._database.index.image, name)

    async def _inspect(
        self, name: str, function: Callable[[FileSystem], T]
    ) -> T | None:
        """What a function finds in an image; ``None``: there is no such image."""
        async with self._inspecting:
            return await self._metadata.run(self._look_into, name, function)

    def _look_into(self, name: str, function: Callable[[FileSystem], T]) -> T | None:
        tree = read_file_system(self._database.files, name)
        if tree is None:
            return None
        result = function(tree)
        while tree.inodes:  # freed at once, they would keep other threads waiting
            tree.inodes.popitem()
        return result
