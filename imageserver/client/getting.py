"""Fetches objects, and goes on where it was when a connection breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import deferLater

from imageserver.client.receiving import Progress, Writer
from imageserver.client.server import Server
from imageserver.errors import ConnectionFailed, RemoteProtocolError
from imageserver.model.file_system import FileSystem
from imageserver.trees.unpack import LeftOut, Unpacker

_TRIES = 6
_PAUSE_S = 1.0

Fetch = Callable[[Sequence[bytes], Callable[[bytes], Writer], Progress], Any]
"""Fetches objects; like ``ObjectServerClient.get_objects``."""


async def fetch_wanted(
    clock: Any,
    fetch: Fetch,
    wanted: Callable[[], Sequence[bytes]],
    receive: Callable[[bytes], Writer],
    progress: Progress,
) -> None:
    """Fetch objects; those that are still wanted again, if the connection breaks.

    Args:
        clock: measures the pauses.
        fetch: fetches objects.
        wanted: tells what is still wanted.
        receive: from a hash to where its content goes.
        progress: told how it goes.

    Raises:
        CallError: the server refuses, or lacks an object.
        ProtocolError: the connection breaks again and again.
    """
    failures = 0
    while hashes := wanted():
        try:
            await fetch(hashes, receive, progress)
        except (ConnectionFailed, RemoteProtocolError):
            went_on = len(wanted()) < len(hashes)
            failures = 1 if went_on else failures + 1
            if failures == _TRIES:
                raise
            await deferLater(clock, _PAUSE_S * 2 ** (failures - 1), lambda: None)
        else:
            if len(wanted()) == len(hashes):
                raise RemoteProtocolError("the server has sent no object")


async def get_tree(
    server: Server,
    clock: Any,
    file_system: FileSystem,
    target: str,
    progress: Progress,
    fetch: Fetch | None = None,
) -> tuple[LeftOut, ...]:
    """Unpack a file system into a directory that is empty or not there.

    Args:
        server: has the objects.
        clock: the reactor.
        file_system: what to unpack.
        target: the directory.
        progress: told of objects and bytes that were written.
        fetch: fetches objects in another way.

    Returns:
        What could not be made for want of privileges.

    Raises:
        InvalidImage: the tree contradicts itself.
        ImageServerError: it cannot be fetched, or written.
    """
    run = server.worker.run
    unpacker = await run(Unpacker, file_system, target)
    try:
        await run(unpacker.make_skeleton)
        await fetch_wanted(
            clock,
            fetch or server.objects.get_objects,
            lambda: [hash_ for hash_, _ in unpacker.wanted()],
            unpacker.receive,
            progress,
        )
        return await run(unpacker.finish)
    finally:
        await run(unpacker.close)
