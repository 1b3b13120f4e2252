"""Fetches objects from a master, in several streams at a time.

Each stream takes some objects from one queue, fetches them with one call, and begins
with the next ones while these are brought to disk. An object is fetched once, however
many wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from imageserver.errors import (
    CallError,
    ImageServerError,
    ObjectsMissing,
    ReplicationError,
    ReplicationStopped,
)
from imageserver.model.object_messages import GetObjectsRequest, GetObjectsResponse
from imageserver.objects.base import ObjectLease, ObjectStorage, Outcome
from imageserver.replication.backoff import delay_s
from imageserver.replication.bandwidth import Throttle
from imageserver.replication.batch import Batch
from imageserver.replication.rests import Rests
from imageserver.srpc.client import Remote
from imageserver.worker import Worker

_log = Logger()
_BATCH_OBJECTS = 1_000
_BATCH_BYTES = 32 << 20
_USUAL_BYTES = 64 << 10  # of an object of unknown size
_PATIENCE = 3
"""So many calls in a row may break without an object before those who wait are told."""
_REFUSED = "the master has no object"


@attrs.define
class Counters:
    """What was fetched since the start.

    Attributes:
        objects: how many objects.
        bytes_: their size.
        received_bytes: what has come, of objects that broke off, too.
        rejected_objects: those that were not what their names say.
    """

    objects: int = 0
    bytes_: int = 0
    received_bytes: int = 0
    rejected_objects: int = 0


@attrs.define(eq=False)
class _Request:
    """Somebody waits for objects.

    Attributes:
        missing: those that have not come.
        failed: why some will not.
        is_lacking: whether the master does not have them.
        done: fires when it is known of all.
    """

    missing: set[bytes]
    failed: dict[bytes, str] = attrs.field(factory=dict)
    is_lacking: bool = False
    done: Deferred[None] = attrs.field(factory=Deferred)


class ObjectFetcher:
    """See the module; for one session with a master.

    Attributes:
        waiting_bytes: the size of the objects that are to be fetched, as far as known.
    """

    def __init__(
        self,
        server: Remote,
        storage: ObjectStorage,
        disk: Worker,
        lease: ObjectLease,
        rests: Rests,
        throttle: Throttle,
        streams: int,
        random: Callable[[], float],
        counters: Counters,
    ) -> None:
        """Fetch nothing yet.

        Args:
            server: the master.
            storage: where objects go.
            disk: does its work.
            lease: keeps them.
            rests: for waiting.
            throttle: says how much may come.
            streams: how many calls at a time.
            random: see :func:`delay_s`.
            counters: what is counted.
        """
        self._server = server
        self._storage = storage
        self._disk = disk
        self._lease = lease
        self._rests = rests
        self._throttle = throttle
        self._streams = streams
        self._random = random
        self._counters = counters
        self._queue: dict[bytes, int] = {}
        self._waiting: dict[bytes, list[_Request]] = {}
        self._sizes: dict[bytes, int] = {}
        self._running: set[Deferred[None]] = set()
        self._has_ended = False
        self.waiting_bytes = 0

    @property
    def waiting_objects(self) -> int:
        """How many objects are to be fetched."""
        return len(self._sizes)

    async def fetch(self, wanted: Mapping[bytes, int]) -> None:
        """Fetch objects; they are on disk when this returns.

        Args:
            wanted: their sizes by their hashes; 0: not known.

        Raises:
            ObjectsMissing: the master does not have all of them.
            ReplicationError: some could not be fetched or stored.
            ReplicationStopped: the session has ended.
        """
        if self._has_ended:
            raise ReplicationStopped
        if not wanted:
            return
        request = _Request(set(wanted))
        for hash_, size in wanted.items():
            if hash_ not in self._waiting:
                self._queue[hash_] = self._sizes[hash_] = size
                self.waiting_bytes += size
            self._waiting.setdefault(hash_, []).append(request)
        self._start_streams()
        await request.done
        if request.failed:
            hash_, reason = next(iter(request.failed.items()))
            text = f"{reason}: {hash_.hex()}"
            if len(request.failed) > 1:
                text = f"{len(request.failed)} objects failed; first: {text}"
            raise (ObjectsMissing if request.is_lacking else ReplicationError)(text)

    async def end(self) -> None:
        """Fetch no more, keep what has come, and wait for that.

        The connections have to be ended before.
        """
        self._has_ended = True
        self._queue.clear()
        for running in list(self._running):
            await running
        for requests in list(self._waiting.values()):
            for request in requests:
                if not request.done.called:
                    request.done.errback(ReplicationStopped())
        self._waiting.clear()

    def _start_streams(self) -> None:
        while len(self._running) < min(self._streams, len(self._queue)):
            running = Deferred.fromCoroutine(self._run_stream())
            self._running.add(running)
            running.addErrback(lambda failure: _log.failure("a stream died", failure))
            running.addCallback(self._forget_stream, running)
            if running.called:
                return

    def _forget_stream(self, _: None, running: Deferred[None]) -> None:
        self._running.discard(running)
        if not self._has_ended:
            self._start_streams()  # something may have come while it ended

    async def _run_stream(self) -> None:
        """Fetch objects until there are no more."""
        failures = 0
        committing: Deferred[None] = succeed(None)
        while self._queue:
            hashes = self._take()
            before = self._counters.received_bytes
            intake = self._storage.intake(self._lease)
            batch = Batch(intake, self._disk, self._pay)
            error: Exception | None = None
            try:
                await self._fetch_batch(hashes, batch)
            except ReplicationStopped:
                pass
            except Exception as caught:
                error = caught
            await committing
            committing = Deferred.fromCoroutine(self._commit(hashes, batch))
            if error is None:
                failures = 0
                continue
            await committing
            if self._counters.received_bytes > before:
                failures = 0
            failures += 1
            if not await self._recover(hashes, failures, error):
                break
        await committing

    async def _recover(
        self, hashes: Sequence[bytes], failures: int, error: Exception
    ) -> bool:
        """After a call that broke, try again later what did not come.

        Returns:
            Whether there is any point in going on.
        """
        left = [hash_ for hash_ in hashes if hash_ in self._waiting]
        if failures > _PATIENCE or not isinstance(error, ImageServerError):
            for hash_ in left:
                self._fail(hash_, str(error) or type(error).__name__)
            failures = min(failures, _PATIENCE)
        elif not self._has_ended:
            self._queue = {hash_: self._sizes[hash_] for hash_ in left} | self._queue
        try:
            await self._rests.rest(delay_s(failures, self._random))
        except ReplicationStopped:
            return False
        return True

    def _take(self) -> list[bytes]:
        """The next objects for one call: a fair share, and not too many."""
        share = -(-len(self._queue) // self._streams)
        hashes: list[bytes] = []
        size = 0
        for hash_, object_size in self._queue.items():
            if hashes and (len(hashes) >= min(share, _BATCH_OBJECTS)):
                break
            if hashes and size + object_size > _BATCH_BYTES:
                break
            hashes.append(hash_)
            size += object_size or _USUAL_BYTES
        for hash_ in hashes:
            del self._queue[hash_]
        return hashes

    async def _fetch_batch(self, hashes: list[bytes], batch: Batch) -> None:
        async with self._server.begin("ObjectServer.GetObjects") as call:
            call.channel.expect_much()
            call.send(GetObjectsRequest(hashes=tuple(hashes)))
            await call.drain()
            response = await call.receive(GetObjectsResponse)
            sizes = response.object_sizes
            if response.error:
                self._settle_lacking(hashes, sizes, response.error)
                return
            if len(sizes) != len(hashes) or 0 in sizes:
                raise CallError("the master has sent other objects than were wanted")
            await batch.receive(call, hashes, sizes)

    def _settle_lacking(
        self, hashes: Sequence[bytes], sizes: Sequence[int], error: str
    ) -> None:
        """The master lacks some of the objects; the others are asked for again."""
        if len(sizes) != len(hashes) or 0 not in sizes:
            raise CallError(error)
        again = {}
        for hash_, size in zip(hashes, sizes, strict=True):
            if size == 0:
                self._fail(hash_, _REFUSED, is_lacking=True)
            elif hash_ in self._waiting:
                again[hash_] = size
        self._queue = again | self._queue

    async def _commit(self, hashes: list[bytes], batch: Batch) -> None:
        """Bring a batch to disk, and tell those who wait."""
        try:
            outcomes = await batch.commit()
        except Exception as error:
            for hash_ in hashes:
                if hash_ not in self._queue:
                    self._fail(hash_, f"cannot store: {error}")
            return
        for hash_, outcome in zip(hashes, outcomes, strict=False):
            self._settle(hash_, outcome)

    def _settle(self, hash_: bytes, outcome: Outcome) -> None:
        if outcome.error:
            self._counters.rejected_objects += outcome.hash_ not in (hash_, bytes(64))
            self._fail(hash_, outcome.error)
            return
        self._counters.objects += 1
        for request in self._end_waiting(hash_):
            request.missing.discard(hash_)
            self._check_done(request)

    def _fail(self, hash_: bytes, reason: str, *, is_lacking: bool = False) -> None:
        for request in self._end_waiting(hash_):
            request.missing.discard(hash_)
            request.failed[hash_] = reason
            request.is_lacking |= is_lacking
            self._check_done(request)

    def _end_waiting(self, hash_: bytes) -> Iterable[_Request]:
        self.waiting_bytes -= self._sizes.pop(hash_, 0)
        return self._waiting.pop(hash_, ())

    def _check_done(self, request: _Request) -> None:
        if not request.missing and not request.done.called:
            request.done.callback(None)

    def _pay(self, size: int) -> Deferred[None] | None:
        """Count what has come, and wait if it was more than may come."""
        self._counters.received_bytes += size
        self._counters.bytes_ += size
        wait_s = self._throttle.wait_s(size)
        if wait_s <= 0:
            return None
        return Deferred.fromCoroutine(self._rests.rest(wait_s))
