"""Puts bytes and parts of files into a socket: ``docs/architecture.md``, "Streaming".

Both carriers are used by the producer of the TCP transport, which calls them when the
transport's own buffer is empty: so nothing overtakes anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from OpenSSL import SSL

from imageserver.errors import PeerClosed, StoreError

_RECORD_BYTES = 16 << 10
_RECORD_OVERHEAD = 256
_FIRST_PIECE_BYTES = 64 << 10
_PIECE_BYTES = 256 << 10


class Carrier(Protocol):
    """Takes as much as the socket does.

    Attributes:
        turn_bytes: how much it should take before others get their turn.
        is_full: whether the socket took less than it was offered the last time.
    """

    turn_bytes: int
    is_full: bool

    def send_file(self, descriptor: int, offset: int, size: int) -> int:
        """Take a part of a file that is in memory; how much was taken.

        Raises:
            PeerClosed: the connection is lost.
            StoreError: the file cannot be read, or is shorter.
        """

    def send_bytes(self, data: memoryview) -> int:
        """Take bytes; how many were taken.

        Raises:
            PeerClosed: the connection is lost.
        """


class PlainCarrier:
    """The kernel copies from file to socket."""

    turn_bytes = 1 << 20

    def __init__(self, transport: Any) -> None:
        """Use the socket of a TCP transport."""
        self.is_full = False
        self._socket: int = transport.fileno()

    def send_file(self, descriptor: int, offset: int, size: int) -> int:
        """See :class:`Carrier`."""
        try:
            sent = os.sendfile(self._socket, descriptor, offset, size)
        except BlockingIOError:
            self.is_full = True
            return 0
        except ConnectionError as error:
            raise PeerClosed(error.strerror or "connection lost") from error
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}") from error
        if sent == 0:
            raise StoreError("a file ended early")
        self.is_full = sent < size
        return sent

    def send_bytes(self, data: memoryview) -> int:
        """See :class:`Carrier`."""
        sent = _write(self._socket, [data])
        self.is_full = sent < len(data)
        return sent


class TLSCarrier:
    """Encrypts a piece at a time; the pieces are small while the peer is slow.

    What the socket does not take of a piece is left to the transport. So a peer that
    does not read costs no more than one piece.
    """

    turn_bytes = _PIECE_BYTES
    _buffer = memoryview(bytearray(_PIECE_BYTES))
    """For what is read from files. It is of use within one call only, and calls are
    made by the reactor's thread: one is enough for all."""

    def __init__(self, transport: Any, session: SSL.Connection) -> None:
        """Use the socket of a TCP transport, and the session of TLS on it."""
        self.is_full = False
        self._transport = transport
        self._socket: int = transport.fileno()
        self._session = session
        self._piece_bytes = _FIRST_PIECE_BYTES

    def send_file(self, descriptor: int, offset: int, size: int) -> int:
        """See :class:`Carrier`."""
        piece = self._buffer[: min(size, self._piece_bytes)]
        try:
            count = os.preadv(descriptor, [piece], offset)
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}") from error
        if count == 0:
            raise StoreError("a file ended early")
        self._encrypt(piece[:count])
        return count

    def send_bytes(self, data: memoryview) -> int:
        """See :class:`Carrier`."""
        piece = data[: self._piece_bytes]
        self._encrypt(piece)
        return len(piece)

    def _encrypt(self, piece: memoryview) -> None:
        records = []
        try:
            for start in range(0, len(piece), _RECORD_BYTES):
                record = piece[start : start + _RECORD_BYTES]
                self._session.send(record)
                records.append(self._session.bio_read(len(record) + _RECORD_OVERHEAD))
        except SSL.Error as error:
            raise PeerClosed("the TLS session has ended") from error
        size = sum(map(len, records))
        sent = _write(self._socket, records)
        self.is_full = sent < size
        if self.is_full:
            self._piece_bytes = _FIRST_PIECE_BYTES
            self._transport.write(b"".join(records)[sent:])
        else:
            self._piece_bytes = _PIECE_BYTES


def _write(socket: int, data: Sequence[bytes | memoryview]) -> int:
    try:
        return os.writev(socket, data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise PeerClosed(error.strerror or "connection lost") from error
