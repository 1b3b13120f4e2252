"""What goes on in the background, without threads and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stores import Stores
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import StoreError
from imageserver.images.missing import MissingObjects
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.leases import LEASE_NS
from imageserver.objects.reconciliation import Reconciliation
from imageserver.objects.scrub import Scrub
from imageserver.testing import InlineWorker
from imageserver.upkeep import Upkeep

PIECES = 256
OBJECT_BYTES = 64 << 10
WEEK_NS = 7 * 86_400 * 10**9


class GatedWorker(InlineWorker):
    """A worker whose work is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Any, Any]] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """See :class:`~imageserver.worker.Worker`."""
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, function, args))
        return done

    def work(self) -> None:
        """Do the first piece."""
        done, function, args = self.waiting.pop(0)
        done.callback(function(*args))


class UpkeepCase(SynchronousTestCase):
    """Stores with somebody who looks after them."""

    def setUp(self) -> None:
        """Empty stores; nothing has begun."""
        self.now_ns = 10**18
        stores = Stores(self, lambda: self.now_ns)
        self.index, self.store = stores.index, stores.objects
        self.database = stores.database
        self.scrub = Scrub(self.store, self.index, lambda: self.now_ns, WEEK_NS)
        self.scrub_rate = 0
        self.missing = MissingObjects(self.database, self.index)
        self.clock = Clock()
        self.background: Any = InlineWorker()

    def start(self) -> None:
        """Begin."""
        limits = CleanupLimits(start_bytes=1)
        collection = Collection(self.store, self.index, limits, self.obstacle)
        self.upkeep = Upkeep(
            self.clock,
            self.store,
            self.database,
            collection,
            self.scrub,
            self.scrub_rate,
            self.missing,
            InlineWorker(),
            self.background,
        )
        self.upkeep.start()

    def obstacle(self) -> str:
        """Why nothing may be collected."""
        return "not yet" if self.upkeep.findings is None else ""

    def stop(self) -> Deferred[None]:
        """End."""
        stopping: Deferred[None] = Deferred.fromCoroutine(self.upkeep.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return stopping

    def put(self, content: bytes) -> Path:
        """Put an object there, as another program would."""
        path = self.store.path(hash_of(content))
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    def advance(self, steps: int, seconds: float) -> None:
        """Let time pass."""
        for _ in range(steps):
            self.clock.advance(seconds)

    def test_in_order(self) -> None:
        """First all objects are looked at, then those that nobody needs go."""
        self.index.add_objects({hash_of(b"gone"): 4}, 0)
        path = self.put(b"unused")
        self.index.add_objects({hash_of(b"unused"): 6}, 0)
        self.start()
        self.assertTrue(path.exists())
        self.assertIsNone(self.upkeep.findings)
        self.advance(PIECES, 0)
        self.assertEqual(self.upkeep.findings.gone, 1)
        self.assertFalse(path.exists())
        again = self.put(b"unused 2")
        self.index.add_objects({hash_of(b"unused 2"): 8}, 0)
        self.advance(1, 5)
        self.assertFalse(again.exists())
        self.successResultOf(self.stop())

    def test_rests(self) -> None:
        """Looking at all objects takes no more than half of the time."""
        self.background = GatedWorker()
        self.start()
        self.clock.advance(3)
        self.background.work()
        self.clock.advance(2.9)
        self.assertEqual(self.background.waiting, [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.background.waiting), 1)
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.background.work()
        self.successResultOf(stopping)

    def test_renewal(self) -> None:
        """Leases are renewed four times as often as they would end."""
        lease = self.store.leases.begin()
        self.put(b"leased")
        self.index.add_objects({hash_of(b"leased"): 6}, 0)
        lease.keep([hash_of(b"leased")])
        self.start()
        self.now_ns += LEASE_NS
        self.advance(1, LEASE_NS / 4 / 1e9)
        self.advance(PIECES, 0)
        self.assertEqual(len(self.index.objects_after(b"", 9)), 1)
        self.now_ns += LEASE_NS - 1
        self.assertEqual(self.index.collectable_totals(self.now_ns), (0, 0))
        self.successResultOf(self.stop())

    def test_failures(self) -> None:
        """What goes wrong is logged, and tried again."""
        calls = []

        def fail(_: int) -> None:
            calls.append(1)
            raise StoreError("index: disk I/O error")

        self.patch(self.index, "expired", fail)
        self.start()
        self.advance(2, 1)
        self.assertEqual(len(calls), 3)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 3)
        self.successResultOf(self.stop())

    def test_scrub(self) -> None:
        """Objects are read again at the given rate, pass by pass."""
        self.scrub_rate = 2 * OBJECT_BYTES
        for number in range(6):
            content = b"object %d" % number
            self.put(content)
            self.index.add_objects(
                {hash_of(content): len(content)}, 0, self.now_ns + 2 * WEEK_NS
            )
        self.start()
        self.advance(PIECES, 0)
        self.assertEqual(self.scrub.current.objects, 2)
        self.clock.advance(0.9)
        self.assertEqual(self.scrub.current.objects, 2)
        self.advance(2, 0.1)
        self.assertEqual(self.scrub.current.objects, 4)
        self.advance(2, 1)
        self.assertIsNone(self.scrub.current)
        self.assertEqual(self.scrub.last.objects, 6)
        self.put(b"of another program")
        self.now_ns += WEEK_NS
        self.advance(1, 10)
        self.advance(2 * PIECES, 0)
        self.assertEqual(self.scrub.current.objects, 2)
        self.assertEqual(self.upkeep.findings.found, 1)
        self.successResultOf(self.stop())
        resumed = Scrub(self.store, self.index, lambda: self.now_ns, WEEK_NS)
        resumed.resume()
        self.assertEqual(resumed.current, self.scrub.current)

    def test_no_scrub(self) -> None:
        """With a rate of 0 nothing is read again, and nothing is noted."""
        self.put(b"object")
        self.start()
        self.advance(PIECES, 0)
        self.advance(5, 10)
        self.assertEqual((self.scrub.current, self.scrub.last), (None, None))
        self.successResultOf(self.stop())
        self.assertEqual(self.index.note("scrub"), "")

    def test_scrub_fails(self) -> None:
        """If the index fails, the scrub waits, and goes on."""
        self.scrub_rate = 1
        failing = iter([True])
        objects_after = self.index.objects_after

        def fail(*args: Any) -> Any:
            if next(failing, False):
                raise StoreError("index: disk I/O error")
            return objects_after(*args)

        self.patch(self.index, "objects_after", fail)
        self.start()
        self.advance(PIECES, 0)
        self.assertIsNone(self.scrub.last)
        self.advance(1, 10)
        self.assertEqual(self.scrub.last.objects, 0)
        self.successResultOf(self.stop())

    def test_missing(self) -> None:
        """Missing objects are looked for each minute."""
        restored: list[list[bytes]] = []
        self.missing.restore = lambda hashes: restored.append(list(hashes))
        self.patch(self.index, "missing_objects", lambda _: [hash_of(b"a")])
        self.start()
        self.advance(PIECES, 0)
        self.assertEqual(len(restored), 1)
        self.advance(2, 60)
        self.assertEqual(restored, [[hash_of(b"a")]] * 3)
        self.successResultOf(self.stop())

    def test_a_task_ends(self) -> None:
        """If something unexpected ends one task, the others go on, and all can stop."""
        self.patch(Reconciliation, "run_piece", lambda *_: 1 / 0)
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.successResultOf(self.stop())
