"""The methods of ObjectServer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime

from imageserver.errors import DecodeError, RequestError
from imageserver.gob import Limits
from imageserver.model.object_messages import (
    CheckObjectsRequest,
    CheckObjectsResponse,
    GetObjectsRequest,
    GetObjectsResponse,
    ImportObjectsRequest,
    ImportObjectsResponse,
)
from imageserver.objects.base import ObjectStorage
from imageserver.rpc.bandwidth import measure_bandwidth
from imageserver.rpc.connection_leases import ConnectionLeases
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_sending import ObjectSending
from imageserver.rpc.reception import PassOn, Reception
from imageserver.rpc.slots import Slots
from imageserver.rpc.streamer import Streamer
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method
from imageserver.worker import Worker

GET_OBJECTS_SLOTS = 100
OBJECT_BYTES = 1 << 44

_SERVICE = "ObjectServer"
_HASH_LIST_BYTES = 32 << 20
_SKIPPED_BYTES = 1 << 30
"""Up to this size an object for which there is no space is skipped; then the next one
gets its chance. Longer ones end the stream."""


@attrs.frozen
class ObjectOptions:
    """How objects are served.

    Attributes:
        verify_reads: whether they are checked while they are sent.
        object_bytes: how long they may be.
    """

    verify_reads: bool = False
    object_bytes: int = OBJECT_BYTES


class ObjectService:
    """ObjectServer, on a storage of objects.

    Attributes:
        slots: limits how many GetObjects calls are served at a time.
        begin_passing_on: gives, for each AddObjects call, what has objects stored
            somewhere else, too; ``None``: nothing does.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        disk: Worker,
        imports: ObjectImports,
        clock: IReactorTime,
        options: ObjectOptions | None = None,
    ) -> None:
        """Serve a storage.

        Args:
            storage: the objects.
            disk: does the storage's work.
            imports: fetches objects from web servers.
            clock: for those who wait.
            options: the usual ones if left out.
        """
        self._storage = storage
        self._disk = disk
        self._imports = imports
        self._options = options or ObjectOptions()
        self._streamer = Streamer(disk)
        self._leases = ConnectionLeases(storage.leases, disk)
        self._sending = ObjectSending(storage, disk, verify=self._options.verify_reads)
        self.begin_passing_on: Callable[[], PassOn] | None = None
        self.slots = Slots(clock, GET_OBJECTS_SLOTS)

    def methods(
        self,
        *,
        public_add: bool,
        public_check: bool,
        public_get: bool,
        open_reads: bool,
        hash_list_bytes: int = _HASH_LIST_BYTES,
    ) -> list[Method]:
        """The methods, with the access and the limits that the server's flags give."""
        hash_lists = Limits(message_bytes=hash_list_bytes)
        return [
            Method(_SERVICE, "AddObjects", public=public_add, stream=self.add_objects),
            Method(
                _SERVICE,
                "CheckObjects",
                public=public_check,
                unauthenticated=open_reads,
                request=CheckObjectsRequest,
                reply=self.check_objects,
                limits=hash_lists,
            ),
            Method(
                _SERVICE,
                "GetObjects",
                public=public_get,
                unauthenticated=open_reads,
                stream=self.get_objects,
                limits=hash_lists,
            ),
            Method(
                _SERVICE,
                "ImportObjects",
                public=public_add,
                request=ImportObjectsRequest,
                reply=self.import_objects,
                limits=hash_lists,
            ),
            Method(_SERVICE, "TestBandwidth", stream=measure_bandwidth),
        ]

    async def check_objects(
        self, _: Caller, request: CheckObjectsRequest
    ) -> CheckObjectsResponse:
        """Which objects are there?"""
        return await self._disk.run(self._check, request.hashes)

    def _check(self, hashes: tuple[bytes, ...]) -> CheckObjectsResponse:
        sizes = self._storage.sizes(hashes)
        return CheckObjectsResponse(tuple([sizes.get(hash_, 0) for hash_ in hashes]))

    async def get_objects(self, call: Call) -> None:
        """Send objects, one behind the other."""
        try:
            request = await call.receive(GetObjectsRequest)
        except DecodeError as error:
            call.send(GetObjectsResponse(str(error)))
            await call.drain()
            raise
        # Those who have no power over the method must not keep others waiting.
        alone = request.exclusive and call.caller.has_method_access
        async with self.slots.enter(alone=alone):
            await self._send_objects(call, request.hashes)

    async def _send_objects(self, call: Call, hashes: tuple[bytes, ...]) -> None:
        response, objects = await self._disk.run(self._plan, hashes)
        call.write(await self._disk.run(call.encode, response))
        if objects:
            async with self._streamer.open(call.channel) as stream:
                await self._sending.send(stream, objects)

    def _plan(
        self, hashes: tuple[bytes, ...]
    ) -> tuple[GetObjectsResponse, list[tuple[bytes, int]]]:
        """What to answer, and the objects to send, with their sizes."""
        known = self._storage.sizes(hashes)
        sizes = tuple([known.get(hash_, 0) for hash_ in hashes])
        unknown = [hash_ for hash_ in hashes if hash_ not in known]
        if not unknown:
            objects = list(zip(hashes, sizes, strict=True))
            return GetObjectsResponse("", sizes), objects
        what = "unknown object:"
        if len(unknown) > 1:
            what = f"first of {len(unknown)} unknown objects:"
        return GetObjectsResponse(f"{what} {unknown[0].hex()}", sizes), []

    async def add_objects(self, call: Call) -> None:
        """Take objects in, and answer each when it is on disk."""
        intake = partial(self._storage.intake, self._leases.of(call.channel))
        pass_on = self.begin_passing_on() if self.begin_passing_on else None
        await Reception(call, intake, self._disk, self.check_length, pass_on).run()

    async def import_objects(
        self, caller: Caller, request: ImportObjectsRequest
    ) -> ImportObjectsResponse:
        """Fetch objects from a web server."""
        return await self._imports.run(caller, request, self.check_length)

    def check_length(self, length: int) -> None:
        """Refuse an object that is not even to be skipped.

        Raises:
            RequestError: it is.
        """
        limit = self._options.object_bytes
        if length > limit:
            text = f"object of {length} bytes: the limit is {limit} (-maxObjectSize)"
            raise RequestError(text)
        if length > _SKIPPED_BYTES and length > self._storage.room_bytes():
            raise RequestError(f"no space for an object of {length} bytes")
