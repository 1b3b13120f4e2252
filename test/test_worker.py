"""Blocking work off the reactor."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from imageserver.errors import LocalProtocolError
from imageserver.testing import InlineWorker
from imageserver.worker import PoolWorker


def divide(a: int, b: int, *, twice: bool = False) -> float:
    """Something to do."""
    return a / b * (2 if twice else 1)


class Large:
    """Something that nobody should hold for long."""


def fail_once(thing: Large) -> None:
    """Fail, with something in hand."""
    raise KeyError("first")


def fail_twice(thing: Large) -> None:
    """Fail because of another failure."""
    try:
        fail_once(thing)
    except KeyError as error:
        raise ValueError("second") from error


class Inline(SynchronousTestCase):
    """Work done at once."""

    def test_result(self):
        """The result is there at once."""
        result = InlineWorker().run(divide, 6, 3, twice=True)
        self.assertEqual(self.successResultOf(result), 4)

    def test_exception(self):
        """So is an exception."""
        self.failureResultOf(InlineWorker().run(divide, 1, 0), ZeroDivisionError)


class Pool(TestCase):
    """Work done by threads."""

    timeout = 20

    def setUp(self) -> None:
        self.before = set(threading.enumerate())
        self.worker = PoolWorker(reactor, "test", 3)

    def threads(self) -> set[threading.Thread]:
        """The threads that the pool has."""
        return set(threading.enumerate()) - self.before

    async def test_result(self):
        """The result comes from another thread; the caller stays in its own."""
        self.worker.startService()
        self.addCleanup(self.worker.stopService)
        thread = await self.worker.run(threading.current_thread)
        self.assertIn(thread, self.threads())
        self.assertEqual(await self.worker.run(divide, 6, 3, twice=True), 4)
        self.assertNotIn(threading.current_thread(), self.threads())

    async def test_exception(self):
        """An exception travels, and the pool goes on."""
        self.worker.startService()
        self.addCleanup(self.worker.stopService)
        for _ in range(10):
            with self.assertRaises(ZeroDivisionError):
                await self.worker.run(divide, 1, 0)
        self.assertEqual(await self.worker.run(divide, 4, 2), 2)

    async def test_exception_holds_nothing(self):
        """An exception keeps nothing alive that the work had in its hands."""
        self.worker.startService()
        self.addCleanup(self.worker.stopService)
        gc.disable()
        self.addCleanup(gc.enable)
        large = Large()
        alive = weakref.ref(large)
        try:
            await self.worker.run(fail_twice, large)
        except ValueError as error:
            del large
            self.assertIsNone(alive())
            text = "".join(traceback.format_exception(error))
            self.assertIn("in fail_once", text)
            self.assertIn("in fail_twice", text)
        else:
            self.fail("no exception")

    async def test_stop(self):
        """When the service has stopped no thread is left (trap 9)."""
        self.worker.startService()
        await gatherResults([self.worker.run(divide, 1, 1) for _ in range(50)])
        self.assertTrue(self.threads())
        self.worker.stopService()
        self.assertEqual(self.threads(), set())

    async def test_never_used(self):
        """A pool that did nothing leaves nothing."""
        self.worker.startService()
        self.worker.stopService()
        self.assertEqual(self.threads(), set())

    async def test_stop_waits_for_work(self):
        """Work that was handed over is done, and its results arrive."""
        self.worker.startService()
        done: list[int] = []
        gate = threading.Event()

        def work(number: int) -> int:
            gate.wait(10)
            done.append(number)
            return number

        results = gatherResults([self.worker.run(work, n) for n in range(10)])
        gate.set()
        self.worker.stopService()
        self.assertEqual(sorted(done), list(range(10)))
        self.assertEqual(await results, list(range(10)))
        self.assertEqual(self.threads(), set())

    async def test_work_before_the_start(self):
        """Work that comes early is done when the pool starts."""
        result = self.worker.run(divide, 6, 3)
        self.worker.startService()
        self.addCleanup(self.worker.stopService)
        self.assertEqual(await result, 2)

    async def test_work_after_the_end(self):
        """Work that comes too late fails: it would never be done."""
        self.worker.startService()
        self.worker.stopService()
        with self.assertRaises(LocalProtocolError):
            await self.worker.run(divide, 6, 3)

    async def test_limit(self):
        """There are never more threads than allowed."""
        self.worker.startService()
        self.addCleanup(self.worker.stopService)
        running: list[Any] = []
        most = 0
        lock = threading.Lock()
        barrier = threading.Barrier(3)

        def work() -> None:
            nonlocal most
            with lock:
                running.append(None)
                most = max(most, len(running))
            barrier.wait(10)
            with lock:
                running.pop()

        await gatherResults([self.worker.run(work) for _ in range(9)])
        self.assertEqual(most, 3)
