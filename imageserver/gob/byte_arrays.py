"""Arrays of bytes, such as the many hashes of an image.

On the wire they are unsigned numbers: bytes from 0x80 up stand behind an ``ff``. Number
by number, an array takes microseconds; here whole arrays, or many of them, go through
functions that are as quick as copying.
"""

from __future__ import annotations

from collections.abc import Sequence

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import DEFAULT_LIMITS
from imageserver.gob.primitives import read_uint, uint_bytes

_ESCAPE = b"\xff"
_ESCAPED_FF = b"\xff\xff"
_ESCAPED_80 = b"\xff\x80"
_LOW = bytes(range(0x80))
_IS_ESCAPE = bytes(0xFF) + b"\1"
_IS_HIGH = bytes(0x80) + b"\1" * 0x7F + b"\0"
_AT_ONCE = 512
_GAPS = [bytes([gap]) for gap in range(0x80)]
_LEADS = [gap * 0x80 + _ESCAPE * 0x80 for gap in _GAPS]


def escape(array: bytes) -> bytes:
    """An array as it travels, without its length.

    Each byte gets a place for an escape in front; the places that are not needed hold
    a byte that does not occur otherwise, and go away again.
    """
    for gap, lead in zip(_GAPS, _LEADS, strict=True):
        if gap not in array:
            escaped = bytearray(2 * len(array))
            escaped[::2] = array.translate(lead)
            escaped[1::2] = array
            return bytes(escaped.translate(None, gap))
    return b"".join([uint_bytes(byte) for byte in array])


def read_list(
    data: bytes, position: int, count: int, length: int
) -> tuple[list[bytes], int] | None:
    """A list of arrays, each behind its length, and the position behind them.

    ``None`` if it is not in the usual form, or not all there.

    Args:
        data: where they are encoded.
        position: where the first one begins, with its length.
        count: how many there are.
        length: of each; below 0x80.
    """
    arrays: list[bytes] = []
    step = length + 1
    while len(arrays) < count:
        several = min(count - len(arrays), _AT_ONCE)
        block = data[position : position + several * (1 + 2 * length)]
        decoded = _unescape(block)[: several * step]
        used = len(decoded) + len(decoded.translate(None, _LOW))
        encoded = block[:used].replace(_ESCAPED_FF, _ESCAPED_80)
        if (
            len(decoded) != several * step
            or decoded[::step] != bytes([length]) * several
            or not _are_escaped(encoded)
        ):
            return None
        position += used
        arrays += [
            decoded[start : start + length] for start in range(1, several * step, step)
        ]
    return arrays, position


def read_byte_arrays(pieces: Sequence[bytes], length: int) -> list[bytes]:
    """The arrays that these pieces encode, each without the count in front.

    Raises:
        GobDecodeError: one of them is not exactly an array of ``length`` bytes.
    """
    arrays = [piece.translate(None, _ESCAPE) for piece in pieces]
    marked = list(pieces)
    for index, array in enumerate(arrays):
        if len(array) != length:  # it contains ff itself
            arrays[index] = _unescape(pieces[index])
            marked[index] = pieces[index].replace(_ESCAPED_FF, _ESCAPED_80)
    if set(map(len, arrays)) <= {length} and _are_escaped(b"\0".join(marked)):
        return arrays
    return [_read_byte_array(piece, length) for piece in pieces]


def _unescape(block: bytes) -> bytes:
    """The bytes that a block encodes, if it is in the usual form."""
    parts = block.split(_ESCAPED_FF)
    return _ESCAPE.join([part.translate(None, _ESCAPE) for part in parts])


def _are_escaped(block: bytes) -> bool:
    """Whether exactly the bytes from 0x80 up stand behind an ``ff``.

    Args:
        block: encoded bytes, none of which is ``ff`` itself.
    """
    escapes, others = block.translate(_IS_ESCAPE), block.translate(_IS_HIGH)
    return b"\0" + escapes == others + b"\0"


def _read_byte_array(piece: bytes, length: int) -> bytes:
    cursor = Cursor(piece, DEFAULT_LIMITS)
    try:
        array = bytes([read_uint(cursor) for _ in range(length)])
    except (IndexError, ValueError) as error:
        raise GobDecodeError("malformed array of bytes") from error
    if not cursor.exhausted:
        raise GobDecodeError("malformed array of bytes: too long")
    return array
