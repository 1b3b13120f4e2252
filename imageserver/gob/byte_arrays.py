"""Many arrays of bytes at once, such as the hashes of an image.

On the wire they are unsigned numbers: bytes from 0x80 up stand behind an ``ff``. One
by one each takes microseconds; here whole blocks go through functions that are as
quick as copying.
"""

from __future__ import annotations

from collections.abc import Sequence

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import DEFAULT_LIMITS
from imageserver.gob.primitives import read_uint

_ESCAPE = b"\xff"
_ESCAPED_FF = b"\xff\xff"
_ESCAPED_80 = b"\xff\x80"
_IS_ESCAPE = bytes(0xFF) + b"\1"
_IS_HIGH = bytes(0x80) + b"\1" * 0x7F + b"\0"


def read_byte_arrays(pieces: Sequence[bytes], length: int) -> list[bytes]:
    """The arrays that these pieces encode, each without the count in front.

    Raises:
        GobDecodeError: one of them is not exactly an array of ``length`` bytes.
    """
    arrays = [piece.translate(None, _ESCAPE) for piece in pieces]
    marked = list(pieces)
    for index, array in enumerate(arrays):
        if len(array) != length:  # it contains ff itself
            piece = pieces[index]
            parts = [part.translate(None, _ESCAPE) for part in piece.split(_ESCAPED_FF)]
            arrays[index] = _ESCAPE.join(parts)
            marked[index] = piece.replace(_ESCAPED_FF, _ESCAPED_80)
    if set(map(len, arrays)) <= {length} and _are_escaped(b"\0".join(marked)):
        return arrays
    return [_read_byte_array(piece, length) for piece in pieces]


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
