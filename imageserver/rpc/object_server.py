"""The methods of ObjectServer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
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
from imageserver.objects.base import ObjectReader, ObjectStorage
from imageserver.objects.verification import VerifiedReader, read_verified
from imageserver.rpc.bandwidth import measure_bandwidth
from imageserver.rpc.connection_leases import ConnectionLeases
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.reception import Reception
from imageserver.rpc.slots import Slots
from imageserver.rpc.streamer import Stream, Streamer
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method
from imageserver.worker import Worker

GET_OBJECTS_SLOTS = 100
OBJECT_BYTES = 1 << 44

_SERVICE = "ObjectServer"
_HASH_LIST_BYTES = 32 << 20
_BATCH_BYTES = 512 << 10
_OPEN_FILES = 8
_SMALL_BYTES = 256 << 10
_SKIPPED_BYTES = 1 << 30
"""Up to this size an object for which there is no space is skipped; then the next one
gets its chance. Longer ones end the stream."""


_Batch: TypeAlias = list[tuple[bytes, int]]
_Loaded: TypeAlias = bytes | list[ObjectReader]


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
        response, batches = await self._disk.run(self._plan, hashes)
        call.write(await self._disk.run(call.encode, response))
        if batches:
            async with self._streamer.open(call.channel) as stream:
                await self._send_batches(stream, iter(batches))

    def _plan(
        self, hashes: tuple[bytes, ...]
    ) -> tuple[GetObjectsResponse, list[_Batch]]:
        """What to answer, and the objects to send, in batches."""
        known = self._storage.sizes(hashes)
        sizes = tuple([known.get(hash_, 0) for hash_ in hashes])
        unknown = [hash_ for hash_ in hashes if hash_ not in known]
        if not unknown:
            objects = list(zip(hashes, sizes, strict=True))
            return GetObjectsResponse("", sizes), list(_batches(objects))
        what = "unknown object:"
        if len(unknown) > 1:
            what = f"first of {len(unknown)} unknown objects:"
        return GetObjectsResponse(f"{what} {unknown[0].hex()}", sizes), []

    async def _send_batches(self, stream: Stream, batches: Iterator[_Batch]) -> None:
        """Send batches; while one is sent the next one is read or opened."""
        loaded = await self._disk.run(self._load, batches)
        while loaded is not None:
            ahead = self._disk.run(self._load, batches)
            try:
                await self._send_loaded(stream, loaded)
            except BaseException:
                ahead.addCallbacks(self._dismiss, lambda _: None)
                await ahead
                raise
            loaded = await ahead

    async def _send_loaded(self, stream: Stream, loaded: _Loaded) -> None:
        if isinstance(loaded, bytes):
            await stream.send_bytes(loaded)
            return
        try:
            for reader in loaded:
                await stream.send_object(reader)
        finally:
            await self._disk.run(_close_all, loaded)

    def _load(self, batches: Iterator[_Batch]) -> _Loaded | None:
        """The content of the next small objects, or the next large ones, opened."""
        batch = next(batches, None)
        if batch is None:
            return None
        if batch[0][1] <= _SMALL_BYTES:
            if self._options.verify_reads:
                return b"".join(read_verified(self._storage, batch))
            return b"".join(self._storage.read_objects(batch))
        readers: list[ObjectReader] = []
        try:
            for hash_, size in batch:
                reader: ObjectReader = self._storage.reader(hash_, size)
                readers.append(reader)
                if self._options.verify_reads:
                    readers[-1] = VerifiedReader(reader, hash_)
        except BaseException:
            _close_all(readers)
            raise
        return readers

    def _dismiss(self, loaded: _Loaded | None) -> Deferred[None] | None:
        """Nobody wants what was loaded."""
        if loaded is None or isinstance(loaded, bytes):
            return None
        return self._disk.run(_close_all, loaded)

    async def add_objects(self, call: Call) -> None:
        """Take objects in, and answer each when it is on disk."""
        intake = partial(self._storage.intake, self._leases.of(call.channel))
        await Reception(call, intake, self._disk, self.check_length).run()

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


def _batches(objects: Iterable[tuple[bytes, int]]) -> Iterator[_Batch]:
    """Small objects together, up to the size of a batch; a few large ones together."""
    batch: _Batch = []
    size = 0
    for entry in objects:
        is_large = entry[1] > _SMALL_BYTES
        if batch and (
            is_large != (batch[0][1] > _SMALL_BYTES)
            or (not is_large and size + entry[1] > _BATCH_BYTES)
            or (is_large and len(batch) >= _OPEN_FILES)
        ):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry[1]
    if batch:
        yield batch


def _close_all(readers: Sequence[ObjectReader]) -> None:
    for reader in readers:
        reader.close()
