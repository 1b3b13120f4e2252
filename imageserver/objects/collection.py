"""Collecting objects that no image uses: ``docs/operations.md``, "Collection".

Those go first that are out of use longest; leased ones, and those that somebody has in
hand, never go. They go in batches:

1. The index forgets them, in one transaction; but for those in hand, and those that got
   an image or a lease since they were chosen.
2. Their files are removed, some at a time; but for those that somebody has in hand by
   now, or that have come again and are known.

In each step nobody can take objects in hand or give files the names of objects. So what
the index knows is there. A crash leaves files behind that it does not know; these are
found again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import attrs
from twisted.logger import Logger

from imageserver.errors import RequestError
from imageserver.index.base import Collectable, UpkeepIndex
from imageserver.objects.store import ObjectStore

_CHOSEN_AT_ONCE = 20_000
_FORGOTTEN_AT_ONCE = 1_000
_REMOVED_AT_ONCE = 50
_HOLD_S = 0.02
_PAUSE_NS = 20_000_000_000


def _clamp(percent: int) -> int:
    return max(1, min(99, percent))


@attrs.frozen
class CleanupLimits:
    """When objects are collected without anybody asking for it, and how many.

    Attributes:
        start_percent: how full the file system has to be, 1 to 99.
        stop_percent: how full it is to be then; less than that.
        start_bytes: how much has to be out of use; 0: that does not matter.
        stop_bytes: how much is to be out of use then.
    """

    start_percent: int = attrs.field(default=95, converter=_clamp)
    stop_percent: int = attrs.field(default=90, converter=_clamp)
    start_bytes: int = 0
    stop_bytes: int = 0

    def goal_bytes(self, free: int, capacity: int, unused: Callable[[], int]) -> int:
        """How much to collect.

        Args:
            free: free bytes of the file system.
            capacity: its size.
            unused: gives how many bytes no image uses; takes a while.
        """
        goal = 0
        if self.stop_bytes < self.start_bytes:
            unused_bytes = unused()
            if unused_bytes > self.start_bytes:
                goal = unused_bytes - self.stop_bytes
        used_percent = (capacity - free) * 100 // max(1, capacity)
        if used_percent >= self.start_percent:
            stop_percent = min(self.stop_percent, self.start_percent - 1)
            goal = max(goal, (used_percent - stop_percent) * capacity // 100)
        return goal


@attrs.define
class Collected:
    """What was collected, or would have been.

    Attributes:
        objects: how many objects.
        bytes_: their size.
    """

    objects: int = 0
    bytes_: int = 0

    def reaches(self, goal: Collected) -> bool:
        """Whether it is as much as ``goal``, in number and in size."""
        return self.objects >= goal.objects and self.bytes_ >= goal.bytes_

    def add(self, found: Collectable) -> None:
        """One more object."""
        self.objects += 1
        self.bytes_ += found.size


class Collection:
    """Collects objects, once at a time. All methods may be called from any thread.

    Attributes:
        total: what was collected since the start.
        obstacle: gives why nothing may be collected; empty: it may.
    """

    _log = Logger()

    def __init__(
        self,
        store: ObjectStore,
        index: UpkeepIndex,
        limits: CleanupLimits,
        obstacle: Callable[[], str],
        *,
        dry_run: bool = False,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """Collect objects of a store.

        Args:
            store: the objects.
            index: what is known of them; the one that the store has.
            limits: for :meth:`clean_up`.
            obstacle: see above.
            dry_run: whether :meth:`clean_up` only tells what it would remove.
            rest: waits for so many seconds.
        """
        self.total = Collected()
        self.obstacle = obstacle
        self._rest = rest
        self._store = store
        self._index = index
        self._limits = limits
        self._dry_run = dry_run
        self._busy = threading.Lock()
        self._stopping = False
        self._reported = ""
        self._next_ns = 0

    def stop(self) -> None:
        """Collect no further batch."""
        self._stopping = True

    def clean_up(self) -> Collected:
        """Collect as much as the limits want, if they want anything.

        Raises:
            OSError: nobody can tell how full the file system is.
            StoreError: the index fails.
        """
        if self.obstacle() or self._store.now_ns() < self._next_ns:
            return Collected()
        free, capacity = self._store.free_bytes(), self._store.capacity_bytes()
        goal = self._limits.goal_bytes(
            free, capacity, lambda: self._collectable().bytes_
        )
        collected = Collected()
        if goal:
            collected = self._collect(Collected(0, goal), dry_run=self._dry_run)
            self._report(collected, goal)
            if collected.bytes_ < goal:  # looking for more takes a while
                self._next_ns = self._store.now_ns() + _PAUSE_NS
        return collected

    def delete(
        self, percentage: int, bytes_: int, *, dry_run: bool = False
    ) -> Collected:
        """Collect as much as somebody wants.

        Args:
            percentage: how much of the number of objects that can be collected.
            bytes_: how much space; both goals have to be reached.
            dry_run: only tell what would be removed.

        Raises:
            RequestError: nothing may be collected, or all of it was not enough.
            StoreError: the index fails.
        """
        obstacle = self.obstacle()
        if obstacle:
            raise RequestError(f"cannot delete objects: {obstacle}")
        goal = Collected(percentage * self._collectable().objects // 100, bytes_)
        collected = self._collect(goal, dry_run=dry_run)
        self._log.info(
            "deleted {objects} objects that no image uses, {bytes_} bytes",
            **attrs.asdict(collected),
        )
        if self._stopping:
            raise RequestError("cannot delete objects: the server is stopping")
        if collected.bytes_ < bytes_:
            raise RequestError("no more objects to delete")
        return collected

    def _collectable(self) -> Collected:
        return Collected(*self._index.collectable_totals(self._store.now_ns()))

    def _collect(self, goal: Collected, *, dry_run: bool) -> Collected:
        collected = Collected()
        with self._busy:
            candidates = self._candidates()
            while not (self._stopping or collected.reaches(goal)):
                batch = []
                promised = attrs.evolve(collected)
                for candidate in islice(candidates, _FORGOTTEN_AT_ONCE):
                    batch.append(candidate)
                    promised.add(candidate)
                    if promised.reaches(goal):
                        break
                if not batch:
                    break
                for found in batch if dry_run else self._remove(batch):
                    collected.add(found)
        return collected

    def _candidates(self) -> Iterator[Collectable]:
        """Objects that can perhaps be collected, each once."""
        last = None
        while True:
            now_ns = self._store.now_ns()
            found = self._index.collectable_objects(now_ns, _CHOSEN_AT_ONCE, last)
            yield from found
            if len(found) < _CHOSEN_AT_ONCE:
                return
            last = found[-1]

    def _remove(self, batch: list[Collectable]) -> list[Collectable]:
        """Remove objects, but those that are needed now; what was removed."""
        store = self._store
        with self._briefly():
            free = [c.hash_ for c in batch if not store.leases.is_held(c.hash_)]
            gone = set(self._index.forget_collectable(free, store.now_ns()))
        forgotten = deque(found for found in batch if found.hash_ in gone)
        for found in forgotten:  # what comes from the disk is fetched before
            os.path.lexists(store.path(found.hash_))
        removed: list[Collectable] = []
        while forgotten:
            with self._briefly() as enough_s:
                removed += self._remove_files(forgotten, enough_s)
        for found in removed:
            self.total.add(found)
        return removed

    @contextmanager
    def _briefly(self) -> Iterator[float]:
        """Keep others waiting, then let them have as much time as this took.

        Yields:
            When that should have an end.
        """
        with self._store.placing:
            began_s = time.monotonic()
            yield began_s + _HOLD_S
            elapsed_s = time.monotonic() - began_s
        self._rest(elapsed_s)

    def _remove_files(
        self, forgotten: deque[Collectable], enough_s: float
    ) -> Iterator[Collectable]:
        """Remove files from the first on, until it is enough."""
        some = [found.hash_ for found in islice(forgotten, _REMOVED_AT_ONCE)]
        again = self._index.object_sizes(some)
        for hash_ in some:
            found = forgotten.popleft()
            is_needed = hash_ in again or self._store.leases.is_held(hash_)
            if not is_needed and self._remove_file(found):
                yield found
            if time.monotonic() >= enough_s:
                break

    def _remove_file(self, found: Collectable) -> bool:
        try:
            self._store.disk.remove(self._store.path(found.hash_))
        except OSError as error:
            self._log.error(
                "cannot remove object {name}: {error}",
                name=found.hash_.hex(),
                error=error.strerror,
            )
            # It is as old as it was.
            sizes = {found.hash_: found.size}
            self._index.add_objects(sizes, found.last_used_ns)
            return False
        return True

    def _report(self, collected: Collected, goal_bytes: int) -> None:
        verb = "would collect" if self._dry_run else "collected"
        report = (
            f"{verb} {collected.objects} objects that no image uses,"
            f" {collected.bytes_} of {goal_bytes} bytes"
        )
        if report != self._reported:
            self._log.info("{report}", report=report)
        self._reported = report
