"""A position in a JSON text, and what every reader of values needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from imageserver.errors import JsonDecodeError
from imageserver.gob import Limits

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_KINDS = {"{": "object", "[": "array", '"': "string", "t": "bool", "f": "bool"}
_KINDS |= dict.fromkeys("-0123456789", "number")
_DECODER = json.JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Cursor:
    """Reads a text from its beginning.

    Attributes:
        text: the text.
        position: of the next character.
    """

    __slots__ = ("_depth", "_elements", "_limits", "position", "text")

    def __init__(self, text: str, limits: Limits) -> None:
        self.text = text
        self.position = 0
        self._limits = limits
        self._elements = 0
        self._depth = 0

    def next(self) -> str:
        """The next character that is not white space; empty at the end."""
        character = self.text[self.position : self.position + 1]
        if character and character not in " \t\r\n":
            return character
        match = _SPACE.match(self.text, self.position)
        assert match is not None  # noqa: S101 - it matches nothing at all, too
        self.position = match.end()
        return self.text[self.position : self.position + 1]

    def misfit(self, wanted: str) -> JsonDecodeError:
        """The error that says that something else was wanted, or that this is no JSON.

        Args:
            wanted: the kind that was wanted.
        """
        kind = _KINDS.get(self.next())
        if kind is None:
            return self.malformed()
        return JsonDecodeError(f"{wanted} wanted, not {kind}")

    def malformed(self) -> JsonDecodeError:
        """The error that says that this is not JSON."""
        found = self.next()
        what = f"character {found!r}" if found else "end"
        return JsonDecodeError(f"malformed JSON: {what} at {self.position}")

    def skip_null(self) -> bool:
        """Whether there is a null, which is passed over."""
        if self.next() != "n":
            return False
        self.read_word()
        return True

    def read_word(self) -> str:
        """``true``, ``false`` or ``null``."""
        word = _WORDS.get(self.next(), "")
        if not word or not self.text.startswith(word, self.position):
            raise self.malformed()
        self.position += len(word)
        return word

    def read_number(self) -> str:
        """A number as it is written."""
        self.next()
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            raise self.malformed()
        self.position = match.end()
        return match[0]

    def read_string(self) -> str:
        """A string; what is no character becomes U+FFFD."""
        if self.next() != '"':
            raise self.malformed()
        try:
            value, self.position = _DECODER.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            raise JsonDecodeError(f"malformed JSON: {error.msg}") from error
        text: str = value
        return text if text.isascii() else _SURROGATE.sub(_REPLACEMENT, text)

    def read_elements(self) -> Iterator[None]:
        """Stop at each element of an array, which has to be read then."""
        return self._read_all("[", "]")

    def read_members(self) -> Iterator[str]:
        """Stop at each member of an object, whose value has to be read then."""
        for _ in self._read_all("{", "}"):
            name = self.read_string()
            self._take(":")
            yield name

    def skip(self) -> None:
        """Pass over a value of any kind."""
        character = self.next()
        if character == "{":
            for _ in self.read_members():
                self.skip()
        elif character == "[":
            for _ in self.read_elements():
                self.skip()
        elif character == '"':
            self.read_string()
        elif character in _WORDS:
            self.read_word()
        else:
            self.read_number()

    def end(self) -> None:
        """Make sure that there is nothing but white space."""
        if self.next():
            raise self.malformed()

    def _read_all(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        self._depth += 1
        if self._depth > self._limits.depth:
            raise JsonDecodeError("JSON values nest too deep")
        if self.next() != closing:
            while True:
                self._elements += 1
                if self._elements > self._limits.elements:
                    raise JsonDecodeError("too many elements in a JSON value")
                yield
                if self.next() != ",":
                    break
                self.position += 1
        self._take(closing)
        self._depth -= 1

    def _take(self, character: str) -> None:
        if self.next() != character:
            raise self.malformed()
        self.position += 1
