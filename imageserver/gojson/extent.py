"""Where a JSON value ends in a stream, found without reading ahead.

Braces and brackets are counted, strings passed over; whether it all is JSON is for the
decoder to find out. However it arrives, no byte is looked at more than a few times.
"""

from __future__ import annotations

import re

from imageserver.errors import JsonDecodeError

_SPACE = re.compile(rb"[ \t\r\n]*")
# Not more of it possessive: until Python 3.11.4 that goes wrong for groups.
_OUTSIDE = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*")*', re.DOTALL)
"""Anything but braces and brackets; whole strings."""
_INSIDE = re.compile(rb"(?:[^\"\\]++|\\.)*", re.DOTALL)
"""The rest of a string, up to its quotation mark or half an escape."""
_STEP_BYTES = 64 << 10
_OPENING = b"{["
_QUOTE = b'"'[0]
_ESCAPE = b"\\"[0]


class Extent:
    """Looks for the end of one value, which has to be an object or an array.

    Attributes:
        scanned: how many bytes were looked at.
    """

    def __init__(self, depth: int) -> None:
        """Look for a value that nests no deeper than ``depth``."""
        self.scanned = 0
        self._most = depth
        self._depth = 0
        self._in_string = False

    def find(self, data: bytes | bytearray) -> int | None:
        """The offset behind the value; ``None`` if there is more to come.

        Args:
            data: what has arrived so far, always from the same beginning.

        Raises:
            JsonDecodeError: no such value begins here.
        """
        if not self._depth and not self._begin(data):
            return None
        while self.scanned < len(data):
            if self._in_string:
                if not self._end_string(data):
                    return None
                continue
            self.scanned = _end_of_match(_OUTSIDE, data, self.scanned)
            if self.scanned == len(data):
                return None
            character = data[self.scanned]
            self.scanned += 1
            if character == _QUOTE:
                self._in_string = True
            elif character in _OPENING:
                self._deepen()
            else:
                self._depth -= 1
                if not self._depth:
                    return self.scanned
        return None

    def _begin(self, data: bytes | bytearray) -> bool:
        """Pass over white space; whether the value has begun."""
        self.scanned = _end_of_match(_SPACE, data, self.scanned)
        if self.scanned == len(data):
            return False
        if data[self.scanned] not in _OPENING:
            found = bytes(data[self.scanned : self.scanned + 1])
            raise JsonDecodeError(f"no JSON object: it begins with {found!r}")
        self._deepen()
        self.scanned += 1
        return True

    def _deepen(self) -> None:
        self._depth += 1
        if self._depth > self._most:
            raise JsonDecodeError("JSON values nest too deep")

    def _end_string(self, data: bytes | bytearray) -> bool:
        """Pass over the rest of a string; whether its end is there."""
        self.scanned = _end_of_match(_INSIDE, data, self.scanned)
        if self.scanned == len(data) or data[self.scanned] == _ESCAPE:
            return False
        self.scanned += 1
        self._in_string = False
        return True


def _end_of_match(
    pattern: re.Pattern[bytes], data: bytes | bytearray, position: int
) -> int:
    """Where the last of several matches in a row ends.

    Each is short, since each repetition within it takes memory.
    """
    while True:
        match = pattern.match(data, position, position + _STEP_BYTES)
        assert match is not None  # noqa: S101 - these match nothing at all, too
        if match.end() == position:
            return position
        position = match.end()
