"""TLS that hands on several records together."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import os
from typing import Any

from srpc.peers import Link, Outer, Recorder, server_tls, user_pair
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.srpc.tls import ClientTLS

RECORD = 16 << 10


class Counting(Recorder):
    """Remembers the lengths of what it gets, and may do something with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []
        self.react: Any = lambda: None

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.lengths.append(len(data))
        self.react()


class Gathering(SynchronousTestCase):
    """Two ends of a session in memory."""

    def setUp(self) -> None:
        self.inner, self.client = Counting(), Recorder()
        server = Outer(self.inner, server_tls())
        self.peer = Outer(self.client, ClientTLS(user_pair()))
        self.link = Link(Clock(), server, self.peer)
        self.link.pump()

    def send_at_once(self, *pieces: bytes, end: bool = False) -> None:
        """Let records arrive in one piece."""
        sent: list[bytes] = []
        self.patch(self.link.right, "write", sent.append)
        for piece in pieces:
            self.client.transport.write(piece)
        if end:
            self.client.transport.loseConnection()
        self.link.left.protocol.dataReceived(b"".join(sent))

    def test_together(self) -> None:
        """All records that came together are handed on together."""
        content = os.urandom(3 * RECORD + 5)
        self.send_at_once(content, b"more")
        self.assertEqual(self.inner.data, content + b"more")
        self.assertEqual(self.inner.lengths, [len(content) + 4])

    def test_end(self) -> None:
        """What came in front of the end of the session is handed on."""
        content = os.urandom(2 * RECORD)
        self.send_at_once(content, end=True)
        self.assertEqual(self.inner.lengths, [2 * RECORD])
        self.link.pump()
        assert self.inner.ended is not None
        self.assertTrue(self.inner.ended.check(ConnectionDone))

    def test_garbage(self) -> None:
        """So is what came in front of something that is no record."""
        sent: list[bytes] = []
        self.patch(self.link.right, "write", sent.append)
        content = os.urandom(2 * RECORD)
        self.client.transport.write(content)
        self.link.left.protocol.dataReceived(
            b"".join(sent) + b"\x17\x03\x03\x00\x20" * 9
        )
        self.assertEqual(self.inner.data, content)
        self.link.pump()
        self.assertIsNotNone(self.inner.ended)

    def test_aborted(self) -> None:
        """Whoever aborts gets nothing more."""
        self.inner.react = self.inner.transport.abortConnection
        self.send_at_once(b"first")
        self.inner.react = lambda: self.fail("more came")
        self.link.pump()
        self.assertIsNotNone(self.inner.ended)
        self.assertEqual(self.inner.data, b"first")
