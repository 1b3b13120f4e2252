"""Sends objects, one behind the other, in the order asked for.

Small ones are read together, large ones opened a few at a time; one trip to a thread
each, while what was loaded before is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred

from imageserver.errors import StoreError
from imageserver.objects.base import ObjectReader, ObjectStorage
from imageserver.objects.verification import VerifiedReader, read_verified
from imageserver.rpc.streamer import Stream
from imageserver.worker import Worker

_BATCH_BYTES = 512 << 10
_OPEN_FILES = 8
_SMALL_BYTES = 256 << 10

_Batch: TypeAlias = list[tuple[bytes, int]]
_Loaded: TypeAlias = bytes | list[ObjectReader]


class ObjectSending:
    """Reads objects from a storage and puts them into streams."""

    def __init__(self, storage: ObjectStorage, disk: Worker, *, verify: bool) -> None:
        """Send the objects of ``storage``.

        Args:
            storage: the objects.
            disk: does the storage's work.
            verify: whether objects are checked while they are sent.
        """
        self._storage = storage
        self._disk = disk
        self._verify = verify

    async def send(self, stream: Stream, objects: Iterable[tuple[bytes, int]]) -> None:
        """Send objects of known sizes.

        Raises:
            StoreError: one is gone or damaged, or cannot be read.
            RemoteProtocolError: the connection is lost, or the peer does not read.
        """
        batches = _batches(objects)
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
            # Nobody waits for that: the client may have all it wants, and go.
            self._disk.run(_close_all, loaded)

    def _load(self, batches: Iterator[_Batch]) -> _Loaded | None:
        """The content of the next small objects, or the next large ones, opened."""
        batch = next(batches, None)
        if batch is None:
            return None
        try:
            if batch[0][1] <= _SMALL_BYTES:
                return b"".join(self._read(batch))
            return self._open(batch)
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}") from error

    def _read(self, batch: _Batch) -> list[bytes]:
        if self._verify:
            return read_verified(self._storage, batch)
        return self._storage.read_objects(batch)

    def _open(self, batch: _Batch) -> list[ObjectReader]:
        readers: list[ObjectReader] = []
        try:
            for hash_, size in batch:
                reader: ObjectReader = self._storage.reader(hash_, size)
                readers.append(
                    VerifiedReader(reader, hash_) if self._verify else reader
                )
        except BaseException:
            _close_all(readers)
            raise
        return readers

    def _dismiss(self, loaded: _Loaded | None) -> Deferred[None] | None:
        """Nobody wants what was loaded."""
        if loaded is None or isinstance(loaded, bytes):
            return None
        return self._disk.run(_close_all, loaded)


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
