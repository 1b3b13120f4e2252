"""The methods of ImageServer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from imageserver import gob
from imageserver.errors import PeerClosed, RequestError
from imageserver.gob import Limits, Time
from imageserver.images.canonical import (
    FILE_LIMITS,
    RESPONSE_END,
    VALUE_END,
    response_head,
)
from imageserver.images.database import ImageDatabase
from imageserver.index.base import ImageRecord
from imageserver.model.image import Directory, DirectoryMetadata
from imageserver.model.image_messages import (
    AddImageResponse,
    AddScannedImageRequest,
    CheckDirectoryRequest,
    CheckDirectoryResponse,
    CheckImageRequest,
    CheckImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    FindLatestImageRequest,
    FindLatestImageResponse,
    GetImageRequest,
    GetImageResponse,
    ListSelectedImagesRequest,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.rpc.streamer import FilePart, Streamer
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call, SelfSending
from imageserver.srpc.methods import Method
from imageserver.worker import Worker

_SERVICE = "ImageServer"
_IMAGE_BYTES = 512 << 20
_IMAGE_ELEMENTS = 4 << 20
_ADDED_AT_ONCE = 2
_SENT_AT_ONCE = 100
_DECODED_AT_ONCE = 1
_NANOSECONDS = 1_000_000_000


class ImageService:
    """ImageServer, on an image database."""

    _log = Logger()

    def __init__(
        self, database: ImageDatabase, metadata: Worker, clock: IReactorTime
    ) -> None:
        """Serve ``database``.

        Args:
            database: the images.
            metadata: does the database's work.
            clock: for clients that wait for images.
        """
        self._database = database
        self._metadata = metadata
        self._clock = clock
        self._streamer = Streamer(metadata)
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._adding = DeferredSemaphore(_ADDED_AT_ONCE)
        self._sending = DeferredSemaphore(_SENT_AT_ONCE)
        self._decoding = DeferredSemaphore(_DECODED_AT_ONCE)

    def methods(
        self, *, open_reads: bool, image_bytes: int = _IMAGE_BYTES
    ) -> list[Method]:
        """The methods, with the access and the limits that the server's flags give."""
        images = Limits(message_bytes=image_bytes, elements=_IMAGE_ELEMENTS)

        def powerful(name: str, request: type, reply: Any, **options: Any) -> Method:
            return Method(_SERVICE, name, request=request, reply=reply, **options)

        def readable(name: str, **options: Any) -> Method:
            return Method(
                _SERVICE, name, public=True, unauthenticated=open_reads, **options
            )

        return [
            powerful("AddImage", AddScannedImageRequest, self.add_image, limits=images),
            powerful("MakeDirectory", MakeDirectoryRequest, self.make_directory),
            powerful("DeleteImage", DeleteImageRequest, self.delete_image, public=True),
            readable(
                "CheckDirectory",
                request=CheckDirectoryRequest,
                reply=self.check_directory,
            ),
            readable("CheckImage", request=CheckImageRequest, reply=self.check_image),
            readable(
                "FindLatestImage",
                request=FindLatestImageRequest,
                reply=self.find_latest_image,
            ),
            readable("GetImage", request=GetImageRequest, reply=self.get_image),
            readable("ListDirectories", stream=self.list_directories),
            readable("ListImages", stream=self.list_images),
            readable("ListSelectedImages", stream=self.list_selected_images),
        ]

    async def add_image(
        self, caller: Caller, request: AddScannedImageRequest
    ) -> AddImageResponse:
        """Add an image, made by the caller, now."""
        image = request.image
        if image is not None:
            now = Time.from_nanoseconds(self._database.now_ns())
            image = gob.evolve(image, created_by=caller.user, created_on=now)
        add = self._database.add
        async with self._adding:  # large ones take long: others find threads free
            await self._metadata.run(add, request.image_name, image, caller)
        for waiting in list(self._waiting.get(request.image_name, ())):
            if not waiting.called:
                waiting.callback(None)
        return AddImageResponse()

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

    async def delete_image(
        self, caller: Caller, request: DeleteImageRequest
    ) -> DeleteImageResponse:
        """Delete an image."""
        await self._metadata.run(self._database.delete, request.image_name, caller)
        return DeleteImageResponse()

    async def find_latest_image(
        self, _: Caller, request: FindLatestImageRequest
    ) -> FindLatestImageResponse:
        """The newest image of a directory."""
        try:
            name = await self._metadata.run(self._database.find_latest, request)
        except RequestError as error:
            return FindLatestImageResponse(error=str(error))
        return FindLatestImageResponse(name)

    async def get_image(
        self, caller: Caller, request: GetImageRequest
    ) -> GetImageResponse | StoredResponse:
        """An image, straight from its file."""
        record = await self._record(request.image_name)
        if record is None and request.timeout_ns > 0:
            record = await self._wait_for(caller, request)
        if record is None:
            return GetImageResponse()
        bare = request.ignore_file_system or (
            request.ignore_file_system_if_expiring and record.expires
        )
        descriptor = await self._metadata.run(self._database.open_image, record)
        return StoredResponse(self, record, descriptor, bare)

    async def send_stored(
        self, call: Call, record: ImageRecord, descriptor: int, bare: bool
    ) -> None:
        """Send the response of GetImage, most of it straight from the image's file.

        Args:
            call: the call.
            record: the image.
            descriptor: its file.
            bare: whether to leave the file system out.
        """
        length, end = record.value_bytes, RESPONSE_END
        value_bytes = length
        if bare:
            length, end = record.file_system_offset, VALUE_END + RESPONSE_END
            value_bytes = length + len(VALUE_END)
        head = response_head(value_bytes)
        part = FilePart(descriptor, record.value_offset, length)
        if call.is_json:
            async with self._decoding:  # takes memory
                text = await self._metadata.run(_recode, call, head, part, end)
            call.write(text)
            return
        call.write(head)
        async with self._sending:
            await self._streamer.send(call.channel, part)
        call.write(end)

    async def make_directory(
        self, caller: Caller, request: MakeDirectoryRequest
    ) -> MakeDirectoryResponse:
        """Make a directory."""
        await self._metadata.run(
            self._database.make_directory,
            request.directory_name,
            request.make_all,
            caller,
        )
        return MakeDirectoryResponse()

    async def list_directories(self, call: Call) -> None:
        """All directories, one value each, then an empty one."""
        directories = await self._metadata.run(self._database.index.directories)
        for name, owner_group in directories.items():
            call.send(Directory(name, DirectoryMetadata(owner_group)))
        call.send(Directory())

    async def list_images(self, call: Call) -> None:
        """The names of all images, one a line, then an empty line."""
        names = await self._metadata.run(self._database.index.image_names)
        call.write(_name_lines(names))

    async def list_selected_images(self, call: Call) -> None:
        """The same for those images that a request selects."""
        request = await call.receive(ListSelectedImagesRequest)
        names = await self._metadata.run(self._database.select, request)
        call.write(_name_lines(names))

    async def _record(self, name: str) -> ImageRecord | None:
        return await self._metadata.run(self._database.index.image, name)

    async def _wait_for(
        self, caller: Caller, request: GetImageRequest
    ) -> ImageRecord | None:
        """Wait until an image is added, for as long as the client wants and stays.

        Raises:
            PeerClosed: the client went away.
        """
        name = request.image_name
        added: Deferred[None] = Deferred()
        added.addTimeout(request.timeout_ns / _NANOSECONDS, self._clock)
        waiting = self._waiting.setdefault(name, [])
        waiting.append(added)
        departure = caller.departure()
        departure.addCallbacks(lambda _: _end(added), lambda _: None)
        try:
            # It may have come before anybody knew of our waiting.
            record = await self._record(name)
            if record is None:
                await added
                record = await self._record(name)
        except TimeoutError:
            record = None
        finally:
            departure.cancel()
            added.addErrback(lambda _: None)
            if not added.called:
                added.callback(None)
            waiting.remove(added)
            if self._waiting.get(name) == []:
                del self._waiting[name]
        return record


def _end(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.errback(PeerClosed("the client went away"))


def _name_lines(names: Iterable[str]) -> bytes:
    return "".join([f"{name}\n" for name in names]).encode() + b"\n"


def _recode(call: Call, head: bytes, part: FilePart, end: bytes) -> bytes:
    """The response of GetImage in the coder of a call that does not take gob."""
    with open(part.descriptor, "rb", closefd=False) as file:
        file.seek(part.offset)
        data = b"".join((head, file.read(part.length), end))
    response: GetImageResponse = gob.decode(data, GetImageResponse, FILE_LIMITS).value
    encoded = call.encode(response)
    if response.image is not None and response.image.file_system is not None:
        inodes = response.image.file_system.inodes
        while inodes:  # freed at once, they would keep other threads waiting
            inodes.popitem()
    return encoded


@attrs.frozen
class StoredResponse(SelfSending):
    """The response of GetImage for an image that is there.

    Attributes:
        service: sends it.
        record: the image.
        descriptor: its open file; closed when it was sent.
        bare: whether to leave the file system out.
    """

    service: ImageService
    record: ImageRecord
    descriptor: int
    bare: bool

    async def send_to(self, call: Call) -> None:
        """See :class:`~imageserver.srpc.call.SelfSending`."""
        try:
            await self.service.send_stored(
                call, self.record, self.descriptor, self.bare
            )
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
