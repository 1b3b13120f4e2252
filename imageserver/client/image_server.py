"""Calls of ImageServer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from imageserver.errors import CallError
from imageserver.gob import Time
from imageserver.model.image import Directory, Image, ScannedImage
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    CheckDirectoryRequest,
    CheckDirectoryResponse,
    CheckImageRequest,
    CheckImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    FindLatestImageRequest,
    FindLatestImageResponse,
    GetImageExpirationRequest,
    GetImageExpirationResponse,
    GetImageRequest,
    GetImageResponse,
    GetReplicationMasterRequest,
    GetReplicationMasterResponse,
    GetScannedImageResponse,
    ListSelectedImagesRequest,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.srpc.call import Call
from imageserver.srpc.client import Remote

T = TypeVar("T")

_NANO = 1_000_000_000
_NAME_LIMIT = 8 << 10
_REFUSAL_LIMIT = 64 << 10


class ImageServerClient:
    """Calls of ImageServer of one server.

    All methods raise ``CallError`` if the server refuses, ``ProtocolError`` if the
    connection breaks.
    """

    def __init__(self, remote: Remote) -> None:
        """Call ``remote``."""
        self._remote = remote

    async def add_image(self, name: str, image: Image) -> None:
        """Add an image, whose objects must be there already."""
        request = AddImageRequest(name, image)
        await self._remote.call("ImageServer.AddImage", request, AddImageResponse)

    async def add_encoded_image(self, request: Iterable[bytes | bytearray]) -> None:
        """Add an image that says itself by whom and when it was made.

        Args:
            request: the encoded request, in pieces.
        """
        async with self._remote.begin("ImageServer.AddImageTrusted") as call:
            if call.is_json:
                raise CallError("an image cannot be sent as JSON")
            for piece in request:
                call.write(bytes(piece))
            await call.drain()
            refusal = await call.receive_line(_REFUSAL_LIMIT)
            if refusal:
                raise CallError(refusal.decode("utf-8", "replace"))
            await call.receive(AddImageResponse)

    async def check_directory(self, name: str) -> bool:
        """Whether there is such a directory."""
        response = await self._remote.call(
            "ImageServer.CheckDirectory",
            CheckDirectoryRequest(name),
            CheckDirectoryResponse,
        )
        return response.directory_exists

    async def check_image(self, name: str) -> bool:
        """Whether there is such an image."""
        response = await self._remote.call(
            "ImageServer.CheckImage", CheckImageRequest(name), CheckImageResponse
        )
        return response.image_exists

    async def delete_image(self, name: str) -> None:
        """Delete an image."""
        await self._remote.call(
            "ImageServer.DeleteImage", DeleteImageRequest(name), DeleteImageResponse
        )

    async def find_latest_image(self, request: FindLatestImageRequest) -> str:
        """The name of the newest image of a directory; empty: there is none."""
        response = await self._remote.call(
            "ImageServer.FindLatestImage", request, FindLatestImageResponse
        )
        check_error(response.error)
        return response.image_name

    async def fetch_image(self, request: GetImageRequest, response: type[T]) -> T:
        """An image in any form, and what comes with it.

        Args:
            request: which one.
            response: a response of GetImage: it decides on the form.
        """
        return await self._remote.call(
            "ImageServer.GetImage",
            request,
            response,
            patience_s=max(0, request.timeout_ns) / _NANO,
        )

    async def get_image(self, request: GetImageRequest) -> Image | None:
        """An image; ``None``: there is none of that name."""
        return (await self.fetch_image(request, GetImageResponse)).image

    async def get_expiration(self, name: str) -> Time:
        """When an image expires; a zero time: never."""
        response = await self._remote.call(
            "ImageServer.GetImageExpiration",
            GetImageExpirationRequest(name),
            GetImageExpirationResponse,
        )
        check_error(response.error)
        return response.expires_at

    async def get_replication_master(self) -> str:
        """Whom the server follows, as host and port; empty: nobody."""
        response = await self._remote.call(
            "ImageServer.GetReplicationMaster",
            GetReplicationMasterRequest(),
            GetReplicationMasterResponse,
        )
        check_error(response.error)
        return response.replication_master

    async def get_scanned_image(self, request: GetImageRequest) -> ScannedImage | None:
        """An image as servers keep it; ``None``: there is none of that name."""
        return (await self.fetch_image(request, GetScannedImageResponse)).image

    async def list_directories(self) -> list[Directory]:
        """All directories, in no particular order."""
        directories: list[Directory] = []
        async with self._remote.begin("ImageServer.ListDirectories") as call:
            while True:
                directory = await call.receive(Directory)
                if not directory.name:
                    return directories
                directories.append(directory)

    async def list_images(self) -> list[str]:
        """The names of all images, in no particular order."""
        async with self._remote.begin("ImageServer.ListImages") as call:
            return await _receive_names(call)

    async def list_selected_images(
        self, request: ListSelectedImagesRequest
    ) -> list[str]:
        """The names of the images that ``request`` selects."""
        async with self._remote.begin("ImageServer.ListSelectedImages") as call:
            call.send(request)
            await call.drain()
            return await _receive_names(call)

    async def make_directory(self, name: str, *, make_all: bool = False) -> None:
        """Make a directory, and with ``make_all`` its parents."""
        await self._remote.call(
            "ImageServer.MakeDirectory",
            MakeDirectoryRequest(name, make_all),
            MakeDirectoryResponse,
        )


def check_error(error: str) -> None:
    """Raise ``CallError`` if a response has an error text."""
    if error:
        raise CallError(error)


async def _receive_names(call: Call) -> list[str]:
    names = []
    while line := await call.receive_line(_NAME_LIMIT):
        names.append(line.decode("utf-8", "surrogateescape"))
    return names
