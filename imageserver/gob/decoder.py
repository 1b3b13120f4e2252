"""Bytes to values: the receiving side of one stream.

For each pair of a type on the wire and a type asked for, a *reader* is put
together once; reading a value then only runs through readers. A type whose values
may hold interfaces gets a *resumable* reader, a generator: such a value can be cut
into several messages, and the generator yields where it needs the next one.
"""

from __future__ import annotations

from typing import Any

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import DEFAULT_LIMITS, Limits
from imageserver.gob.primitives import parse_message_length, read_int
from imageserver.gob.reader import Steps
from imageserver.gob.readers import Readers
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
        self._types = WireTypes(limits.types)
        self._readers = Readers(self._types, limits)
        self._broken = False
        self._unfinished: tuple[Cursor, Steps] | None = None

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
        if self._broken:
            raise GobDecodeError("the stream has been given up")
        self._broken = True
        try:
            value = self._feed(message, None if type_ is None else as_type(type_))
        except IndexError as error:
            raise GobDecodeError("unexpected end of a message") from error
        except RecursionError as error:  # only where the limit of depth is high
            raise GobDecodeError("values nest too deep") from error
        self._broken = False
        return value

    def _feed(self, message: bytes, type_: Type | None) -> Any:
        if self._unfinished is not None:
            return self._go_on(*self._unfinished, message)
        cursor = Cursor(message, self._limits)
        id_ = read_int(cursor)
        if id_ < 0:
            self._types.add(-id_, read_definition(cursor, self._limits))
            return _end(cursor, MORE)
        reader = self._readers.top_level(id_, type_)
        if reader.resumable:
            return self._go_on(cursor, reader.read(cursor))
        return _end(cursor, reader.read(cursor))

    def _go_on(self, cursor: Cursor, steps: Steps, message: bytes | None = None) -> Any:
        try:
            if message is None:
                next(steps)
            else:
                steps.send(message)
        except StopIteration as stop:
            self._unfinished = None
            return _end(cursor, stop.value)
        self._unfinished = cursor, steps
        return MORE


def _end(cursor: Cursor, value: Any) -> Any:
    if not cursor.exhausted:
        raise GobDecodeError("malformed message: bytes behind the value")
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
    if not data:
        raise GobDecodeError("EOF")
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
