"""Calls of ObjectServer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Protocol

import attrs
from twisted.internet.defer import Deferred

from imageserver.client.receiving import Progress, Receiving, Writer
from imageserver.errors import (
    CallError,
    ConnectionFailed,
    ImageServerError,
    RemoteProtocolError,
)
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    CheckObjectsRequest,
    CheckObjectsResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)
from imageserver.srpc.call import Call
from imageserver.srpc.client import Remote
from imageserver.worker import Worker

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 2 << 20
_HASHES_PER_CALL = 100_000


class Uploadable(Protocol):
    """An object that can be read here."""

    @property
    def hash_(self) -> bytes:
        """Its hash."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def open(self) -> Callable[[], BinaryIO]:
        """Opens it; at its end the file ends."""


@attrs.define
class Uploaded:
    """What became of an upload.

    Attributes:
        objects: how many objects were sent.
        added: how many of them were new to the server.
        bytes_: their size.
    """

    objects: int = 0
    added: int = 0
    bytes_: int = 0


class ObjectServerClient:
    """Calls of ObjectServer of one server."""

    def __init__(self, remote: Remote, worker: Worker) -> None:
        """Call ``remote``; files are read and written by ``worker``."""
        self._remote = remote
        self._worker = worker

    async def check_objects(self, hashes: Sequence[bytes]) -> list[int]:
        """The sizes of objects, in order; 0: not there.

        Raises:
            CallError: the server refuses.
            ProtocolError: the connection broke.
        """
        sizes: list[int] = []
        for start in range(0, len(hashes), _HASHES_PER_CALL):
            request = CheckObjectsRequest(
                tuple(hashes[start : start + _HASHES_PER_CALL])
            )
            response = await self._remote.call(
                "ObjectServer.CheckObjects", request, CheckObjectsResponse
            )
            sizes.extend(response.object_sizes)
        return sizes

    async def add_objects(
        self, objects: Iterable[Uploadable], progress: Progress
    ) -> Uploaded:
        """Send objects; they are on the server's disk when this returns.

        Raises:
            CallError: the server refuses the call or an object.
            ProtocolError: the connection broke.
            ImageServerError: an object cannot be read.
        """
        async with self._remote.begin("ObjectServer.AddObjects") as call:
            expected = list(objects)
            uploaded = Uploaded()
            reading = Deferred.fromCoroutine(_read_answers(call, expected, uploaded))
            try:
                await self._send_all(call, expected, reading, progress)
                await reading
            except BaseException:
                reading.addErrback(lambda _: None)
                reading.cancel()
                call.channel.abort()  # further answers may be on their way
                raise
            return uploaded

    async def _send_all(
        self,
        call: Call,
        objects: Sequence[Uploadable],
        reading: Deferred[None],
        progress: Progress,
    ) -> None:
        pieces = _read_pieces(objects)
        ahead = self._worker.run(_next_pieces, pieces)
        while batch := await ahead:
            ahead = self._worker.run(_next_pieces, pieces)
            sent_objects = sent_bytes = 0
            for piece in batch:
                if isinstance(piece, bytes):
                    call.write(piece)
                    sent_bytes += len(piece)
                else:
                    call.send(AddObjectRequest(piece.size, piece.hash_))
                    sent_objects += 1
            try:
                await call.drain()
            except BaseException:
                await ahead
                raise
            progress(sent_objects, sent_bytes)
            if reading.called:  # an object was refused
                await ahead
                await reading
        call.send(AddObjectRequest())
        await call.drain()

    async def get_objects(
        self,
        hashes: Sequence[bytes],
        receive: Callable[[bytes], Writer],
        progress: Progress,
    ) -> None:
        """Fetch objects, in order.

        Args:
            hashes: which ones.
            receive: from a hash to where its content goes; called, and the writer
                used, by the worker.
            progress: told how it goes.

        Raises:
            CallError: the server refuses, or lacks an object.
            ProtocolError: the connection broke.
            Exception: what a writer raised.
        """
        for start in range(0, len(hashes), _HASHES_PER_CALL):
            wanted = hashes[start : start + _HASHES_PER_CALL]
            async with self._remote.begin("ObjectServer.GetObjects") as call:
                await self._get_some(call, wanted, receive, progress)

    async def _get_some(
        self,
        call: Call,
        hashes: Sequence[bytes],
        receive: Callable[[bytes], Writer],
        progress: Progress,
    ) -> None:
        call.channel.expect_much()
        call.send(GetObjectsRequest(hashes=tuple(hashes)))
        await call.drain()
        response = await call.receive(GetObjectsResponse)
        if response.error:
            raise CallError(response.error)
        sizes = response.object_sizes
        if len(sizes) != len(hashes):
            raise RemoteProtocolError("sizes of other objects")
        objects = zip(hashes, sizes, strict=True)
        receiving = Receiving(self._worker, objects, receive, progress)
        try:
            await _receive_all(call, receiving, sum(sizes))
        except BaseException:
            await receiving.give_up()
            raise


async def _receive_all(call: Call, receiving: Receiving, size: int) -> None:
    try:
        while size:
            data = await call.receive_bytes(min(size, _PIECE_BYTES))
            size -= len(data)
            await receiving.add(data)
    except (ConnectionFailed, RemoteProtocolError):
        await receiving.finish()  # so that what has come need not come again
        raise
    await receiving.finish()


async def _read_answers(
    call: Call, objects: Sequence[Uploadable], uploaded: Uploaded
) -> None:
    for sent in objects:
        answer = await call.receive(AddObjectResponse)
        if answer.error:
            raise CallError(answer.error)
        uploaded.objects += 1
        uploaded.added += answer.added
        uploaded.bytes_ += sent.size


def _read_pieces(objects: Iterable[Uploadable]) -> Iterator[Uploadable | bytes]:
    """Each object, followed by its content in pieces."""
    for source in objects:
        yield source
        missing = source.size
        with source.open() as file:
            while missing:
                data = file.read(min(missing, _PIECE_BYTES))
                if not data:
                    raise ImageServerError("a file became shorter while it was sent")
                missing -= len(data)
                yield data


def _next_pieces(pieces: Iterator[Uploadable | bytes]) -> list[Uploadable | bytes]:
    """As many pieces as are good to send at once; none: that was all."""
    batch: list[Uploadable | bytes] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece) if isinstance(piece, bytes) else 0
        if size >= _BATCH_BYTES:
            break
    return batch
