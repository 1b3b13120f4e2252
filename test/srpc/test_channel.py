"""One connection, read and written by coroutines."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from srpc.peers import BUFFER_BYTES, Link, Recorder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import (
    LocalProtocolError,
    PeerClosed,
    PeerTooSlow,
    RemoteProtocolError,
)
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.outgoing import PIECE_BYTES
from imageserver.srpc.protocol import Data, Line

DEADLINES = Deadlines(head_s=1, handshake_s=2, body_s=3, stall_s=4)


class ChannelCase(SynchronousTestCase):
    """A channel, and a peer that the test plays."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channel = Channel(self.clock, DEADLINES)
        self.peer = Recorder()
        self.link = Link(self.clock, self.channel, self.peer)
        self.transport = self.link.left

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine for as long as it does not wait."""
        return Deferred.fromCoroutine(coroutine)

    def arrive(self, data: bytes) -> None:
        """The peer sends something."""
        self.link.right.write(data)
        self.link.pump()

    def assertNothingScheduled(self) -> None:
        """No timer is left behind."""
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Taking(ChannelCase):
    """Reading."""

    def test_what_is_there(self):
        """What has arrived before is given at once."""
        self.arrive(b"a line\nrest")
        self.assertEqual(
            self.successResultOf(self.begin(self.channel.take(Line(10)))), b"a line"
        )
        self.assertNothingScheduled()

    def test_much(self):
        """Where much is expected, the transport reads more at a time."""
        self.channel.expect_much()
        self.assertEqual(self.channel.transport.bufferSize, 256 << 10)

    def test_waiting(self):
        """What is not complete is waited for, piece by piece."""
        taking = self.begin(self.channel.take(Line(10), 5))
        self.arrive(b"a li")
        self.assertNoResult(taking)
        self.arrive(b"ne\n")
        self.assertEqual(self.successResultOf(taking), b"a line")
        self.assertNothingScheduled()

    def test_limit_while_waiting(self):
        """A broken limit ends the wait with an error."""
        taking = self.begin(self.channel.take(Line(10)))
        self.arrive(b"x" * 11)
        self.failureResultOf(taking, RemoteProtocolError)

    def test_too_slow(self):
        """A peer that lets the time pass is cut off; the error says how long."""
        taking = self.begin(self.channel.take(Line(10), 5))
        self.clock.advance(4.9)
        self.arrive(b"a")
        self.assertNoResult(taking)
        self.clock.advance(0.2)
        failure = self.failureResultOf(taking, PeerTooSlow)
        self.assertEqual(failure.getErrorMessage(), "nothing for 5 s")
        self.assertTrue(self.channel.closed)
        self.link.pump()
        self.assertTrue(self.channel.lost)
        self.assertIsInstance(self.peer.ended.value, ConnectionLost)
        self.assertNothingScheduled()

    def test_for_ever(self):
        """Without a timeout, a wait has no end."""
        taking = self.begin(self.channel.take(Line(10)))
        self.clock.advance(1e9)
        self.assertNoResult(taking)
        self.arrive(b"\n")
        self.assertEqual(self.successResultOf(taking), b"")

    def test_loss_while_waiting(self):
        """Whoever waits is told when the connection is lost."""
        taking = self.begin(self.channel.take(Line(10), 5))
        self.arrive(b"half")
        self.transport.lose(ConnectionLost())
        self.failureResultOf(taking, PeerClosed)
        self.assertNothingScheduled()

    def test_after_loss(self):
        """What was complete is still given after a loss, then the error."""
        self.arrive(b"one\ntw")
        self.transport.lose(ConnectionLost())
        self.assertEqual(
            self.successResultOf(self.begin(self.channel.take(Line(10)))), b"one"
        )
        self.failureResultOf(self.begin(self.channel.take(Line(10))), PeerClosed)

    def test_two_readers(self):
        """Two readers would get each other's bytes: the second one is refused."""
        first = self.begin(self.channel.take(Line(10)))
        second = self.begin(self.channel.take(Line(10)))
        self.failureResultOf(second, LocalProtocolError)
        self.arrive(b"for the first\n"[-6:])
        self.assertEqual(self.successResultOf(first), b"first")

    def test_cancelled_wait(self):
        """A wait that is given up loses no bytes and leaves no timer."""
        taking = self.begin(self.channel.take(Line(10), 5))
        self.arrive(b"hal")
        taking.cancel()
        self.failureResultOf(taking, CancelledError)
        self.assertNothingScheduled()
        self.arrive(b"f\n")
        self.assertEqual(
            self.successResultOf(self.begin(self.channel.take(Line(10)))), b"half"
        )

    def test_next_wait_begins_inside_the_first(self):
        """Bytes for several things at once satisfy waits that follow each other."""

        async def take_three() -> list[bytes]:
            return [await self.channel.take(Line(10), 5) for _ in range(3)]

        taking = self.begin(take_three())
        self.arrive(b"a\nb\nc")
        self.assertNoResult(taking)
        self.arrive(b"\n")
        self.assertEqual(self.successResultOf(taking), [b"a", b"b", b"c"])

    def test_other_connections_get_their_turn(self):
        """Thousands of small things that arrive at once do not hold the reactor."""
        taken = []

        async def take_all() -> None:
            while True:
                taken.append(await self.channel.take(Line(10)))

        taking = self.begin(take_all())
        self.channel.dataReceived(b"\n" * 5000)
        self.assertLess(len(taken), 50)  # there may be many such connections
        for _ in range(160):
            self.clock.advance(0)
        self.assertEqual(len(taken), 5000)
        self.transport.lose(ConnectionLost())
        self.failureResultOf(taking, PeerClosed)

    def test_loss_between_turns(self):
        """A loss while others have their turn is noticed after it."""

        async def take_all() -> None:
            while True:
                await self.channel.take(Line(10))

        taking = self.begin(take_all())
        self.channel.dataReceived(b"\n" * 300)
        self.assertNoResult(taking)
        self.transport.lose(ConnectionLost())
        self.assertNoResult(taking)
        self.clock.advance(0)
        self.failureResultOf(taking, PeerClosed)


class Pausing(ChannelCase):
    """Reading stops while nobody asks."""

    def test_pause_and_resume(self):
        """Little is kept while nobody asks; asking for more than that resumes."""
        sent = bytes(range(256)) * 8192
        self.arrive(sent)
        self.assertTrue(self.transport.paused)
        self.assertLess(len(self.channel.receiver), 400 << 10)
        taking = self.begin(self.channel.take(Data(1 << 30)))
        received = self.successResultOf(taking)
        while len(received) < len(sent):
            taking = self.begin(self.channel.take(Data(1 << 30)))
            self.link.pump()
            received += self.successResultOf(taking)
        self.assertEqual(received, sent)

    def test_more_than_is_kept(self):
        """A thing longer than what is kept while nobody asks arrives whole."""
        taking = self.begin(self.channel.take(Line(2 << 20)))
        self.arrive(b"x" * (1 << 20) + b"\n")
        self.assertEqual(len(self.successResultOf(taking)), 1 << 20)
        self.assertFalse(self.transport.paused)

    def test_what_is_left_is_dropped(self):
        """What nobody will ask for takes no memory behind the end."""
        self.arrive(b"x" * (100 << 10))
        self.channel.close()
        self.assertEqual(len(self.channel.receiver), 0)
        self.channel.receiver.receive_data(b"x")
        self.transport.lose(ConnectionLost())
        self.channel.close()
        self.assertEqual(len(self.channel.receiver), 0)

    def test_end_is_seen_later(self):
        """The end of the connection is seen after reading was resumed."""
        self.arrive(b"x" * (1 << 20))
        self.link.right.loseConnection()
        self.link.pump()
        self.assertFalse(self.channel.lost)
        total = 0
        taking = self.begin(self.channel.take(Data(9999)))
        self.link.pump()
        while isinstance(taking.result, bytes):
            total += len(taking.result)
            taking = self.begin(self.channel.take(Data(9999)))
            self.link.pump()
        self.failureResultOf(taking, PeerClosed)
        self.assertEqual(total, 1 << 20)


class Writing(ChannelCase):
    """Writing waits for the peer."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.transport.pauseProducing()

    def test_small_writes_are_gathered(self):
        """Small things leave together, with the flush."""
        self.channel.write(b"a")
        self.channel.write(b"b")
        self.assertEqual(self.transport.writes, [])
        self.channel.flush()
        self.assertEqual(self.transport.writes, [b"ab"])
        self.channel.flush()
        self.assertEqual(self.transport.writes, [b"ab"])

    def test_drain_at_once(self):
        """While the peer keeps up, nothing is waited for."""
        self.channel.write(b"small")
        self.successResultOf(self.begin(self.channel.drain()))
        self.assertEqual(self.transport.writes, [b"small"])
        self.assertNothingScheduled()

    def test_drain_waits(self):
        """Drain waits until the peer has taken what was written."""
        self.channel.write(b"x" * 200_000)
        draining = self.begin(self.channel.drain())
        self.assertNoResult(draining)
        self.assertFalse(self.channel.writable)
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.successResultOf(draining)
        self.assertTrue(self.channel.writable)
        self.assertEqual(len(self.peer.data), 200_000)
        self.assertNothingScheduled()

    def test_pieces(self):
        """However much is written, the transport gets a mebibyte at a time."""
        self.channel.write(b"y" * (5 << 20))
        draining = self.begin(self.channel.drain())
        self.assertEqual(len(self.transport.outgoing), PIECE_BYTES)
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.successResultOf(draining)
        self.assertEqual(len(self.peer.data), 5 << 20)
        self.assertLessEqual(max(map(len, self.transport.writes)), PIECE_BYTES)

    def test_deadline(self):
        """A peer that reads nothing for too long is cut off."""
        self.channel.write(b"x" * (2 * BUFFER_BYTES))
        draining = self.begin(self.channel.drain())
        self.clock.advance(DEADLINES.stall_s - 0.1)
        self.assertNoResult(draining)
        self.clock.advance(0.2)
        self.failureResultOf(draining, PeerTooSlow)
        self.link.pump()
        self.assertTrue(self.channel.lost)
        self.assertNothingScheduled()

    def test_deadline_is_for_each_piece(self):
        """A slow peer that does read is not cut off, however long it takes."""
        self.channel.write(b"x" * (4 << 20))
        draining = self.begin(self.channel.drain())
        for _ in range(5):
            self.clock.advance(DEADLINES.stall_s - 0.5)
            for _ in range(PIECE_BYTES // BUFFER_BYTES):
                self.peer.transport.resumeProducing()
                self.transport.step()
                self.peer.transport.pauseProducing()
        self.successResultOf(draining)
        self.assertEqual(len(self.peer.data), 4 << 20)

    def test_loss_while_draining(self):
        """A writer is told when the connection is lost."""
        self.channel.write(b"x" * (2 * BUFFER_BYTES))
        draining = self.begin(self.channel.drain())
        self.transport.lose(ConnectionLost())
        self.failureResultOf(draining, PeerClosed)
        self.assertNothingScheduled()

    def test_drain_after_loss(self):
        """Writing to a lost connection is silent; draining says so."""
        self.transport.lose(ConnectionLost())
        self.channel.write(b"x" * (1 << 20))
        self.channel.flush()
        self.failureResultOf(self.begin(self.channel.drain()), PeerClosed)

    def test_two_writers(self):
        """Two who wait for the same drain would be a mistake of ours."""
        self.channel.write(b"x" * (2 * BUFFER_BYTES))
        first = self.begin(self.channel.drain())
        self.failureResultOf(self.begin(self.channel.drain()), LocalProtocolError)
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.successResultOf(first)

    def test_cancelled_drain(self):
        """A drain that is given up leaves no timer, and the next one works."""
        self.channel.write(b"x" * (2 * BUFFER_BYTES))
        draining = self.begin(self.channel.drain())
        draining.cancel()
        self.failureResultOf(draining, CancelledError)
        self.assertNothingScheduled()
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.successResultOf(self.begin(self.channel.drain()))

    def test_reading_and_writing_at_once(self):
        """One may read while another one drains."""
        self.channel.write(b"x" * (2 * BUFFER_BYTES))
        draining = self.begin(self.channel.drain())
        taking = self.begin(self.channel.take(Line(10)))
        self.arrive(b"go on\n")
        self.assertEqual(self.successResultOf(taking), b"go on")
        self.assertNoResult(draining)
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.successResultOf(draining)

    def test_one_producer_at_a_time(self):
        """Others can produce between release and claim."""
        self.channel.release_writing()
        other = Channel(self.clock, DEADLINES)
        self.transport.registerProducer(other, True)
        self.transport.unregisterProducer()
        self.channel.claim_writing()
        self.assertIs(self.transport.producer, self.channel)

    def test_claim_after_loss(self):
        """Claiming a lost connection does nothing."""
        self.channel.release_writing()
        self.transport.lose(ConnectionLost())
        self.channel.claim_writing()
        self.channel.release_writing()
        self.assertIsNone(self.transport.producer)


class Closing(ChannelCase):
    """The end of a connection."""

    def test_close_sends_the_rest(self):
        """What was written is sent before the end."""
        self.channel.write(b"x" * 300_000)
        self.channel.close()
        self.link.pump()
        self.assertEqual(len(self.peer.data), 300_000)
        self.assertIsNotNone(self.peer.ended)
        self.assertTrue(self.channel.lost)
        self.assertNothingScheduled()

    def test_close_aborts_if_nobody_reads(self):
        """A peer that does not read cannot keep the connection open."""
        self.peer.transport.pauseProducing()
        self.channel.write(b"x" * 300_000)
        self.channel.close()
        self.link.pump()
        self.assertFalse(self.channel.lost)
        self.assertTrue(self.channel.closed)
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.link.pump()
        self.assertTrue(self.channel.lost)
        self.assertNothingScheduled()

    def test_lingering(self):
        """Lingering ends our half, drops what still comes, and waits for the end."""
        self.peer.transport.pauseProducing()
        self.channel.write(b"sorry\n")
        self.channel.close(linger=True)
        self.arrive(b"z" * (3 << 20))
        self.assertEqual(len(self.link.right.outgoing), 0)
        self.assertEqual(len(self.channel.receiver), 0)
        self.assertFalse(self.channel.lost)
        self.peer.transport.resumeProducing()
        self.link.pump()
        self.assertEqual(self.peer.data, b"sorry\n")
        self.assertTrue(self.channel.lost)
        self.assertNothingScheduled()

    def test_lingering_has_an_end(self):
        """A peer that never ends its half is cut off."""
        self.peer.transport.pauseProducing()
        self.channel.close(linger=True)
        self.link.pump()
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.link.pump()
        self.assertTrue(self.channel.lost)

    def test_ended(self):
        """One can wait for the end, before and after it."""
        waiting = self.channel.departure()
        self.channel.close()
        self.assertNoResult(waiting)
        self.link.pump()
        self.successResultOf(waiting)
        self.successResultOf(self.channel.departure())

    def test_close_twice(self):
        """Closing again, or after a loss, does nothing."""
        self.channel.close()
        self.channel.close()
        self.link.pump()
        self.channel.close()
        self.channel.abort()
        self.assertNothingScheduled()

    def test_close_resumes_reading(self):
        """A connection that was paused can see the peer's end."""
        self.arrive(b"x" * (1 << 20))
        self.assertTrue(self.transport.paused)
        self.channel.close(linger=True)
        self.assertFalse(self.transport.paused)

    def test_abort(self):
        """Abort drops what was written; it is enough to do so once."""
        self.peer.transport.pauseProducing()
        self.channel.write(b"x" * 300_000)
        self.channel.abort()
        self.channel.abort()
        self.assertTrue(self.channel.closed)
        self.channel.close()
        self.link.pump()
        self.assertTrue(self.channel.lost)
        self.assertNothingScheduled()

    def test_loss_tells_reader_and_writer(self):
        """Both who wait are told."""
        self.peer.transport.pauseProducing()
        self.channel.write(b"x" * 300_000)
        draining = self.begin(self.channel.drain())
        taking = self.begin(self.channel.take(Line(10), 9))
        self.channel.abort()
        self.link.pump()
        self.failureResultOf(draining, PeerClosed)
        self.failureResultOf(taking, PeerClosed)
        self.assertNothingScheduled()


class Handshake(ChannelCase):
    """Waiting for TLS."""

    def test_completed(self):
        """The wait ends with the handshake."""
        waiting = self.begin(self.channel.handshake())
        self.assertNoResult(waiting)
        self.channel.handshakeCompleted()
        self.successResultOf(waiting)
        self.assertNothingScheduled()

    def test_too_slow(self):
        """A handshake has a deadline; completing later does no harm."""
        waiting = self.begin(self.channel.handshake())
        self.clock.advance(DEADLINES.handshake_s + 0.1)
        self.failureResultOf(waiting, PeerTooSlow)
        self.channel.handshakeCompleted()
        self.link.pump()
        self.assertTrue(self.channel.lost)

    def test_lost(self):
        """A failed handshake is an error for who waits, and who asks later."""
        waiting = self.begin(self.channel.handshake())
        self.transport.lose(ConnectionLost())
        self.failureResultOf(waiting, PeerClosed)
        self.failureResultOf(self.begin(self.channel.handshake()), PeerClosed)
        self.assertNothingScheduled()

    def test_lost_before_anybody_asked(self):
        """A handshake that failed unseen is never taken for a success (trap 11)."""
        self.transport.lose(ConnectionLost())
        self.failureResultOf(self.begin(self.channel.handshake()), PeerClosed)
