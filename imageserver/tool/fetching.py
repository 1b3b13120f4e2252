"""Objects from wherever they are: files here, the cache of the user, the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imageserver.client.receiving import Progress, Writer
from imageserver.errors import CorruptObject, ImageServerError
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
        here = await self._session.blocking(self._find_here, hashes)
        pending: list[bytes] = []
        for hash_ in hashes:
            if hash_ not in here:
                pending.append(hash_)
                continue
            await self._fetch_remote(pending, receive, progress)
            pending = []
            size = await self._session.blocking(self._copy, hash_, receive)
            progress(1, size)
        await self._fetch_remote(pending, receive, progress)
        if self._cache is not None:
            await self._session.blocking(self._cache.trim)

    def _find_here(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Which objects need not be fetched."""
        cache = self._cache
        return {
            hash_
            for hash_ in hashes
            if hash_ in self._local or (cache is not None and cache.has(hash_))
        }

    async def _fetch_remote(
        self, hashes: Sequence[bytes], receive: Receive, progress: Progress
    ) -> None:
        if hashes:
            objects = await self._session.objects()
            await objects.get_objects(hashes, self._keeping(receive), progress)

    def _keeping(self, receive: Receive) -> Receive:
        """The same, and what comes is kept in the cache, if there is one."""
        cache = self._cache
        if cache is None:
            return receive
        return lambda hash_: _Both(receive(hash_), cache.begin(hash_))

    def _copy(self, hash_: bytes, receive: Receive) -> int:
        """Copy an object that is here; its size."""
        content = self._local.get(hash_)
        file = content.open() if content else None
        if file is None and self._cache is not None:
            file = self._cache.open(hash_)
        if file is None:
            raise ImageServerError(f"object is gone from the cache: {hash_.hex()}")
        size = 0
        try:
            with file:
                writer = receive(hash_)
                while piece := file.read(_PIECE_BYTES):
                    writer.write(piece)
                    size += len(piece)
                writer.finish()
        except CorruptObject:
            if self._cache is not None:
                self._cache.remove(hash_)
            raise
        return size
