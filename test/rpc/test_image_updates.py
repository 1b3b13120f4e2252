"""GetImageUpdates, and what becomes of those who follow."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import recorded
from srpc.peers import Link, Recorder, make_server
from stores import Stores
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.gob import Encoder, Time
from imageserver.images.changes import Change, Operation
from imageserver.model.image_messages import (
    GetFilteredImageUpdatesRequest,
    ImageUpdate,
)
from imageserver.rpc import image_updates
from imageserver.rpc.image_server import ImageService
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.testing import POWERFUL, InlineWorker, make_image, scanned

NOW_S = 1_700_000_000


class Updates(SynchronousTestCase):
    """Clients follow a database in memory connections."""

    def setUp(self) -> None:
        self.database = Stores(self, self.now_ns).database
        self.clock = Clock()
        service = ImageService(self.database, InlineWorker(), self.clock)
        methods = service.methods(open_reads=False)
        deadlines = Deadlines(body_s=5, stall_s=50)
        self.server = make_server(self.clock, methods, deadlines=deadlines)
        self.listening = len(self.database.changes._listeners)
        self.links: list[Link] = []

    def tearDown(self) -> None:
        for link in self.links:
            link.right.abortConnection()
            link.pump()
        self.assert_nobody_follows()

    def now_ns(self) -> int:
        return NOW_S * 10**9

    def follow(self, ignore_expiring: bool | None = None) -> Recorder:
        """A client that follows."""
        channel, client = Channel(self.clock, self.server.deadlines), Recorder()
        self.link = Link(self.clock, channel, client)
        self.links.append(self.link)
        self.server.serve(channel, True, "there")
        if ignore_expiring is None:
            self.link.right.write(b"ImageServer.GetImageUpdates\n")
        else:
            request = GetFilteredImageUpdatesRequest(ignore_expiring)
            line = b"ImageServer.GetFilteredImageUpdates\n"
            self.link.right.write(line + Encoder().encode(request))
        self.link.pump()
        return client

    def heard(self, client: Recorder) -> list[Any]:
        """What a client was told: names, with the number of what was done to it."""
        self.link.pump()
        assert client.data[:1] == b"\n"
        updates = recorded.decode_all(client.data[1:], ImageUpdate)
        return [
            (u.operation, u.directory.name if u.directory else u.name) for u in updates
        ]

    def add(self, name: str, expires_at: Time = Time.ZERO) -> None:
        image = scanned(make_image({}, expires_at=expires_at))
        self.database.add(name, image, POWERFUL)

    def announce(self, number: int) -> None:
        """Tell of a change that takes 200 bytes to tell."""
        change = Change(Operation.MAKE_DIRECTORY, f"{number:0200}")
        with self.database.changes.announced(change):
            pass

    def assert_nobody_follows(self) -> None:
        self.assertEqual(len(self.database.changes._listeners), self.listening)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_order(self) -> None:
        """Directories come first, parents before children, numbers as numbers."""
        for name in ("a10", "a9/b", "a9"):
            self.database.make_directory(name, True, POWERFUL)
        self.add("a9/x")
        client = self.follow()
        expected = [(2, "."), (2, "a9"), (2, "a9/b"), (2, "a10"), (0, "a9/x"), (0, "")]
        self.assertEqual(self.heard(client), expected)
        self.add("a10/y")
        self.database.delete("a9/x", POWERFUL)
        self.database.remove_directory("a9/b")
        news = [(0, "a10/y"), (1, "a9/x"), (3, "a9/b")]
        self.assertEqual(self.heard(client), expected + news)

    def test_expiring(self) -> None:
        """Who does not want images that expire hears of none until they do not."""
        soon = Time(NOW_S + 60)
        self.add("old", soon)
        every, some = self.follow(False), self.follow(True)
        self.add("new", soon)
        self.add("kept")
        self.database.change_expiration("new", Time.ZERO, POWERFUL)
        self.database.delete("old", POWERFUL)
        start = [(2, "."), (0, "")]
        news = [(0, "kept"), (0, "new"), (1, "old")]
        self.assertEqual(self.heard(some), start + news)
        self.assertIn((0, "old"), self.heard(every)[:2] + self.heard(every))

    def test_images_that_cannot_be_read(self) -> None:
        """They are named all the same: replicas that have them keep them."""
        self.database.make_directory("dir", False, POWERFUL)
        self.add("dir/x")
        # Nor could the directory "gone".
        self.database.left_out = {"dir/y", "gone/z"}
        expected = [(2, "."), (2, "dir"), (0, "dir/x"), (0, "dir/y"), (0, "")]
        self.assertEqual(self.heard(self.follow()), expected)

    def test_client_leaves(self) -> None:
        """Who closes the connection is forgotten, whatever it has said before."""
        client = self.follow()
        self.link.right.write(b"anything\n" * 100_000)
        self.link.pump()
        self.clock.advance(1_000)
        self.assertIsNone(client.ended)
        self.link.right.loseConnection()
        self.link.pump()
        self.assert_nobody_follows()
        self.add("x")

    def test_client_that_does_not_read(self) -> None:
        """Who takes nothing is left alone after a while; others hear everything."""
        self.follow()
        slow_link = self.link
        slow_link.right.paused = True
        quick = self.follow()
        for number in range(4_000):
            self.announce(number)
        self.assertEqual(len(self.heard(quick)), 4_002)
        self.clock.advance(51)
        slow_link.pump()
        self.assertTrue(slow_link.left.lost)
        self.assertEqual(len(self.database.changes._listeners), self.listening + 1)

    def test_too_far_behind(self) -> None:
        """Changes are kept for nobody without end."""
        with patch.object(image_updates, "BACKLOG", 100):
            self.follow()
        self.link.right.paused = True
        for number in range(1_000):
            self.announce(number)
            self.clock.advance(0)
        self.link.pump()
        self.assertTrue(self.link.left.lost)
        self.assertEqual(self.server.accounting.limits["reading-time"], 1)
