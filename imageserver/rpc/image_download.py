"""GetImage: an image straight from its file, waited for if it is not there yet."""

from __future__ import annotations

import os

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime

from imageserver import gob
from imageserver.errors import PeerClosed, RequestError
from imageserver.images.canonical import (
    FILE_LIMITS,
    VALUE_END,
    read_bare,
    response_end,
    response_head,
)
from imageserver.images.changes import Change, Operation
from imageserver.images.database import ImageDatabase
from imageserver.images.files import OpenImage
from imageserver.images.information import InformationTemplate
from imageserver.model.image_messages import GetImageRequest, GetImageResponse
from imageserver.rpc.streamer import FilePart, Streamer
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call, SelfSending
from imageserver.worker import Worker

_SENT_AT_ONCE = 100
_DECODED_AT_ONCE = 1
_NANOSECONDS = 1_000_000_000


class ImageDownload:
    """Sends images."""

    def __init__(
        self,
        database: ImageDatabase,
        metadata: Worker,
        clock: IReactorTime,
        template: InformationTemplate,
    ) -> None:
        """Send images of ``database``; see :class:`ImageService`."""
        self._template = template
        self._database = database
        self._metadata = metadata
        self._clock = clock
        self._streamer = Streamer(metadata)
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._sending = DeferredSemaphore(_SENT_AT_ONCE)
        self._decoding = DeferredSemaphore(_DECODED_AT_ONCE)
        database.changes.listen(self._see, lambda: None)

    async def get_image(
        self, caller: Caller, request: GetImageRequest
    ) -> GetImageResponse | StoredResponse:
        """An image, straight from its file.

        Raises:
            RequestError: it is incomplete, and all of it is asked for.
        """
        stored = await self._open(request.image_name)
        if stored is None and request.timeout_ns > 0:
            stored = await self._wait_for(caller, request)
        if stored is None:
            return GetImageResponse()
        bare = request.ignore_file_system or (
            request.ignore_file_system_if_expiring and stored.record.expires
        )
        response = StoredResponse(self, stored, bare)
        name = request.image_name
        missing = self._database.incomplete.get(name)
        if missing and not bare:
            response.close()
            raise RequestError(
                f"image: {name} is incomplete: {missing} of its objects missing"
            )
        return response

    async def send_stored(self, call: Call, stored: OpenImage, *, bare: bool) -> None:
        """Send the response of GetImage, most of it straight from the image's file.

        Args:
            call: the call.
            stored: the image.
            bare: whether to leave the file system out.
        """
        record = stored.record
        end = response_end(await self._address(stored))
        length = record.file_system_offset if bare else record.value_bytes
        value_end = VALUE_END if bare else b""
        head = response_head(length + len(value_end), end)
        end = value_end + end
        part = FilePart(stored.descriptor, record.value_offset, length)
        if call.is_json:
            async with self._decoding:  # takes memory
                text = await self._metadata.run(_recode, call, head, part, end)
            call.write(text)
            return
        call.write(head)
        async with self._sending:
            await self._streamer.send(call.channel, part)
        call.write(end)

    async def _address(self, stored: OpenImage) -> str:
        """Of a page about the image; empty if there is none."""
        if self._template.is_empty:
            return ""
        return await self._metadata.run(self._make_address, stored)

    def _make_address(self, stored: OpenImage) -> str:
        record = stored.record
        value = os.pread(
            stored.descriptor, record.file_system_offset, record.value_offset
        )
        return self._template.render(record.name, read_bare(value))

    async def _open(self, name: str) -> OpenImage | None:
        return await self._metadata.run(self._database.open_stored, name)

    async def _wait_for(
        self, caller: Caller, request: GetImageRequest
    ) -> OpenImage | None:
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
            stored = await self._open(name)
            if stored is None:
                await added
                stored = await self._open(name)
        except TimeoutError:
            stored = None
        finally:
            departure.cancel()
            added.addErrback(lambda _: None)
            if not added.called:
                added.callback(None)
            waiting.remove(added)
            if self._waiting.get(name) == []:
                del self._waiting[name]
        return stored

    def _see(self, change: Change) -> None:
        """Somebody may be waiting for an image."""
        if change.operation == Operation.ADD_IMAGE:
            for waiting in list(self._waiting.get(change.name, ())):
                if not waiting.called:
                    waiting.callback(None)


def _end(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.errback(PeerClosed("the client went away"))


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
        download: sends it.
        stored: the image; closed when it was sent.
        bare: whether to leave the file system out.
    """

    download: ImageDownload
    stored: OpenImage
    bare: bool

    async def send_to(self, call: Call) -> None:
        """See :class:`~imageserver.srpc.call.SelfSending`."""
        try:
            await self.download.send_stored(call, self.stored, bare=self.bare)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.stored.descriptor)
