"""Calls while images are being loaded.

Images that the index knows are served at once. One whose file has to be read first is
read as soon as somebody wants it. What takes all images to answer waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from imageserver.errors import PeerClosed
from imageserver.images.loading import Loading
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method, Reply, Stream
from imageserver.worker import Worker

NEEDING_ALL = frozenset(
    f"ImageServer.{name}"
    for name in (
        "DeleteUnreferencedObjects",
        "FindLatestImage",
        "GetFilteredImageUpdates",
        "GetImageUpdates",
        "GetObjectStatisticsForImages",
        "ImportTree",
        "ListSelectedImages",
        "ListUnreferencedObjects",
        "RestoreImageFromArchive",
    )
)
"""Methods that only know what to say when all images are loaded."""


class Readiness:
    """Lets calls wait for images."""

    def __init__(self, loading: Loading, background: Worker) -> None:
        """Wait for what ``loading`` loads by means of ``background``."""
        self._loading = loading
        self._background = background
        self._waiting: list[Deferred[None]] = []
        self._stopped = False

    def complete(self) -> None:
        """All images are loaded."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def stop(self) -> None:
        """They will not be any more."""
        self._stopped = True
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.errback(PeerClosed("the server stops"))

    def gate(self, methods: Iterable[Method]) -> Iterator[Method]:
        """The same methods; their calls wait for what they need."""
        for method in methods:
            reply, stream = method.reply, method.stream
            if method.full_name in NEEDING_ALL:
                yield attrs.evolve(
                    method,
                    reply=reply and self._reply_with_all(reply),
                    stream=stream and self._stream_with_all(stream),
                )
            elif reply is not None and hasattr(method.request, "image_name"):
                yield attrs.evolve(method, reply=self._reply_with_one(reply))
            else:
                yield method

    async def _all(self) -> None:
        if self._stopped:
            raise PeerClosed("the server stops")
        if not self._loading.progress.finished:
            deferred: Deferred[None] = Deferred()
            self._waiting.append(deferred)
            await deferred

    def _reply_with_all(self, reply: Reply) -> Reply:
        async def wait_and_reply(caller: Caller, request: Any) -> Any:
            await self._all()
            return await reply(caller, request)

        return wait_and_reply

    def _stream_with_all(self, stream: Stream) -> Stream:
        async def wait_and_stream(call: Call) -> None:
            await self._all()
            await stream(call)

        return wait_and_stream

    def _reply_with_one(self, reply: Reply) -> Reply:
        async def wait_and_reply(caller: Caller, request: Any) -> Any:
            if request.image_name in self._loading.pending:
                await self._background.run(self._loading.load, request.image_name)
            return await reply(caller, request)

        return wait_and_reply
