"""Arrays of bytes, such as the many hashes of an image.

On the wire they are unsigned numbers: bytes from 0x80 up stand behind an ``ff``. Number
by number, an array takes microseconds; here whole arrays, or many of them, go through
functions that are nearly as quick as copying. Which of them are in the usual form is
for RE2 to say: it looks at each byte once, and lets other threads work meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import re2

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import DEFAULT_LIMITS
from imageserver.gob.primitives import read_uint, uint_bytes

_ESCAPE = b"\xff"
_ESCAPED_FF = b"\xff\xff"
_LOW = bytes(range(0x80))
_BYTE = rb"(?:[\x00-\x7f]|\xff[\x80-\xff])"
_END = b"\0\x80"  # no array in the usual form has that, or begins or ends within it
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
    usual_form = _arrays_with(b"\\x%02x" % length + _BYTE + b"{%d}" % length)
    while rest := count - len(arrays):
        end = position + min(rest, _AT_ONCE) * (1 + 2 * length)
        end = usual_form.match(data, position, end).end()
        if end == position:
            return None
        decoded = _unescape(data[position:end])
        if len(decoded) > rest * step:  # what follows the list looks like more of it
            decoded = decoded[: rest * step]
            end = position + len(decoded) + len(decoded.translate(None, _LOW))
        arrays += [decoded[i : i + length] for i in range(1, len(decoded), step)]
        position = end
    return arrays, position


def read_byte_arrays(pieces: Sequence[bytes], length: int) -> list[bytes]:
    """The arrays that these pieces encode, each without the count in front.

    Raises:
        GobDecodeError: one of them is not exactly an array of ``length`` bytes.
    """
    joined = _END.join([*pieces, b""])
    usual_form = _arrays_with(_BYTE + b"{%d}" % length + re2.escape(_END))
    if usual_form.fullmatch(joined):
        decoded, step = _unescape(joined), length + len(_END)
        if len(decoded) == len(pieces) * step:
            return [decoded[i : i + length] for i in range(0, len(decoded), step)]
    return [_read_byte_array(piece, length) for piece in pieces]


@lru_cache
def _arrays_with(array: bytes) -> re2._Regexp[bytes]:
    """What matches arrays, given what matches one of them."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(b"(?:" + array + b")*", options)


def _unescape(block: bytes) -> bytes:
    """The bytes that a block encodes, which is in the usual form."""
    parts = block.split(_ESCAPED_FF)
    return _ESCAPE.join([part.translate(None, _ESCAPE) for part in parts])


def _read_byte_array(piece: bytes, length: int) -> bytes:
    cursor = Cursor(piece, DEFAULT_LIMITS)
    try:
        array = bytes([read_uint(cursor) for _ in range(length)])
    except (IndexError, ValueError) as error:
        raise GobDecodeError("malformed array of bytes") from error
    if not cursor.exhausted:
        raise GobDecodeError("malformed array of bytes: too long")
    return array
