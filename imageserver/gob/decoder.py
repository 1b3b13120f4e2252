"""Bytes to values: the receiving side of one stream.

For each pair of a type on the wire and a type asked for, a *reader* is put
together once; reading a value then only runs through readers. A type whose values
may hold interfaces gets a *resumable* reader, a generator: such a value can be cut
into several messages, and the generator yields where it needs the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob.limits import DEFAULT_LIMITS, Limits
from imageserver.gob.primitives import Cursor, parse_message_length, read_int
from imageserver.gob.readers import Readers, Steps
from imageserver.gob.schema import Type, as_type
from imageserver.gob.wiretypes import WireTypes, read_definition


class More:
    """The type of :data:`MORE`."""

    def __repr__(self) -> str:
        return "MORE"


MORE = More()
"""What :meth:`Decoder.feed` returns while a value is not complete."""


class Decoder:
    """The receiving side of one stream of gob messages.

    It reads no input itself: whoever has the next message feeds it. Small messages
    take microseconds; those of images are better fed in a worker thread.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._types = WireTypes(limits)
        self._readers = Readers(self._types)
        self._cursor: Cursor | None = None
        self._steps: Steps | None = None

    def feed(self, message: bytes, type_: Type | type | None = None) -> Any:
        """Take the next message of the stream.

        Args:
            message: the message, without the length in front of it.
            type_: the type of the value that is being received; ``None`` for
                whatever comes. The same for all messages of one value.

        Returns:
            The value, or :data:`MORE` if it needs further messages.

        Raises:
            GobDecodeError: the message is malformed, breaks a limit, or holds a value
                that is not compatible with the type. The stream is then of no more use.
        """
        try:
            return self._feed(message, None if type_ is None else as_type(type_))
        except (IndexError, RecursionError, TypeError) as error:
            # A dict as key of a map, which only an untyped stream can ask for, is
            # the TypeError.
            raise GobDecodeError(f"malformed message: {error}") from error

    def _feed(self, message: bytes, type_: Type | None) -> Any:
        if self._steps is None:
            cursor = self._cursor = Cursor(message, self._types, self._limits)
            id_ = read_int(cursor)
            if id_ < 0:
                self._types.add(-id_, read_definition(cursor))
                return self._end(MORE)
            reader = self._readers.top_level(id_, type_)
            if not reader.resumable:
                return self._end(reader.read(cursor))
            self._steps = reader.read(cursor)
            return self._run(next)
        return self._run(lambda steps: steps.send(message))

    def _run(self, advance: Callable[[Steps], object]) -> Any:
        assert self._steps is not None  # noqa: S101 - for the type checker
        try:
            advance(self._steps)
        except StopIteration as stop:
            self._steps = None
            return self._end(stop.value)
        return MORE

    def _end(self, value: Any) -> Any:
        assert self._cursor is not None  # noqa: S101 - for the type checker
        if not self._cursor.exhausted:
            raise GobDecodeError("malformed message: bytes behind the value")
        self._cursor = None
        return value


@attrs.frozen
class Decoded:
    """A value out of a byte string.

    Attributes:
        value: the value.
        end: offset behind its last message.
    """

    value: Any
    end: int


def decode(
    data: bytes, type_: Type | type | None = None, limits: Limits = DEFAULT_LIMITS
) -> Decoded:
    """Read the first value of a stream that is in memory.

    Raises:
        GobDecodeError: as :meth:`Decoder.feed`, or the stream is cut short.
    """
    decoder = Decoder(limits)
    position = 0
    while True:
        message, position = next_message(data, position, limits)
        value = decoder.feed(message, type_)
        if value is not MORE:
            return Decoded(value, position)


def next_message(data: bytes, position: int, limits: Limits) -> tuple[bytes, int]:
    """Cut the message at ``position`` out of a stream that is in memory.

    Returns:
        The message and the offset behind it.

    Raises:
        GobDecodeError: there is no whole message.
    """
    found = parse_message_length(data[position : position + 9], limits.message_bytes)
    if found is None:
        raise GobDecodeError("unexpected EOF")
    length, size = found
    end = position + size + length
    if end > len(data):
        raise GobDecodeError("unexpected EOF")
    return data[position + size : end], end
