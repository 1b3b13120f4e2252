"""A client for measurements: blocking sockets and :mod:`ssl`, as lean as can be."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterable, Sequence

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

_PIECE_BYTES = 1 << 20


class ObjectClient:
    """Calls of ObjectServer over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Use a connection that is ready for calls."""
        self._socket = connection
        self._buffer = memoryview(bytearray(_PIECE_BYTES))

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """See ``select``."""
        return self._socket.fileno()

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            assert piece, "the connection was closed"
            data += piece
        return bytes(data)

    def skip(self, count: int) -> None:
        """Read bytes and forget them."""
        receive = self._socket.recv_into
        while count:
            received = receive(self._buffer, min(count, _PIECE_BYTES))
            assert received, "the connection was closed"
            count -= received

    def _value(self, type_: type) -> object:
        decoder = gob.Decoder(gob.Limits(message_bytes=1 << 26))
        while True:
            header = self._read(1)
            if header[0] >= 0x80:
                header += self._read(0x100 - header[0])
            found = gob.parse_message_length(header, 1 << 30)
            assert found
            value = decoder.feed(self._read(found[0]), type_)
            if value is not gob.MORE:
                return value

    def begin_get(self, hashes: Sequence[bytes], *, exclusive: bool = False) -> int:
        """Ask for objects; how many bytes will come."""
        request = GetObjectsRequest(exclusive, tuple(hashes))
        self._socket.sendall(
            b"ObjectServer.GetObjects\n" + gob.Encoder().encode(request)
        )
        assert self._read(1) == b"\n"
        response = self._value(GetObjectsResponse)
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
        self._socket.sendall(b"ObjectServer.CheckObjects\n")
        assert self._read(1) == b"\n"
        self._socket.sendall(request)
        assert self._read(1) == b"\n"
        response = self._value(CheckObjectsResponse)
        assert isinstance(response, CheckObjectsResponse)
        return response.object_sizes

    def add(self, stream: Iterable[bytes], count: int) -> None:
        """AddObjects, with a stream of :func:`add_stream`; all must be taken."""
        self._socket.sendall(b"ObjectServer.AddObjects\n")
        assert self._read(1) == b"\n"
        self._socket.setblocking(False)
        answers = bytearray()
        for piece in stream:
            self._send(piece, answers)
        self._socket.setblocking(True)
        decoder, position, added = gob.Decoder(), 0, 0
        while added < count:
            try:
                found = gob.next_message(answers, position, gob.DEFAULT_LIMITS)
            except GobDecodeError:  # it is not all there
                received = self._socket.recv(_PIECE_BYTES)
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
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                select.select([self._socket], [self._socket], [])
            try:
                answers += self._socket.recv(_PIECE_BYTES)
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
        if len(piece) >= _PIECE_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
    pieces.append(bytes(piece) + encoder.encode(AddObjectRequest()))
    return pieces
