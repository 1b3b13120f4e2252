"""Calls of ObjectServer, for measurements."""

from __future__ import annotations

import select
import ssl
from collections.abc import Iterable, Sequence

from bench.call_client import PIECE_BYTES, CallClient
from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    CheckObjectsRequest,
    CheckObjectsResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)


class ObjectClient(CallClient):
    """Calls of ObjectServer over one connection."""

    def begin_get(self, hashes: Sequence[bytes], *, exclusive: bool = False) -> int:
        """Ask for objects; how many bytes will come."""
        request = GetObjectsRequest(exclusive, tuple(hashes))
        self.begin("ObjectServer.GetObjects", gob.Encoder().encode(request))
        response = self.value(GetObjectsResponse)
        assert isinstance(response, GetObjectsResponse)
        assert response.error == "", response.error
        return sum(response.object_sizes)

    def get(self, hashes: Sequence[bytes]) -> int:
        """Fetch objects and forget them; their size."""
        size = self.begin_get(hashes)
        self.skip(size)
        return size

    def check(self, request: bytes) -> Sequence[int]:
        """CheckObjects, with a request of :func:`check_request`."""
        response = self.call("ObjectServer.CheckObjects", request, CheckObjectsResponse)
        assert isinstance(response, CheckObjectsResponse)
        return response.object_sizes

    def add(self, stream: Iterable[bytes], count: int) -> None:
        """AddObjects, with a stream of :func:`add_stream`; all must be taken."""
        self.begin("ObjectServer.AddObjects")
        self.socket.setblocking(False)
        answers = bytearray()
        for piece in stream:
            self._send(piece, answers)
        self.socket.setblocking(True)
        decoder, position, added = gob.Decoder(), 0, 0
        while added < count:
            try:
                found = gob.next_message(answers, position, gob.DEFAULT_LIMITS)
            except GobDecodeError:  # it is not all there
                received = self.socket.recv(PIECE_BYTES)
                assert received, "the connection was closed"
                answers += received
                continue
            message, position = found
            value = decoder.feed(message, AddObjectResponse)
            if value is not gob.MORE:
                assert value.error == "", value.error
                added += 1

    def _send(self, data: bytes, answers: bytearray) -> None:
        """Send ``data``, and take what comes meanwhile."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                select.select([self.socket], [self.socket], [])
            try:
                answers += self.socket.recv(PIECE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue


def check_request(hashes: Sequence[bytes]) -> bytes:
    """A request of CheckObjects."""
    return gob.Encoder().encode(CheckObjectsRequest(tuple(hashes)))


def add_stream(objects: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """What a client sends that adds objects (hash and content), in large pieces."""
    encoder = gob.Encoder()
    pieces, piece = [], bytearray()
    for hash_, content in objects:
        piece += encoder.encode(AddObjectRequest(len(content), hash_))
        piece += content
        if len(piece) >= PIECE_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
    pieces.append(bytes(piece) + encoder.encode(AddObjectRequest()))
    return pieces
