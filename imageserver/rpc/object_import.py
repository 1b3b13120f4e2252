"""Fetches objects from a web server, for ObjectServer.ImportObjects and others.

Several objects come at the same time, each lane of them like a stream of AddObjects
with groups of its own. All that was counted is on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent

from imageserver.errors import RequestError
from imageserver.model.object_messages import (
    ImportObjectsRequest,
    ImportObjectsResponse,
)
from imageserver.objects.base import ObjectIntake, ObjectLease, ObjectStorage
from imageserver.rpc.download import Download, Stopped
from imageserver.rpc.import_sources import ImportSources, Source
from imageserver.srpc.access import Caller
from imageserver.worker import Worker

LANES = 16
"""So many objects of a call come at a time."""

_IMPORTS_AT_ONCE = 2
_GROUP_BYTES = 64 << 20
_GROUP_OBJECTS = 1_000
_GROUP_S = 1.0


@attrs.frozen
class Wanted:
    """An object to fetch; its place in the request, and its size (0: not known)."""

    place: int
    hash_: bytes
    size: int


@attrs.define
class Fetched:
    """What came of an import so far; ``failed`` is the place of what went wrong."""

    objects: int = 0
    bytes_: int = 0
    error: str = ""
    failed: int = 0

    def fail(self, place: int, error: str) -> None:
        """Something went wrong; the first one in the request counts."""
        if not self.error or place < self.failed:
            self.error, self.failed = error, place


class ObjectImports:
    """Serves ImportObjects."""

    def __init__(
        self,
        storage: ObjectStorage,
        disk: Worker,
        agent: IAgent,
        clock: IReactorTime,
        sources: ImportSources,
    ) -> None:
        """Prepare to import.

        Args:
            storage: where objects go.
            disk: does its work.
            agent: makes requests of web servers.
            clock: for deadlines.
            sources: from where objects may come.
        """
        self._storage = storage
        self._disk = disk
        self._agent = agent
        self._clock = clock
        self._sources = sources
        self._running = DeferredSemaphore(_IMPORTS_AT_ONCE)

    async def run(
        self,
        caller: Caller,
        request: ImportObjectsRequest,
        check_length: Callable[[int], None],
    ) -> ImportObjectsResponse:
        """Fetch those objects that are not here.

        Args:
            caller: if it goes away, nothing more is fetched.
            request: what it wants.
            check_length: raises ``RequestError`` for objects that cannot be taken.
        """
        result = Fetched()
        wanted = await self._disk.run(self._select, request, result)
        if wanted and not result.error:
            try:
                source = self._sources.find(request.base_remote_url)
            except RequestError as error:
                result.fail(wanted[0].place, str(error))
            else:
                async with self._running:
                    await self.fetch(caller, source, wanted, check_length, result)
        return ImportObjectsResponse(
            result.bytes_, result.error, result.failed, result.objects
        )

    def source(self, url: str) -> Source:
        """What a client may mean by a URL.

        Raises:
            RequestError: it must not be imported from.
        """
        return self._sources.find(url)

    async def fetch(
        self,
        caller: Caller,
        source: Source,
        wanted: list[Wanted],
        check_length: Callable[[int], None],
        result: Fetched,
        lease: ObjectLease | None = None,
    ) -> None:
        """Fetch objects that are not here.

        Args:
            caller: if it goes away, nothing more is fetched.
            source: below it they are, by their hashes.
            wanted: which.
            check_length: raises ``RequestError`` for objects that cannot be taken.
            result: told what came of it.
            lease: keeps them.
        """
        fetching = _Fetching(
            self._storage,
            self._disk,
            self._agent,
            self._clock,
            source,
            check_length,
            result,
            lease,
        )
        await fetching.run(caller, wanted)

    def _select(self, request: ImportObjectsRequest, result: Fetched) -> list[Wanted]:
        """What has to be fetched, unless something is wrong with the request."""
        known = self._storage.sizes(request.hashes)
        sizes = request.object_sizes
        wanted: dict[bytes, Wanted] = {}
        for place, hash_ in enumerate(request.hashes):
            size = sizes[place] if place < len(sizes) else 0
            if hash_ not in known:
                wanted.setdefault(hash_, Wanted(place, hash_, size))
            elif size and known[hash_] != size:
                text = f"existing size: {known[hash_]} != {size} for: {hash_.hex()}"
                result.fail(place, text)
        return list(wanted.values())


@attrs.define(eq=False)
class _Fetching:
    """The objects of one call."""

    _storage: ObjectStorage
    _disk: Worker
    _agent: IAgent
    _clock: IReactorTime
    _source: Source
    _check_length: Callable[[int], None]
    _result: Fetched
    _lease: ObjectLease | None
    _queue: deque[Wanted] = attrs.field(init=False, factory=deque)
    _downloads: set[Download] = attrs.field(init=False, factory=set)

    async def run(self, caller: Caller, wanted: list[Wanted]) -> None:
        """Fetch ``wanted``, until something goes wrong or the caller goes away."""
        self._queue.extend(wanted)
        departure = caller.departure()
        departure.addCallbacks(lambda _: self._leave(), lambda _: None)
        lanes = [Deferred.fromCoroutine(self._run_lane()) for _ in wanted[:LANES]]
        for _, outcome in await DeferredList(lanes, consumeErrors=True):
            if isinstance(outcome, Failure):
                outcome.raiseException()
        departure.cancel()

    def _leave(self) -> None:
        self._result.fail(0, "the client has left")
        self.stop()

    def stop(self) -> None:
        """Fetch nothing more."""
        self._queue.clear()
        for download in list(self._downloads):
            download.stop()

    async def _run_lane(self) -> None:
        """Fetch one object after the other."""
        intake = self._storage.intake(self._lease)
        try:
            while self._queue:
                await self._fetch_group(intake)
        except BaseException:
            self.stop()
            raise
        finally:
            await self._disk.run(intake.abandon)

    async def _fetch_group(self, intake: ObjectIntake) -> None:
        """Fetch objects, and bring them to disk together."""
        group: list[tuple[Wanted, int]] = []
        began_s = self._clock.seconds()
        try:
            while (
                self._queue
                and len(group) < _GROUP_OBJECTS
                and sum(size for _, size in group) < _GROUP_BYTES
                and self._clock.seconds() - began_s < _GROUP_S
            ):
                wanted = self._queue.popleft()
                await self._fetch(intake, wanted, group)
        except RequestError as error:
            self._result.fail(wanted.place, str(error))
            self.stop()
        except Stopped:
            pass  # what is complete is kept
        await self._commit(intake, group)

    async def _fetch(
        self, intake: ObjectIntake, wanted: Wanted, group: list[tuple[Wanted, int]]
    ) -> None:
        """Fetch one object, which belongs to the group from its first byte on."""
        url = f"{self._source.url}/{wanted.hash_.hex()}"
        download = Download(
            self._agent, self._clock, url.encode("ascii"), wanted.size or None
        )
        has_begun = False

        def take(piece: bytes) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                size = download.size or 0
                group.append((wanted, size))
                intake.begin(size, wanted.hash_)
            intake.write(piece)

        async def sink(piece: bytes) -> None:
            await self._disk.run(take, piece)

        self._downloads.add(download)
        try:
            await download.run(self._check, sink)
        except RequestError as error:
            raise RequestError(f"error getting reader for: {url}: {error}") from error
        finally:
            self._downloads.discard(download)

    def _check(self, length: int) -> None:
        if length <= 0:
            raise RequestError("an object has at least one byte")
        self._check_length(length)

    async def _commit(
        self, intake: ObjectIntake, group: list[tuple[Wanted, int]]
    ) -> None:
        outcomes = await self._disk.run(intake.commit)
        # Of the last one of the group perhaps not everything has come.
        for (wanted, size), outcome in zip(group, outcomes, strict=False):
            if outcome.error:
                self._result.fail(wanted.place, outcome.error)
                self.stop()
            elif outcome.added:
                self._result.objects += 1
                self._result.bytes_ += size
