"""The methods of ImageServer that deal with objects which no image uses."""

from __future__ import annotations

from collections.abc import Callable

from imageserver.index.base import UpkeepIndex
from imageserver.model.image_messages import (
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
    Object,
)
from imageserver.objects.collection import Collection
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method
from imageserver.worker import Worker

_SERVICE = "ImageServer"
_LISTED_AT_ONCE = 2_000


class UnreferencedObjectService:
    """Lists and deletes objects that no image uses."""

    def __init__(
        self,
        collection: Collection,
        index: UpkeepIndex,
        now_ns: Callable[[], int],
        metadata: Worker,
        background: Worker,
    ) -> None:
        """Serve a collection.

        Args:
            collection: deletes objects.
            index: knows them.
            now_ns: the time.
            metadata: asks the index.
            background: does what takes long.
        """
        self._collection = collection
        self._index = index
        self._now_ns = now_ns
        self._metadata = metadata
        self._background = background

    def methods(self, *, open_reads: bool) -> list[Method]:
        """The methods, with the access that the server's flags give."""
        return [
            Method(
                _SERVICE,
                "DeleteUnreferencedObjects",
                request=DeleteUnreferencedObjectsRequest,
                reply=self.delete_unreferenced_objects,
            ),
            Method(
                _SERVICE,
                "ListUnreferencedObjects",
                public=True,
                unauthenticated=open_reads,
                stream=self.list_unreferenced_objects,
            ),
        ]

    async def delete_unreferenced_objects(
        self, _: Caller, request: DeleteUnreferencedObjectsRequest
    ) -> DeleteUnreferencedObjectsResponse:
        """Delete objects, those first that are out of use longest."""
        await self._background.run(
            self._collection.delete, request.percentage, request.bytes_
        )
        return DeleteUnreferencedObjectsResponse()

    async def list_unreferenced_objects(self, call: Call) -> None:
        """All objects that could be deleted, one value each, then an empty one."""
        last = b""
        while True:
            data, last = await self._metadata.run(self._list, call, last)
            if not last:
                break
            call.write(data)
            await call.drain()
        call.send(Object())

    def _list(self, call: Call, last: bytes) -> tuple[bytes, bytes]:
        """The next objects as they are sent, and the last one's hash."""
        found = self._index.collectable_after(last, self._now_ns(), _LISTED_AT_ONCE)
        data = [call.encode(Object(hash_, size)) for hash_, size in found.items()]
        return b"".join(data), next(reversed(found), b"")
