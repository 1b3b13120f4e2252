"""The body of a call that is going on, on either side of the connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from imageserver import gob
from imageserver.errors import LimitExceeded, PeerClosed
from imageserver.gob import Limits
from imageserver.srpc.access import Caller
from imageserver.srpc.channel import Channel
from imageserver.srpc.limit import Limit
from imageserver.srpc.message_memory import MessageMemory
from imageserver.srpc.protocol import Data, Line, LongMessage, Message, Want
from imageserver.worker import Worker

T = TypeVar("T")


class SelfSending(ABC):
    """A response that does not fit into memory, and sends itself."""

    @abstractmethod
    async def send_to(self, call: Call) -> None:
        """Send the whole response.

        Raises:
            ImageServerError: it cannot be sent whole; the connection is of no more use.
        """


_PIECE_BYTES = 1 << 20


class Call:
    """Values, raw bytes and lines of one call.

    Each call has an encoder and a decoder of its own: types are defined anew.

    Attributes:
        caller: who calls; on the client's side nobody.
        channel: the connection.
        memory: what long messages may take; nobody's but the call's, if not replaced.
    """

    def __init__(
        self, channel: Channel, caller: Caller, limits: Limits, decoding: Worker
    ) -> None:
        """Begin a call.

        Args:
            channel: the connection.
            caller: who calls.
            limits: for the values to receive.
            decoding: where long messages are decoded.
        """
        self.channel = channel
        self.caller = caller
        self._limits = limits
        self._decoding = decoding
        self.memory = MessageMemory()
        self._encoder = gob.Encoder()
        self._decoder = gob.Decoder(limits)

    async def receive(self, type_: type[T], timeout_s: float | None = None) -> T:
        """The next value.

        Args:
            type_: its class.
            timeout_s: how long to wait for each of its messages; the channel's
                deadline for bodies if left out.

        Raises:
            RemoteProtocolError: the peer broke a rule, a limit or the connection.
            GobDecodeError: what came is not such a value.
        """
        if timeout_s is None:
            timeout_s = self.channel.deadlines.body_s
        want: Want[bytes | LongMessage] = Message(self._limits.message_bytes)
        while True:
            taken = await self.channel.take(want, timeout_s)
            if isinstance(taken, LongMessage):
                value = await self._receive_long(taken.length, type_, timeout_s)
            else:
                value = self._decoder.feed(taken, type_)
            if value is not gob.MORE:
                result: T = value
                return result

    async def _receive_long(self, length: int, type_: type, timeout_s: float) -> Any:
        """Receive a message in pieces, and decode it where that keeps nobody waiting.

        Raises:
            LimitExceeded: others need the memory.
        """
        clock, pieces = self.channel.clock, list[bytes]()
        ends_s = clock.seconds() + timeout_s
        share = self.memory.begin(self.channel.abort)
        try:
            while length:
                left_s = max(0.0, ends_s - clock.seconds())
                piece = await self.channel.take(Data(min(length, _PIECE_BYTES)), left_s)
                share.grow(len(piece))
                pieces.append(piece)
                length -= len(piece)
            return await self._decoding.run(self._decode_long, pieces, type_)
        except PeerClosed as error:
            if share.is_lost:
                text = "too much memory for messages"
                raise LimitExceeded(Limit.MEMORY, text) from error
            raise
        finally:
            share.end()

    def _decode_long(self, pieces: list[bytes], type_: type) -> Any:
        message = b"".join(pieces)
        pieces.clear()
        return self._decoder.feed(message, type_)

    async def receive_bytes(self, limit: int) -> bytes:
        """Raw bytes: at least one, at most ``limit``.

        Raises:
            RemoteProtocolError: as :meth:`receive`.
        """
        return await self.channel.take(Data(limit), self.channel.deadlines.body_s)

    async def receive_line(self, limit: int) -> bytes:
        """A line, without its LF.

        Raises:
            RemoteProtocolError: as :meth:`receive`, or it is longer than ``limit``.
        """
        return await self.channel.take(Line(limit), self.channel.deadlines.body_s)

    def send(self, value: Any) -> None:
        """Send a value, at the latest with the next flush."""
        self.channel.write(self.encode(value))

    def encode(self, value: Any) -> bytes:
        """The bytes of the next value to send.

        Raises:
            GobTypeError: it is not what its class says.
        """
        return self._encoder.encode(value)

    def write(self, data: bytes) -> None:
        """Send raw bytes, at the latest with the next flush."""
        self.channel.write(data)

    async def drain(self) -> None:
        """Flush, and wait until more can be sent.

        Raises:
            RemoteProtocolError: as :meth:`receive`.
        """
        await self.channel.drain()
