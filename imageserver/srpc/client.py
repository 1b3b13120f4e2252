"""Calling a server.

One call at a time per connection; a call that did not run to its end closes the
connection, since nobody could tell where the next one begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from imageserver.errors import (
    CallError,
    MethodDenied,
    PeerClosed,
    RemoteProtocolError,
)
from imageserver.gob import Limits
from imageserver.srpc.access import ANONYMOUS, Caller
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel
from imageserver.srpc.protocol import DENIED, GOB, JSON, Line
from imageserver.worker import Worker

T = TypeVar("T")

_LINE_LIMIT = 64 << 10
_RESPONSES = Limits(message_bytes=1 << 30, depth=64)


class Remote(Protocol):
    """A server as callers see it: one connection to it, or a pool of them."""

    async def call(
        self, method: str, request: Any, response: type[T], patience_s: float = 0.0
    ) -> T:
        """See :meth:`Connection.call`."""

    def begin(self, method: str) -> AbstractAsyncContextManager[Call]:
        """See :meth:`Connection.begin`."""


class Connection:
    """A connection to a server, ready for calls."""

    def __init__(self, channel: Channel, decoding: Worker, coder: str = GOB) -> None:
        self._channel = channel
        self._decoding = decoding
        self._coder = coder
        self._lock = DeferredLock()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, or about to go."""
        return self._channel.closed

    async def ping(self) -> None:
        """Make sure that the server answers.

        Raises:
            ProtocolError: it does not.
        """
        async with self._exclusively():
            # A lone line end might be taken for the one behind a JSON value.
            self._channel.write(b" \n" if self._coder == JSON else b"\n")
            await self._accepted()

    async def call(
        self, method: str, request: Any, response: type[T], patience_s: float = 0.0
    ) -> T:
        """Call a request-reply method.

        Args:
            method: ``Service.Method``.
            request: the request.
            response: the class of the response.
            patience_s: how much longer than usual the server may take.

        Raises:
            CallError: the server refused the call, or it failed.
            ProtocolError: the connection broke.
            DecodeError: the response is not one.
        """
        async with self.begin(method) as call:
            call.send(request)
            await self._accepted(method, patience_s)
            return await call.receive(response)

    @asynccontextmanager
    async def begin(self, method: str) -> AsyncIterator[Call]:
        """Begin a call, and end it with the block.

        A block that is left by anything but an error line of the server closes the
        connection.

        Raises:
            CallError: the server refused the call.
            ProtocolError: the connection broke.
        """
        async with self._exclusively():
            self._channel.write(method.encode() + b"\n")
            await self._accepted(method)
            caller = Caller(ANONYMOUS, False)
            channel, coder = self._channel, self._coder
            yield Call(channel, caller, _RESPONSES, self._decoding, coder)

    def move_to(self, channel: Channel) -> None:
        """Make all further calls on another channel, and end the one so far."""
        left, self._channel = self._channel, channel
        left.close()

    def departure(self) -> Deferred[None]:
        """Fires when the connection is gone; cancelled when nobody wants to know."""
        return self._channel.departure()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def abort(self) -> None:
        """End the connection at once, whoever is using it."""
        self._channel.abort()

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        await self._lock.acquire()
        try:
            if self.closed:
                raise PeerClosed("the connection is closed")
            if self._channel.receiver.skips_newline:
                await self._get_in_step()
            yield
        except CallError:
            raise
        except BaseException:
            self._channel.abort()
            raise
        finally:
            if len(self._channel.receiver):  # the call left something of its response
                self._channel.abort()
            self._lock.release()

    async def _get_in_step(self) -> None:
        """Find out whether a line end behind the last JSON value is on its way.

        Some servers send one, some do not. If it is, it comes before the answer to a
        line that no server accepts.

        Raises:
            RemoteProtocolError: the server says something else.
        """
        channel = self._channel
        channel.receiver.skips_newline = False
        channel.write(b"?\n")
        await channel.drain()
        want, limit_s = Line(_LINE_LIMIT), channel.deadlines.body_s
        line = await channel.take(want, limit_s) or await channel.take(want, limit_s)
        if not line.endswith(b": ?"):
            raise RemoteProtocolError("the server is out of step")

    async def _accepted(self, method: str = "", patience_s: float = 0.0) -> None:
        """Wait for the line that says "go on".

        Raises:
            CallError: the line says something else.
        """
        with suppress(PeerClosed):  # what it said before it went is worth knowing
            await self._channel.drain()
        line = await self._channel.take(
            Line(_LINE_LIMIT), self._channel.deadlines.body_s + patience_s
        )
        if line:
            text = line.decode("utf-8", "replace")
            if text == DENIED:
                raise MethodDenied(text, method)
            raise CallError(text)
