"""What goes on in the background once the images are loaded.

Each task does a piece of work in a pool, rests, and goes on with the next piece. What
goes wrong is logged, and tried again the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from imageserver.images.database import ImageDatabase
from imageserver.objects.collection import Collection
from imageserver.objects.reconciliation import Findings, Reconciliation
from imageserver.objects.store import ObjectStore
from imageserver.worker import Worker

_EXPIRY_INTERVAL_S = 1.0
_CLEANUP_INTERVAL_S = 1.0
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
        metadata: Worker,
        background: Worker,
    ) -> None:
        """Look after the stores.

        Args:
            clock: for rests.
            store: the objects.
            database: the images.
            collection: collects objects.
            metadata: does what must not wait.
            background: does the rest, one piece at a time.
        """
        self.findings: Findings | None = None
        self._clock = clock
        self._store = store
        self._database = database
        self._collection = collection
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
            self._tasks.append(Deferred.fromCoroutine(task))

    async def stop(self) -> None:
        """End what goes on, and wait for it."""
        self._stopping = True
        self._collection.stop()
        for rest in list(self._rests):
            rest.cancel()
        while self._tasks:
            await self._tasks.pop()

    async def _look_after_objects(self) -> None:
        await self._reconcile()
        await self._repeat(
            self._collection.clean_up, self._background, _CLEANUP_INTERVAL_S
        )

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
