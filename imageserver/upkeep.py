"""What goes on in the background once the images are loaded.

Each task does a piece of work in a pool, rests, and goes on with the next piece. What
goes wrong is logged, and tried again the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from imageserver.errors import StoreError
from imageserver.images.database import ImageDatabase
from imageserver.images.missing import MissingObjects
from imageserver.objects.collection import Collection
from imageserver.objects.reconciliation import Findings, Reconciliation
from imageserver.objects.scrub import Scrub
from imageserver.objects.store import ObjectStore
from imageserver.worker import Worker

_EXPIRY_INTERVAL_S = 1.0
_CLEANUP_INTERVAL_S = 5.0
_MISSING_INTERVAL_S = 60.0
_SCRUB_INTERVAL_S = 10.0
_SCRUBBED_AT_ONCE = 8 << 20
_NANOSECONDS = 1_000_000_000


class Upkeep:
    """See the module.

    Attributes:
        findings: what the last look at all objects came across; ``None``: there was
            none yet.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: ObjectStore,
        database: ImageDatabase,
        collection: Collection,
        scrub: Scrub,
        scrub_rate: int,
        missing: MissingObjects,
        metadata: Worker,
        background: Worker,
    ) -> None:
        """Look after the stores.

        Args:
            clock: for rests.
            store: the objects.
            database: the images.
            collection: collects objects.
            scrub: reads objects again.
            scrub_rate: how much, in bytes per second; 0: nothing.
            missing: knows what is missing.
            metadata: does what must not wait.
            background: does the rest, one piece at a time.
        """
        self.findings: Findings | None = None
        self._clock = clock
        self._store = store
        self._database = database
        self._collection = collection
        self._scrub = scrub
        self._scrub_rate = scrub_rate
        self._missing = missing
        self._metadata = metadata
        self._background = background
        self._stopping = False
        self._rests: set[Deferred[None]] = set()
        self._tasks: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin."""
        leases = self._store.leases
        interval_s = leases.interval_ns / _NANOSECONDS
        for task in (
            self._repeat(self._database.expire, self._metadata, _EXPIRY_INTERVAL_S),
            self._repeat(leases.renew, self._metadata, interval_s),
            self._look_after_objects(),
        ):
            self._begin(task)

    def _begin(self, task: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(Deferred.fromCoroutine(self._run(task)))

    async def _run(self, task: Coroutine[Any, Any, None]) -> None:
        try:
            await task
        except Exception:  # the others go on
            self._log.failure("a task in the background has ended")

    async def stop(self) -> None:
        """End what goes on, and wait for it."""
        self._stopping = True
        self._collection.stop()
        self._missing.stop()
        for rest in list(self._rests):
            rest.cancel()
        while self._tasks:
            await self._tasks.pop()

    async def _look_after_objects(self) -> None:
        await self._reconcile()
        for task in (
            self._repeat(self._missing.refresh, self._background, _MISSING_INTERVAL_S),
            self._repeat(
                self._collection.clean_up, self._background, _CLEANUP_INTERVAL_S
            ),
            self._read_objects(),
        ):
            self._begin(task)

    async def _reconcile(self) -> None:
        """Look at all objects, for no more than half of the time."""
        reconciliation = Reconciliation(self._store, time.time())
        for number in range(Reconciliation.PIECES):
            began_s = self._clock.seconds()
            if self._stopping:
                return
            await self._background.run(reconciliation.run_piece, number)
            await self._rest(self._clock.seconds() - began_s)
        self.findings = reconciliation.findings
        self._log.info(
            "looked at all objects: {found} new, {gone} gone, {damaged} damaged;"
            " {foreign} other files; {unread} of 256 pieces could not be read",
            **attrs.asdict(reconciliation.findings),
        )

    async def _read_objects(self) -> None:
        """Read all objects again and again, slowly."""
        if self._scrub_rate == 0:
            return
        await self._background.run(self._scrub.resume)
        try:
            while not self._stopping:
                await self._scrub_some()
        finally:
            await self._background.run(self._scrub.close)

    async def _scrub_some(self) -> None:
        """Read some objects, and rest for as long as the rate wants."""
        if not self._scrub.due:
            await self._rest(_SCRUB_INTERVAL_S)
            return
        if self._scrub.current is None and self._scrub.last is not None:
            await self._reconcile()  # other programs may have come by
        began_s = self._clock.seconds()
        budget = min(self._scrub_rate, _SCRUBBED_AT_ONCE)
        try:
            spent = await self._background.run(self._scrub.run_piece, budget)
        except StoreError as error:
            self._log.error("cannot read objects again: {error}", error=error)
            await self._rest(_SCRUB_INTERVAL_S)
            return
        elapsed_s = self._clock.seconds() - began_s
        await self._rest(max(0, spent / self._scrub_rate - elapsed_s))

    async def _repeat(
        self, work: Callable[[], Any], worker: Worker, interval_s: float
    ) -> None:
        while not self._stopping:
            try:
                await worker.run(work)
            except Exception:  # or there would be no next time
                self._log.failure("{work} failed", work=work.__qualname__)
            await self._rest(interval_s)

    async def _rest(self, seconds: float) -> None:
        """Wait, but not when it is time to stop."""
        if self._stopping:
            return
        rest: Deferred[None] = deferLater(self._clock, seconds)
        self._rests.add(rest)
        try:
            await rest
        except CancelledError:
            pass
        finally:
            self._rests.discard(rest)
