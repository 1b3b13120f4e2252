"""A client for measurements: blocking sockets and :mod:`ssl`, as lean as can be."""

from __future__ import annotations

import socket

from imageserver import gob

PIECE_BYTES = 1 << 20


class CallClient:
    """Calls over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Use a connection that is ready for calls."""
        self.socket = connection
        self._buffer = memoryview(bytearray(PIECE_BYTES))

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def fileno(self) -> int:
        """See ``select``."""
        return self.socket.fileno()

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            assert piece, "the connection was closed"
            data += piece
        return bytes(data)

    def skip(self, count: int) -> None:
        """Read bytes and forget them."""
        receive = self.socket.recv_into
        while count:
            received = receive(self._buffer, min(count, PIECE_BYTES))
            assert received, "the connection was closed"
            count -= received

    def begin(self, method: str, request: bytes = b"") -> None:
        """Begin a call, and wait until it is accepted.

        Args:
            method: service and name.
            request: what is sent with it.
        """
        self.socket.sendall(method.encode() + b"\n" + request)
        assert self.read(1) == b"\n", f"{method} was refused"

    def call(self, method: str, request: bytes, response: type) -> object:
        """Make a request-reply call; the request is encoded already."""
        self.begin(method, request)
        assert self.read(1) == b"\n", f"{method} failed"
        return self.value(response)

    def value(self, type_: type) -> object:
        """The next value."""
        decoder = gob.Decoder(gob.Limits(message_bytes=1 << 26))
        while True:
            value = decoder.feed(self.read(self._message_length()), type_)
            if value is not gob.MORE:
                return value

    def skip_value(self) -> None:
        """Read the next value and forget it."""
        is_definition = True
        while is_definition:
            length = self._message_length()
            beginning = self.read(2)  # of the type id
            is_definition = bool(beginning[beginning[0] >> 7] & 1)
            self.skip(length - len(beginning))

    def _message_length(self) -> int:
        header = self.read(1)
        if header[0] >= 0x80:
            header += self.read(0x100 - header[0])
        found = gob.parse_message_length(header, 1 << 30)
        assert found
        return found[0]
