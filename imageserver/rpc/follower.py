"""A client that follows something until it leaves."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from imageserver.errors import LimitExceeded, PeerClosed
from imageserver.srpc.call import Call
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import Data

T = TypeVar("T")

_DISCARDED_BYTES = 64 << 10


class Follower(Generic[T]):
    """One client, and the news that it was not told yet.

    What the client says is read and thrown away, so that its leaving is noticed.

    Attributes:
        ended: why there is no more to tell; ``None``: there may be.
    """

    def __init__(self, call: Call, backlog: int) -> None:
        """Follow for the client of ``call``, which may be ``backlog`` news behind."""
        self._call = call
        self._backlog = backlog
        self._news: deque[T] = deque()
        self._waiting: Deferred[None] | None = None
        self.ended: Exception | None = None
        self._reading = Deferred.fromCoroutine(_discard(call))
        self._reading.addErrback(self._stop)

    def put(self, item: T) -> None:
        """There is something to tell."""
        if self.ended is not None:
            return
        if len(self._news) >= self._backlog:
            text = f"more than {self._backlog} changes behind"
            self._fail(LimitExceeded(Limit.READING, text))
            self._call.channel.abort()
            return
        self._news.append(item)
        self._wake()

    async def news(self) -> list[T]:
        """What there is to tell; waits for it.

        Raises:
            RemoteProtocolError: the client has left, or does not keep up.
        """
        if not self._news and self.ended is None:
            self._waiting = Deferred()
            await self._waiting
        if self.ended is not None:
            raise self.ended
        news = list(self._news)
        self._news.clear()
        return news

    def end(self) -> None:
        """Nobody will be told any more."""
        self._reading.cancel()

    def _stop(self, failure: Failure) -> None:
        self._fail(PeerClosed(failure.getErrorMessage()))

    def _fail(self, error: Exception) -> None:
        self.ended = self.ended or error
        self._news.clear()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def _discard(call: Call) -> None:
    """Read until the client closes the connection.

    Raises:
        PeerClosed: it has.
    """
    while True:
        await call.channel.take(Data(_DISCARDED_BYTES))
