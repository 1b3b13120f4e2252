"""How the values of a call travel: as gob or as JSON.

::

    gob     <length> <message>; one or more of them for each value
    JSON    <object>, from Go's programs with a LF behind it, from us without

Nobody can tell whether the LF behind an object is still to come, or whether a line end
is the next thing that the peer says. Here it does not count if it is the very next
byte. We send none: Go's decoders lose count of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from imageserver import gob, gojson
from imageserver.errors import JsonDecodeError, LimitExceeded, RemoteProtocolError
from imageserver.gob import Limits
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import GOB, JSON, LongMessage, Message, Want

Grow: TypeAlias = Callable[[int], None]

JSON_BYTES = 32 << 20
"""The longest value in JSON, whatever the method: it is read as one text."""


class Coder(ABC):
    """The values of one call, in both directions.

    Attributes:
        newline_may_follow: whether a line end behind what was taken does not count.
    """

    newline_may_follow = False

    @abstractmethod
    def want(self, grow: Grow) -> Want[bytes | LongMessage]:
        """What to take from the connection, to be decoded then.

        Args:
            grow: told how many bytes more it keeps in memory.
        """

    @abstractmethod
    def decode(self, taken: bytes, type_: type) -> Any:
        """The value in what was taken; ``gob.MORE`` if there is more to take.

        Raises:
            DecodeError: it is no such value.
        """

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The bytes of the next value.

        Raises:
            GobTypeError: it is not what its class says.
        """


class GobCoder(Coder):
    """Values as gob. Types are defined anew for each call."""

    def __init__(self, limits: Limits) -> None:
        """Receive values within ``limits``."""
        self._want = Message(limits.message_bytes)
        self._encoder = gob.Encoder()
        self._decoder = gob.Decoder(limits)

    def want(self, grow: Grow) -> Want[bytes | LongMessage]:
        """See :class:`Coder`; long messages are taken by whoever asks for them."""
        return self._want

    def decode(self, taken: bytes, type_: type) -> Any:
        """See :class:`Coder`."""
        return self._decoder.feed(taken, type_)

    def encode(self, value: Any) -> bytes:
        """See :class:`Coder`."""
        return self._encoder.encode(value)


class JsonCoder(Coder):
    """Values as JSON."""

    newline_may_follow = True

    def __init__(self, limits: Limits) -> None:
        """Receive values within ``limits``."""
        self._limits = limits

    def want(self, grow: Grow) -> Want[bytes]:
        """See :class:`Coder`."""
        limit = min(self._limits.message_bytes, JSON_BYTES)
        return JsonText(limit, self._limits.depth, grow)

    def decode(self, taken: bytes, type_: type) -> Any:
        """See :class:`Coder`."""
        return gojson.decode(taken, type_, self._limits)

    def encode(self, value: Any) -> bytes:
        """See :class:`Coder`."""
        return gojson.encode(value)


CODERS: Mapping[str, Callable[[Limits], Coder]] = {GOB: GobCoder, JSON: JsonCoder}


class JsonText:
    """One JSON object or array of at most ``limit`` bytes; it can be taken once."""

    def __init__(self, limit: int, depth: int, grow: Grow) -> None:
        self._limit = limit
        self._grow = grow
        self._text = bytearray()
        self._extent = gojson.Extent(depth)

    def take(self, buffer: bytearray) -> bytes | None:
        """See :class:`~imageserver.srpc.protocol.Want`; it keeps what has come."""
        self._grow(len(buffer))
        self._text += buffer
        buffer.clear()
        try:
            end = self._extent.find(self._text)
        except JsonDecodeError as error:
            raise RemoteProtocolError(str(error)) from error
        if (len(self._text) if end is None else end) > self._limit:
            text = f"JSON value longer than {self._limit} bytes"
            raise LimitExceeded(Limit.MESSAGE, text)
        if end is None:
            return None
        buffer += self._text[end:]
        return bytes(self._text[:end])
