"""The body of a call that is going on, on either side of the connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from imageserver import gob
from imageserver.gob import Limits
from imageserver.srpc.access import Caller
from imageserver.srpc.channel import Channel
from imageserver.srpc.coder import CODERS
from imageserver.srpc.protocol import GOB, JSON, Data, Line
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


_DECODE_IN_PLACE_BYTES = 64 << 10


class Call:
    """Values, raw bytes and lines of one call.

    Each call has a coder of its own.

    Attributes:
        caller: who calls; on the client's side nobody.
        channel: the connection.
        is_json: whether values travel as JSON.
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
        coder = self._coder
        while True:
            taken = await self.channel.take(coder.want(), timeout_s)
            if coder.newline_may_follow:
                self.channel.receiver.skip_newline()
            if len(taken) > _DECODE_IN_PLACE_BYTES:
                value = await self._decoding.run(coder.decode, taken, type_)
            else:
                value = coder.decode(taken, type_)
            if value is not gob.MORE:
                result: T = value
                return result

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
