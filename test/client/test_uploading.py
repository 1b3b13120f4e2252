"""Sending objects, also when connections break."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.client.adding import add_scanned
from imageserver.client.getting import fetch_wanted
from imageserver.client.uploading import Upload
from imageserver.errors import (
    CallError,
    ConnectionFailed,
    ImageServerError,
    MethodDenied,
    PeerClosed,
)
from imageserver.model.hash import hash_of
from imageserver.testing import InlineWorker
from imageserver.trees.tree import Content, DirectoryNode, build_tree


def content(data: bytes) -> Content:
    """A content in memory."""
    return Content(hash_of(data), len(data), lambda: io.BytesIO(data))


def contents(count: int) -> list[Content]:
    """Different contents of 10 bytes."""
    return [content(b"%010d" % number) for number in range(count)]


class FakeServer:
    """Has objects, and does what a script says in front of each call."""

    def __init__(self, *script: BaseException | Deferred[None] | None) -> None:
        self.objects = self
        self.worker = InlineWorker()
        self.stored: dict[bytes, int] = {}
        self.calls: list[tuple[str, int]] = []
        self.script = list(script)
        self.denies_checks = False

    async def check_objects(self, hashes: Sequence[bytes]) -> list[int]:
        """See ``ObjectServerClient``."""
        self.calls.append(("check", len(hashes)))
        if self.denies_checks:
            raise MethodDenied("access to method denied")
        return [self.stored.get(hash_, 0) for hash_ in hashes]

    async def add_objects(self, objects: Iterable[Content], progress: Any) -> None:
        """See ``ObjectServerClient``; what fails has stored half of it."""
        found = list(objects)
        self.calls.append(("add", len(found)))
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Deferred):
            await step
        failing = isinstance(step, BaseException)
        for item in found[: len(found) // 2] if failing else found:
            self.stored[item.hash_] = item.size
            progress(1, item.size)
        if isinstance(step, BaseException):
            raise step


class Uploading(SynchronousTestCase):
    """Uploads to a fake server."""

    def setUp(self) -> None:
        """Make a clock, and count progress."""
        self.clock = Clock()
        self.objects = self.bytes_ = 0

    def progress(self, objects: int, size: int) -> None:
        """Count."""
        self.objects += objects
        self.bytes_ += size

    def begin(self, server: FakeServer, streams: int = 1) -> Upload:
        """An upload that has begun, and waits for objects."""
        upload = Upload(server, self.clock, self.progress, streams)
        self.running = Deferred.fromCoroutine(upload.run())
        return upload

    def test_only_what_is_missing(self) -> None:
        """What the server has is not sent, nor anything twice, nor what is empty."""
        server, items = FakeServer(), contents(10)
        server.stored[items[0].hash_] = 10
        upload = self.begin(server)
        upload.put([*items, items[3], Content(bytes(64), 0, io.BytesIO)])
        upload.put(items)
        upload.end()
        sent = self.successResultOf(self.running)
        self.assertEqual((sent.known, sent.objects, sent.bytes_), (1, 9, 90))
        self.assertEqual(server.calls, [("check", 10), ("add", 9)])
        self.assertEqual((self.objects, self.bytes_), (10, 100))

    def test_nothing(self) -> None:
        """No objects are no calls."""
        server = FakeServer()
        self.begin(server).end()
        self.assertEqual(self.successResultOf(self.running).objects, 0)
        self.assertEqual(server.calls, [])

    def test_batches(self) -> None:
        """Many objects go in several calls, as they become known."""
        server = FakeServer()
        upload = self.begin(server)
        upload.put(contents(4_500))
        upload.end()
        self.successResultOf(self.running)
        added = [count for what, count in server.calls if what == "add"]
        self.assertEqual(added, [2_000, 2_000, 500])

    def test_break(self) -> None:
        """After a break it goes on, in a while, with what the server has not got."""
        server = FakeServer(PeerClosed("gone"), ConnectionFailed("refused"))
        upload = self.begin(server)
        upload.put(contents(8))
        upload.end()
        self.assertNoResult(self.running)
        self.assertEqual((self.objects, self.bytes_), (0, 0))
        self.clock.advance(1)
        self.assertNoResult(self.running)
        self.clock.advance(1.9)
        self.assertNoResult(self.running)
        self.clock.advance(0.1)
        sent = self.successResultOf(self.running)
        added = [count for what, count in server.calls if what == "add"]
        self.assertEqual(added, [8, 4, 2])
        self.assertEqual(sent.breaks, 2)
        self.assertEqual((self.objects, self.bytes_), (8, 80))

    def test_no_end_of_breaks(self) -> None:
        """After some tries it gives up."""
        server = FakeServer(*[PeerClosed("gone")] * 9)
        server.stored = type("Hole", (dict,), {"__setitem__": lambda *_: None})()
        upload = self.begin(server)
        upload.put(contents(2))
        upload.end()
        for _ in range(5):
            self.assertNoResult(self.running)
            self.clock.advance(100)
        self.failureResultOf(self.running, PeerClosed)

    def test_refusal(self) -> None:
        """A refusal ends all streams at once, also those that wait."""
        held: Deferred[None] = Deferred()
        server = FakeServer(held, CallError("no space"))
        upload = self.begin(server, streams=3)
        upload.put(contents(4_000))
        failure = self.failureResultOf(self.running, CallError)
        self.assertEqual(failure.getErrorMessage(), "no space")
        self.assertTrue(held.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bad_certificate(self) -> None:
        """What will not pass is not tried again."""
        server = FakeServer(ConnectionFailed("missing certificate"))
        upload = self.begin(server)
        upload.put(contents(1))
        self.failureResultOf(self.running, ConnectionFailed)

    def test_checks_are_denied(self) -> None:
        """Who may not ask sends everything."""
        server = FakeServer()
        server.denies_checks = True
        upload = self.begin(server)
        upload.put(contents(3_000))
        upload.end()
        self.assertEqual(self.successResultOf(self.running).objects, 3_000)
        self.assertEqual(
            [c for c in server.calls if c[0] == "check"], [("check", 2_000)]
        )

    def test_while_scanning(self) -> None:
        """What is found is sent before the scan has ended; the rest at its end."""
        server, items = FakeServer(), contents(1_100)

        def scan(found: Any) -> Any:
            for item in items:
                found(item)
            self.assertEqual(len(server.stored), 1_000)
            return build_tree(DirectoryNode(0o40755, 0, 0))

        self.clock.callFromThread = lambda f, *args: f(*args)
        adding = Deferred.fromCoroutine(add_scanned(server, self.clock, scan))
        self.successResultOf(adding)
        self.assertEqual(len(server.stored), 1_000)  # the tree has none of the others

    def test_scan_fails(self) -> None:
        """An error of the scan ends the upload, and is told."""
        server = FakeServer()

        def scan(found: Any) -> Any:
            raise ImageServerError("cannot read: /x")

        self.clock.callFromThread = lambda f, *args: f(*args)
        adding = Deferred.fromCoroutine(add_scanned(server, self.clock, scan))
        failure = self.failureResultOf(adding, ImageServerError)
        self.assertEqual(
            failure.getErrorMessage(), "error building image: cannot read: /x"
        )

    def test_upload_fails_while_scanning(self) -> None:
        """A refusal ends the scan, and is what is told."""
        server = FakeServer(CallError("no space"))
        reached = []

        def scan(found: Any) -> Any:
            for item in contents(3_000):
                found(item)
                reached.append(item)
            raise AssertionError("scanned on")

        self.clock.callFromThread = lambda f, *args: f(*args)
        adding = Deferred.fromCoroutine(add_scanned(server, self.clock, scan))
        failure = self.failureResultOf(adding, CallError)
        self.assertEqual(failure.getErrorMessage(), "no space")
        self.assertLess(len(reached), 1_100)


class Fetching(SynchronousTestCase):
    """Fetching what is wanted."""

    def fetch(self, *script: Any) -> tuple[Deferred[None], Clock, list[list[bytes]]]:
        """Fetch three objects; each call gets as many as the script says."""
        clock, asked = Clock(), list[list[bytes]]()
        wanted = [b"1", b"2", b"3"]
        steps = list(script)

        async def get(hashes: Sequence[bytes], receive: Any, progress: Any) -> None:
            asked.append(list(hashes))
            count, error = steps.pop(0)
            del wanted[:count]
            if error is not None:
                raise error

        fetching = fetch_wanted(
            clock, get, lambda: list(wanted), lambda _: None, lambda *_: None
        )
        return Deferred.fromCoroutine(fetching), clock, asked

    def test_at_once(self) -> None:
        """One call is enough if all goes well."""
        fetching, _, asked = self.fetch((3, None))
        self.successResultOf(fetching)
        self.assertEqual(asked, [[b"1", b"2", b"3"]])

    def test_breaks(self) -> None:
        """It goes on where it was, and is patient as long as it gets somewhere."""
        gone = PeerClosed("gone")
        fetching, clock, asked = self.fetch((1, gone), (1, gone), (1, None))
        clock.advance(1)
        clock.advance(1)
        self.successResultOf(fetching)
        self.assertEqual(asked, [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"]])

    def test_gives_up(self) -> None:
        """If it gets nowhere it gives up."""
        fetching, clock, _ = self.fetch(*[(0, PeerClosed("gone"))] * 6)
        for _ in range(5):
            self.assertNoResult(fetching)
            clock.advance(100)
        self.failureResultOf(fetching, PeerClosed)

    def test_refusal(self) -> None:
        """A refusal is told at once."""
        fetching, _, _ = self.fetch((1, CallError("unknown object")))
        self.failureResultOf(fetching, CallError)
