"""What is to be sent and was not handed to the transport yet."""

from __future__ import annotations

from collections import deque

PIECE_BYTES = 1 << 20
"""The most to hand over in one go: TLS encrypts at once whatever it is given."""


class Outgoing:
    """Bytes that wait for the transport; ``len()`` is their number."""

    def __init__(self) -> None:
        self._chunks: deque[bytes | memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Put ``data`` behind what is there."""
        if data:
            self._chunks.append(data)
            self._size += len(data)

    def take_piece(self) -> bytes:
        """Remove up to :data:`PIECE_BYTES` from the front."""
        pieces: list[bytes | memoryview] = []
        space = PIECE_BYTES
        while self._chunks and space:
            chunk = self._chunks.popleft()
            if len(chunk) > space:
                view = memoryview(chunk)
                self._chunks.appendleft(view[space:])
                chunk = view[:space]
            pieces.append(chunk)
            space -= len(chunk)
        self._size -= PIECE_BYTES - space
        return b"".join(pieces)

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self._size = 0
