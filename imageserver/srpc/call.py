"""The body of a call that is going on, on either side of the connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from imageserver import gob
from imageserver.errors import LimitExceeded, PeerClosed
from imageserver.gob import Limits
from imageserver.srpc.access import Caller
from imageserver.srpc.channel import Channel
from imageserver.srpc.coder import CODERS
from imageserver.srpc.limit import Limit
from imageserver.srpc.message_memory import MessageMemory, Share
from imageserver.srpc.protocol import (
    GOB,
    JSON,
    LONG_MESSAGE_BYTES,
    Anything,
    Data,
    Line,
    LongMessage,
)
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

    Each call has a coder of its own.

    Attributes:
        caller: who calls; on the client's side nobody.
        channel: the connection.
        is_json: whether values travel as JSON.
        memory: what long messages may take; nobody's but the call's, if not replaced.
    """

    def __init__(
        self,
        channel: Channel,
        caller: Caller,
        limits: Limits,
        decoding: Worker,
        coder: str = GOB,
    ) -> None:
        """Begin a call.

        Args:
            channel: the connection.
            caller: who calls.
            limits: for the values to receive.
            decoding: where long messages are decoded.
            coder: how values travel.
        """
        self.channel = channel
        self.caller = caller
        self.is_json = coder == JSON
        self._decoding = decoding
        self.memory = MessageMemory()
        self._coder = CODERS[coder](limits)

    async def receive(self, type_: type[T], timeout_s: float | None = None) -> T:
        """The next value.

        Args:
            type_: its class.
            timeout_s: how long to wait for each of its messages; the channel's
                deadline for bodies if left out.

        Raises:
            RemoteProtocolError: the peer broke a rule, a limit or the connection.
            DecodeError: what came is not such a value.
        """
        if timeout_s is None:
            timeout_s = self.channel.deadlines.body_s
        value: Any = gob.MORE
        while value is gob.MORE:
            share = self.memory.begin(self.channel.abort)
            try:
                value = await self._receive(type_, share, timeout_s)
            except PeerClosed as error:
                if share.is_lost:
                    text = "too much memory for messages"
                    raise LimitExceeded(Limit.MEMORY, text) from error
                raise
            finally:
                share.end()
        result: T = value
        return result

    async def wait(self) -> None:
        """Wait until something comes, however long that takes.

        Raises:
            RemoteProtocolError: the connection is lost.
        """
        await self.channel.take(Anything())

    async def _receive(self, type_: type, share: Share, timeout_s: float) -> Any:
        """The value of the next message, which takes its share of the memory."""
        coder = self._coder
        taken = await self.channel.take(coder.want(share.grow), timeout_s)
        if coder.newline_may_follow:
            self.channel.receiver.skip_newline()
        if isinstance(taken, LongMessage):
            pieces = await self._take_pieces(taken.length, share, timeout_s)
            return await self._decoding.run(self._decode_long, pieces, type_)
        if len(taken) > LONG_MESSAGE_BYTES:
            return await self._decoding.run(coder.decode, taken, type_)
        return coder.decode(taken, type_)

    async def _take_pieces(
        self, length: int, share: Share, timeout_s: float
    ) -> list[bytes]:
        """A message in pieces, all of them in that time."""
        clock, pieces = self.channel.clock, list[bytes]()
        ends_s = clock.seconds() + timeout_s
        while length:
            left_s = max(0.0, ends_s - clock.seconds())
            piece = await self.channel.take(Data(min(length, _PIECE_BYTES)), left_s)
            share.grow(len(piece))
            pieces.append(piece)
            length -= len(piece)
        return pieces

    def _decode_long(self, pieces: list[bytes], type_: type) -> Any:
        message = b"".join(pieces)
        pieces.clear()
        return self._coder.decode(message, type_)

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
        return self._coder.encode(value)

    def write(self, data: bytes) -> None:
        """Send raw bytes, at the latest with the next flush."""
        self.channel.write(data)

    async def drain(self) -> None:
        """Flush, and wait until more can be sent.

        Raises:
            RemoteProtocolError: as :meth:`receive`.
        """
        await self.channel.drain()
