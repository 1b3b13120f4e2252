"""Measuring connections."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import tracemalloc

import pytest
from srpc.peers import Link, Recorder, make_server
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver import gob
from imageserver.model import object_messages
from imageserver.rpc.bandwidth import Chunks, measure_bandwidth
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.limit import Limit
from imageserver.srpc.methods import Method

BandwidthRequest = object_messages.TestBandwidthRequest
BandwidthResponse = object_messages.TestBandwidthResponse
SECOND = 1_000_000_000
MIB = 1 << 20
DEADLINES = Deadlines(body_s=700, stall_s=20)


@pytest.mark.parametrize("size", [0, 1, 7, 65535])
def test_chunks(size) -> None:
    """Whole chunks are taken, wherever they are cut, and nothing behind the last."""
    more, last = b"\0" * size + b"\1", b"\1" * size + b"\0"
    stream = more * 5 + last + b"Next.Call\n"
    for step in (len(stream) // 3000 + 1, len(stream) // 7 + 1, len(stream)):
        buffer, seen, ended = bytearray(), 0, False
        for start in range(0, len(stream), step):
            buffer += stream[start : start + step]
            while not ended and (found := Chunks(size).take(buffer)):
                seen += found[0]
                ended = found[1]
        assert (seen, ended) == (6, True)
        assert buffer == b"Next.Call\n"


class Bandwidth(SynchronousTestCase):
    """One call, on a connection in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        methods = [Method("ObjectServer", "TestBandwidth", stream=measure_bandwidth)]
        self.server = make_server(self.clock, methods, deadlines=DEADLINES)
        self.peer = Recorder()
        self.channel = Channel(self.clock, DEADLINES)
        self.link = Link(self.clock, self.channel, self.peer)
        self.server.serve(self.channel, True, "")

    def begin(self, **fields) -> None:
        """Send a request."""
        self.send(b"ObjectServer.TestBandwidth\n")
        self.assertEqual(self.peer.take(), b"\n")
        self.send(gob.Encoder().encode(BandwidthRequest(**fields)))

    def send(self, data: bytes) -> None:
        """The client sends something."""
        self.peer.transport.write(data)
        self.link.pump()

    def assertDuration(self, data: bytes, duration_s: float) -> None:
        """There is a response, and the connection is good for another call."""
        response = gob.decode(data, BandwidthResponse).value
        took_s = response.server_duration_ns / SECOND
        self.assertApproximates(took_s, duration_s, duration_s / 10)
        self.send(b"\n")
        self.assertEqual(self.peer.take(), b"\n")

    def test_to_server(self) -> None:
        """The time from the request to the last chunk is measured."""
        self.begin(duration_ns=10 * SECOND, chunk_size=10, send_to_server=True)
        self.send(b"0123456789\1" * 1000)
        self.clock.advance(2.5)
        self.send(b"0123456789\1" * 1000 + b"01234")
        self.assertEqual(self.peer.take(), b"")
        self.send(b"56789\0")
        self.assertDuration(self.peer.take(), 2.5)

    def test_to_server_in_little_memory(self) -> None:
        """What is received is not kept."""
        self.begin(chunk_size=1000, send_to_server=True)
        block = (b"x" * 1000 + b"\1") * 1000
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(20):
            self.send(block)
        self.assertLess(tracemalloc.get_traced_memory()[1], 6 * MIB)
        self.send(b"x" * 1000 + b"\0")
        self.assertDuration(self.peer.take(), 0)

    def test_to_server_for_ever(self) -> None:
        """A client that never ends is cut off."""
        self.begin(chunk_size=0, send_to_server=True)
        self.send(b"\1")
        self.clock.advance(599)
        self.send(b"\1")
        self.assertFalse(self.channel.closed)
        self.clock.advance(2)
        self.send(b"\1\1")
        self.assertTrue(self.channel.closed)
        self.assertEqual(self.server.accounting.limits[Limit.BODY], 1)

    def check_from_server(self, size: int, asked_s: float, served_s: float) -> None:
        """Chunks come for a time, then one that is the last."""
        self.peer.transport.write(b"ObjectServer.TestBandwidth\n")
        request = BandwidthRequest(round(asked_s * SECOND), size)
        self.peer.transport.write(gob.Encoder().encode(request))
        for turn in range(62):
            self.clock.advance(served_s / 40 if turn >= 20 else 0)
            self.link.right.step()
            self.link.left.step()
        self.link.pump()
        whole = size + 1
        received = self.peer.take()[1:]
        last = received[size::whole].index(0)
        markers = received[size : last * whole + whole : whole]
        self.assertEqual(markers, b"\1" * last + b"\0")
        self.assertGreater(last * whole, MIB)
        rest = received[(last + 1) * whole :]
        self.assertDuration(rest, served_s)

    def test_from_server(self) -> None:
        """Chunks of any size, for as long as was asked for, within bounds."""
        for size in (0, 1, 1000, 65535):
            for asked_s, served_s in ((2, 2), (0, 1), (-5, 1), (3600, 60)):
                self.setUp()
                self.check_from_server(size, asked_s, served_s)

    def test_too_long_chunks(self) -> None:
        """Chunks longer than the limit end the connection."""
        self.begin(chunk_size=65536)
        self.assertTrue(self.channel.closed)
        self.assertEqual(self.peer.take(), b"")

    def test_nobody_reads(self) -> None:
        """A client that does not read is cut off, and costs no memory until then."""
        self.peer.transport.pauseProducing()
        request = gob.Encoder().encode(BandwidthRequest(60 * SECOND, 1000))
        self.peer.transport.write(b"ObjectServer.TestBandwidth\n" + request)
        self.link.pump()
        self.assertLess(len(self.link.left.outgoing), MIB)
        self.clock.advance(DEADLINES.stall_s + 1)
        self.assertEqual(self.server.accounting.limits[Limit.READING], 1)
