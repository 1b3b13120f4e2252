"""Makes an image of a tree on this machine: scans it and sends it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from imageserver.client.receiving import Progress
from imageserver.client.server import Server
from imageserver.client.uploading import STREAMS, Sent, Upload
from imageserver.errors import ImageServerError
from imageserver.model.filter import Filter, Matcher
from imageserver.trees.tar import scan_source
from imageserver.trees.tree import Content, Found, Tree

_BATCH = 1_000
_BATCH_BYTES = 32 << 20


@attrs.frozen
class Added:
    """What came of a tree.

    Attributes:
        tree: the tree.
        sent: what was sent of it.
    """

    tree: Tree
    sent: Sent


def forget_progress(objects: int, size: int) -> None:
    """Nobody watches."""


async def add_tree(
    server: Server,
    clock: Any,
    source: str,
    filter_: Filter | None = None,
    *,
    scanned: Progress = forget_progress,
    sent: Progress = forget_progress,
    streams: int = STREAMS,
) -> Added:
    """Scan a tree, and send the server what it lacks of it.

    Args:
        server: where to.
        clock: the reactor.
        source: a directory, or a tar file.
        filter_: what to leave out.
        scanned: told how many files, and bytes of them, were hashed so far; called in
            another thread.
        sent: told of objects and bytes that were sent, or were there.
        streams: how many connections to use at a time.

    Raises:
        ImageServerError: the tree cannot be read.
        CallError: the server refuses.
    """
    matcher = None if filter_ is None else Matcher(filter_.lines)
    scan = partial(scan_source, source, matcher, scanned)
    return await add_scanned(server, clock, scan, sent, streams)


async def add_scanned(
    server: Server,
    clock: Any,
    scan: Callable[[Found], Tree],
    sent: Progress = forget_progress,
    streams: int = STREAMS,
) -> Added:
    """Let something be scanned, and send the server what it lacks of it.

    Args:
        server: where to.
        clock: the reactor.
        scan: scans; called in a thread, with what is to be told of contents as they
            are found.
        sent: told of objects and bytes that were sent, or were there.
        streams: how many connections to use at a time.

    Raises:
        ImageServerError: it cannot be scanned.
        CallError: the server refuses.
    """
    upload = Upload(server, clock, sent, streams)
    feeder = _Feeder(upload, clock.callFromThread)
    sending = Deferred.fromCoroutine(upload.run())
    sending.addErrback(feeder.stop)
    scanning = server.worker.run(scan, feeder.take)
    try:
        tree: Tree = await scanning
    except ImageServerError as error:
        if feeder.failure is not None:
            feeder.failure.raiseException()
        sending.addErrback(lambda _: None)
        sending.cancel()
        raise ImageServerError(f"error building image: {error}") from error
    except BaseException:
        sending.addErrback(lambda _: None)
        sending.cancel()
        raise
    upload.put(tree.contents.values())  # those that are not on their way
    upload.end()
    done = await sending
    if feeder.failure is not None:
        feeder.failure.raiseException()
    return Added(tree, done)


class _UploadFailed(ImageServerError):
    """There is no use in scanning on."""


class _Feeder:
    """Hands contents from the scanning threads to an upload."""

    def __init__(self, upload: Upload, call: Callable[..., Any]) -> None:
        self._upload = upload
        self._call = call
        self._lock = threading.Lock()
        self._batch: list[Content] = []
        self._bytes = 0
        self.failure: Any = None

    def take(self, content: Content) -> None:
        """Take a content; called in any thread."""
        if self.failure is not None:
            raise _UploadFailed("the upload has failed")
        with self._lock:
            self._batch.append(content)
            self._bytes += content.size
            if len(self._batch) < _BATCH and self._bytes < _BATCH_BYTES:
                return
            batch, self._batch, self._bytes = self._batch, [], 0
        self._call(self._upload.put, batch)

    def stop(self, failure: Any) -> None:
        """The upload has failed: take no more."""
        self.failure = failure
