"""Numbers that change while somebody looks: server-sent events, ``/events``.

All who look get the same bytes, made once for each beat; while nobody looks there is
no beat. Who does not read misses beats, then is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.http import SERVICE_UNAVAILABLE
from zope.interface import implementer

from imageserver.web.answer import Answer, plain
from imageserver.worker import Worker

INTERVAL_S = 5.0
_MOST_LISTENERS = 500
_MOST_MISSED = 6


@implementer(IPushProducer)
class _Listener:
    """Somebody who looks."""

    def __init__(self, request: Any) -> None:
        self.gone: Deferred[None] = Deferred()
        self._request = request
        self._is_paused = False
        self._missed = 0
        request.registerProducer(self, True)

    def send(self, data: bytes) -> None:
        if self._is_paused:
            self._missed += 1
            if self._missed > _MOST_MISSED:
                self.end()
            return
        self._missed = 0
        self._request.write(data)

    def end(self) -> None:
        if not self.gone.called:
            self._request.unregisterProducer()
            self.gone.callback(None)

    def pauseProducing(self) -> None:
        """See ``IPushProducer``."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._is_paused = False

    def stopProducing(self) -> None:
        """See ``IPushProducer``: the request is about to be cancelled."""
        self._is_paused = True


class LiveFeed(Service):
    """See the module."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        worker: Worker,
        values: Callable[[], dict[str, str]],
    ) -> None:
        """Send values.

        Args:
            clock: for the beats.
            worker: calls ``values``.
            values: gives what is shown, by the names that pages have for it; blocks.
        """
        self._clock = clock
        self._worker = worker
        self._values = values
        self._listeners: set[_Listener] = set()
        self._next: IDelayedCall | None = None

    async def serve(self, request: Any) -> bytes:
        """Answer a request with events, until one of the two has enough."""
        if len(self._listeners) >= _MOST_LISTENERS or not self.running:
            request.setHeader("Retry-After", "60")
            return _begin(request, plain("too many look\n", SERVICE_UNAVAILABLE))
        answer = Answer(b"", "text/event-stream", headers={"Cache-Control": "no-store"})
        _begin(request, answer)
        request.responseHeaders.removeHeader("Content-Length")
        if request.method == b"HEAD":
            return b""
        listener = _Listener(request)
        self._listeners.add(listener)
        listener.send(b"retry: 10000\n\n")
        if self._next is None:
            self._next = self._clock.callLater(0, self._beat)
        try:
            await listener.gone
        finally:
            self._listeners.discard(listener)
        return b""

    def _beat(self) -> None:
        self._next = None
        if self._listeners:
            self._next = self._clock.callLater(INTERVAL_S, self._beat)
            sending = Deferred.fromCoroutine(self._send())
            sending.addErrback(lambda f: self._log.failure("no live numbers", f))

    async def _send(self) -> None:
        values = await self._worker.run(self._values)
        data = f"data: {json.dumps(values)}\n\n".encode()
        for listener in list(self._listeners):
            listener.send(data)

    def stopService(self) -> None:
        """Send no more."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for listener in list(self._listeners):
            listener.end()


def _begin(request: Any, answer: Answer) -> bytes:
    request.setResponseCode(answer.status)
    for name, value in answer.all_headers.items():
        request.setHeader(name, value)
    assert isinstance(answer.body, bytes)  # noqa: S101 - made above
    return answer.body
