"""Passes on to the master what clients add to a replica."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from functools import partial
from typing import BinaryIO, cast

import attrs
from twisted.internet.interfaces import IReactorTime

from imageserver.client.image_server import ImageServerClient
from imageserver.client.object_server import ObjectServerClient
from imageserver.errors import CallError, ImageServerError, RequestError
from imageserver.objects.base import ObjectReader, ObjectStorage, Outcome
from imageserver.replication.connections import Connections
from imageserver.srpc.pool import Dial
from imageserver.worker import Worker

_CONNECTIONS = 8


class _StoredFile(io.RawIOBase):
    """An object as a file."""

    def __init__(self, reader: ObjectReader) -> None:
        super().__init__()
        self._reader = reader
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        missing = self._reader.size - self._position
        size = missing if size < 0 else min(size, missing)
        data = self._reader.read(self._position, size) if size else b""
        self._position += len(data)
        return data

    def close(self) -> None:
        """It is of no more use."""
        if not self.closed:
            self._reader.close()
        super().close()


@attrs.frozen
class _Stored:
    """An object of a storage, to be uploaded; see ``Uploadable``."""

    storage: ObjectStorage
    hash_: bytes
    size: int

    @property
    def open(self) -> Callable[[], BinaryIO]:
        return self._open

    def _open(self) -> BinaryIO:
        file = _StoredFile(self.storage.reader(self.hash_, self.size))
        return cast(BinaryIO, file)


class Forwarder:
    """See the module."""

    def __init__(
        self,
        clock: IReactorTime,
        dial: Dial,
        host: str,
        port: int,
        storage: ObjectStorage,
        disk: Worker,
    ) -> None:
        """Connect when there is something to pass on.

        Args:
            clock: for idle connections.
            dial: connects.
            host: the master.
            port: its port.
            storage: has the objects.
            disk: does its work.
        """
        self._connections = Connections(clock, dial, host, port, _CONNECTIONS)
        self._images = ImageServerClient(self._connections.server)
        self._objects = ObjectServerClient(self._connections.server, disk)
        self._storage = storage
        self._disk = disk

    def stop(self) -> None:
        """End all connections; what is being passed on fails."""
        self._connections.end()

    async def add_image(self, request: Iterable[bytes | bytearray]) -> None:
        """Have the master add an image.

        Args:
            request: of AddImageTrusted, encoded.

        Raises:
            RequestError: the master does not; the text is its own.
        """
        try:
            await self._images.add_encoded_image(request)
        except CallError as error:
            raise RequestError(str(error)) from error
        except ImageServerError as error:
            raise RequestError(f"replication master: {error}") from error

    def begin_objects(self) -> ObjectForwarding:
        """Begin to pass on the objects of one stream."""
        return ObjectForwarding(self._objects, self._storage, self._disk)


class ObjectForwarding:
    """Objects of one stream, some at a time.

    When something could not be passed on, nothing more is tried: each attempt might
    take as long.
    """

    def __init__(
        self, master: ObjectServerClient, storage: ObjectStorage, disk: Worker
    ) -> None:
        """Pass on what is in ``storage``, whose work is done by ``disk``."""
        self._master = master
        self._storage = storage
        self._disk = disk
        self._failure = ""

    async def pass_on(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Have the master store objects that were stored here.

        Args:
            outcomes: what became of them here.

        Returns:
            What became of them here and there: new is what was so at both places.
        """
        stored = dict.fromkeys(o.hash_ for o in outcomes if not o.error)
        new: set[bytes] = set()
        if stored and not self._failure:
            try:
                new = await self._send_missing(list(stored))
            except ImageServerError as error:
                self._failure = f"cannot pass on to replication master: {error}"
        if self._failure:
            return [o if o.error else self._failed(o) for o in outcomes]
        return [attrs.evolve(o, added=o.added and o.hash_ in new) for o in outcomes]

    def _failed(self, outcome: Outcome) -> Outcome:
        return Outcome(outcome.hash_, error=self._failure)

    async def _send_missing(self, hashes: list[bytes]) -> set[bytes]:
        """Send what the master does not have; that."""
        theirs = await self._master.check_objects(hashes)
        missing = [h for h, size in zip(hashes, theirs, strict=True) if size == 0]
        if missing:
            sizes = await self._disk.run(self._storage.sizes, missing)
            make = partial(_Stored, self._storage)
            objects = [make(hash_, size) for hash_, size in sizes.items()]
            await self._master.add_objects(objects, lambda _objects, _bytes: None)
        return set(missing)
