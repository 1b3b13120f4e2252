"""Numbers, strings and byte strings: ``docs/gob.md``, "Numbers" and "Kinds".

Reading beyond the end of a message raises ``IndexError`` in the innermost loops;
:mod:`imageserver.gob.decoder` turns that into
:class:`~imageserver.errors.GobDecodeError` at its boundary.
"""

from __future__ import annotations

import struct

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor

_DOUBLE = struct.Struct("<d")
_DOUBLE_BITS = struct.Struct(">Q")
_SHORT = [bytes([value]) for value in range(0x80)]


def read_uint(cursor: Cursor) -> int:
    """Read an unsigned integer of up to 64 bits."""
    position = cursor.position
    first = cursor.data[position]
    position += 1
    if first < 0x80:
        cursor.position = position
        return first
    size = 0x100 - first
    end = position + size
    digits = cursor.data[position:end]
    if size > 8 or len(digits) != size:
        raise GobDecodeError("malformed or truncated integer")
    cursor.position = end
    return int.from_bytes(digits)


def read_int(cursor: Cursor) -> int:
    """Read a signed integer of up to 64 bits."""
    folded = read_uint(cursor)
    return ~(folded >> 1) if folded & 1 else folded >> 1


def read_bool(cursor: Cursor) -> bool:
    """Read a truth value; any number but 0 is true."""
    return read_uint(cursor) != 0


def read_float(cursor: Cursor) -> float:
    """Read a 64-bit floating point number."""
    value: float = _DOUBLE.unpack(_DOUBLE_BITS.pack(read_uint(cursor)))[0]
    return value


def read_complex(cursor: Cursor) -> complex:
    """Read a complex number: the real part, then the imaginary one."""
    real = read_float(cursor)
    return complex(real, read_float(cursor))


def read_bytes(cursor: Cursor) -> bytes:
    """Read a byte string with its length in front."""
    size = read_uint(cursor)
    start = cursor.position
    end = start + size
    if end > len(cursor.data):
        raise GobDecodeError(f"length {size} exceeds the message")
    cursor.position = end
    return cursor.data[start:end]


def read_string(cursor: Cursor) -> str:
    """Read a string; bytes that are not UTF-8 become lone surrogates."""
    return read_bytes(cursor).decode("utf-8", "surrogateescape")


def write_uint(out: bytearray, value: int) -> None:
    """Append an unsigned integer; ``value`` must fit into 64 bits."""
    if value < 0x80:
        out.append(value)
        return
    digits = value.to_bytes((value.bit_length() + 7) // 8)
    out.append(0x100 - len(digits))
    out += digits


def write_int(out: bytearray, value: int) -> None:
    """Append a signed integer; ``value`` must fit into 64 bits."""
    write_uint(out, value << 1 if value >= 0 else (~value << 1) | 1)


def write_bool(out: bytearray, value: bool) -> None:
    """Append a truth value."""
    out.append(1 if value else 0)


def write_float(out: bytearray, value: float) -> None:
    """Append a 64-bit floating point number."""
    write_uint(out, _DOUBLE_BITS.unpack(_DOUBLE.pack(value))[0])


def write_complex(out: bytearray, value: complex) -> None:
    """Append a complex number."""
    write_float(out, value.real)
    write_float(out, value.imag)


def write_bytes(out: bytearray, value: bytes) -> None:
    """Append a byte string with its length in front."""
    write_uint(out, len(value))
    out += value


def write_string(out: bytearray, value: str) -> None:
    """Append a string; lone surrogates become the bytes they stand for."""
    write_bytes(out, value.encode("utf-8", "surrogateescape"))


def uint_bytes(value: int) -> bytes:
    """The encoding of an unsigned integer, for example of a message length."""
    if 0 <= value < 0x80:
        return _SHORT[value]  # shared, where millions are kept
    out = bytearray()
    write_uint(out, value)
    return bytes(out)


def parse_message_length(data: bytes | bytearray, limit: int) -> tuple[int, int] | None:
    """Look for the length in front of a message.

    Args:
        data: what has arrived so far, from the first byte of the length on.
        limit: the longest message to accept, in bytes.

    Returns:
        The length of the message and the size of the length itself, or ``None``
        if more bytes are needed to tell.

    Raises:
        GobDecodeError: the length is malformed, zero, or above the limit.
    """
    if not data:
        return None
    first = data[0]
    if first < 0x80:
        length, size = first, 1
    else:
        size = 0x101 - first
        if size > 9:
            raise GobDecodeError("invalid message length")
        if len(data) < size:
            return None
        length = int.from_bytes(data[1:size])
    if length == 0:
        raise GobDecodeError("EOF")
    if length > limit:
        raise GobDecodeError("invalid message length")
    return length, size
