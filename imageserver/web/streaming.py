"""Sends the pieces of an answer as fast as the peer reads them, and no faster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from imageserver.worker import Worker


@implementer(IPushProducer)
class PieceProducer:
    """A push producer: pull producers would spin on TLS."""

    def __init__(self, request: Any, pieces: Iterator[bytes], worker: Worker) -> None:
        """Send ``pieces`` as the body of ``request``; ``worker`` makes them."""
        self._request = request
        self._pieces = pieces
        self._worker = worker
        self._waiting: Deferred[None] | None = None
        self._is_paused = self._is_stopped = False

    async def run(self) -> None:
        """Send everything; it is cancelled when the peer goes away."""
        self._request.registerProducer(self, True)
        try:
            while piece := await self._worker.run(next, self._pieces, b""):
                if not self._is_stopped:
                    self._request.write(piece)
                if self._is_paused or self._is_stopped:
                    self._waiting = Deferred()
                    await self._waiting
        finally:
            if not self._is_stopped:
                self._request.unregisterProducer()
            await self.close()

    async def close(self) -> None:
        """The pieces are of no more use."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            await self._worker.run(close)

    def pauseProducing(self) -> None:
        """See ``IPushProducer``."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._is_paused = False
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def stopProducing(self) -> None:
        """See ``IPushProducer``: the request is about to be cancelled."""
        self._is_stopped = True
