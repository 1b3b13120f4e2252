"""Objects from wherever they are: files here, the cache of the user, the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imageserver.client.object_server import Progress, Writer
from imageserver.tool.imagetool_session import ImageSession
from imageserver.trees.object_cache import ObjectCache
from imageserver.trees.tree import Content

_PIECE_BYTES = 1 << 20

Receive = Callable[[bytes], Writer]


class _Both:
    """Hands what comes to two writers."""

    def __init__(self, first: Writer, second: Writer) -> None:
        self._writers = first, second

    def write(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)

    def finish(self) -> None:
        for writer in self._writers:
            writer.finish()


class Fetcher:
    """Fetches objects in the way that the flags ask for."""

    def __init__(
        self, session: ImageSession, local: Mapping[bytes, Content] | None = None
    ) -> None:
        """Fetch from the server what is not in ``local``, nor in the cache.

        Raises:
            FileAccessError: there is no directory for the cache.
        """
        self._session = session
        self._local = local or {}
        settings = session.settings
        self._cache = None
        if settings.object_cache_directory:
            self._cache = ObjectCache(
                settings.object_cache_directory, settings.object_cache_size
            )

    async def fetch(
        self, hashes: Sequence[bytes], receive: Receive, progress: Progress
    ) -> None:
        """Fetch objects, in order; see ``ObjectServerClient.get_objects``.

        Raises:
            ImageServerError: an object is not to be had.
        """
        pending: list[bytes] = []
        for hash_ in hashes:
            if hash_ in self._local:
                await self._fetch_remote(pending, receive, progress)
                pending = []
                size = await self._session.blocking(self._copy, hash_, receive)
                progress(1, size)
            elif self._cache is None:
                pending.append(hash_)
            elif (size := await self._session.blocking(self._copy, hash_, receive)) < 0:
                await self._fetch_remote([hash_], self._keeping(receive), progress)
            else:
                progress(1, size)
        await self._fetch_remote(pending, receive, progress)
        if self._cache is not None:
            await self._session.blocking(self._cache.trim)

    async def _fetch_remote(
        self, hashes: Sequence[bytes], receive: Receive, progress: Progress
    ) -> None:
        if hashes:
            objects = await self._session.objects()
            await objects.get_objects(hashes, receive, progress)

    def _keeping(self, receive: Receive) -> Receive:
        cache = self._cache
        assert cache is not None  # noqa: S101 - only called if there is one
        return lambda hash_: _Both(receive(hash_), cache.begin(hash_))

    def _copy(self, hash_: bytes, receive: Receive) -> int:
        """Copy an object that is here; its size, or -1: it is not."""
        content = self._local.get(hash_)
        file = content.open() if content else None
        if file is None and self._cache is not None:
            file = self._cache.open(hash_)
        if file is None:
            return -1
        size = 0
        with file:
            writer = receive(hash_)
            while piece := file.read(_PIECE_BYTES):
                writer.write(piece)
                size += len(piece)
            writer.finish()
        return size
