"""Live numbers, and answers in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from imageserver.testing import InlineWorker
from imageserver.web.live import INTERVAL_S, LiveFeed
from imageserver.web.streaming import PieceProducer


class Request:
    """What a request looks like to those who answer it.

    Attributes:
        written: what was sent.
        producer: who sends it.
    """

    method = b"GET"

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.producer: Any = None
        self.code = 0
        self.responseHeaders = Headers()

    def setResponseCode(self, code: int) -> None:
        """See ``IRequest``."""
        self.code = code

    def setHeader(self, name: str, value: str) -> None:
        """See ``IRequest``."""
        self.responseHeaders.setRawHeaders(name, [value])

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See ``IRequest``."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """See ``IRequest``."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """See ``IRequest``."""
        self.written.append(data)


class LiveTest(SynchronousTestCase):
    """All who look get the same."""

    def setUp(self) -> None:
        """A feed that counts how often it was asked."""
        self.clock = Clock()
        self.asked = 0
        self.feed = LiveFeed(self.clock, InlineWorker(), self.values)
        self.feed.startService()

    def values(self) -> dict[str, str]:
        """What is shown."""
        self.asked += 1
        return {"images": str(self.asked)}

    def look(self) -> tuple[Request, Deferred[bytes]]:
        """Somebody begins to look."""
        request = Request()
        return request, Deferred.fromCoroutine(self.feed.serve(request))

    def leave(self, request: Request, looking: Deferred[bytes]) -> None:
        """Somebody goes away."""
        request.producer.stopProducing()
        self.assertNoResult(looking)  # or the request would be finished twice
        looking.cancel()
        self.failureResultOf(looking, CancelledError)

    def test_beats(self) -> None:
        """Numbers come at once, then every few seconds, made once for everybody."""
        lookers = [self.look() for _ in range(5)]
        self.clock.advance(0)
        for _ in range(3):
            self.clock.advance(INTERVAL_S)
        self.assertEqual(self.asked, 4)
        for request, _ in lookers:
            kind = request.responseHeaders.getRawHeaders("Content-Type")
            self.assertEqual(kind, ["text/event-stream"])
            events = b"".join(request.written).decode().split("\n\n")[1:-1]
            numbers = [json.loads(it.removeprefix("data: "))["images"] for it in events]
            self.assertEqual(numbers, ["1", "2", "3", "4"])
        self.feed.stopService()
        for _, looking in lookers:
            self.assertEqual(self.successResultOf(looking), b"")
        self.assertFalse(self.clock.calls)

    def test_nobody_looks(self) -> None:
        """While nobody looks nothing is done."""
        request, looking = self.look()
        self.clock.advance(0)
        self.leave(request, looking)
        self.clock.advance(INTERVAL_S)
        self.assertFalse(self.clock.calls)
        self.assertEqual(self.asked, 1)

    def test_who_does_not_read(self) -> None:
        """Who does not read misses numbers, then is let go."""
        request, looking = self.look()
        self.clock.advance(0)
        request.producer.pauseProducing()
        sent = len(request.written)
        for _ in range(6):
            self.clock.advance(INTERVAL_S)
        self.assertEqual(len(request.written), sent)
        self.assertNoResult(looking)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(self.successResultOf(looking), b"")

    def test_who_reads_again(self) -> None:
        """Who reads again in time goes on."""
        request, looking = self.look()
        self.clock.advance(0)
        request.producer.pauseProducing()
        self.clock.advance(INTERVAL_S)
        request.producer.resumeProducing()
        self.clock.advance(INTERVAL_S)
        self.assertIn(b'"images": "3"', request.written[-1])
        self.leave(request, looking)

    def test_too_many(self) -> None:
        """Only so many may look at a time."""
        lookers = [self.look() for _ in range(500)]
        request, looking = self.look()
        self.assertIn(b"too many", self.successResultOf(looking))
        self.assertEqual(request.code, 503)
        self.leave(*lookers[0])
        self.assertNoResult(self.look()[1])

    def test_failing(self) -> None:
        """If the numbers cannot be had that is logged, and tried again."""
        self.feed._values = lambda: {}["x"]
        request, _ = self.look()
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.feed._values = self.values
        self.clock.advance(INTERVAL_S)
        self.assertIn(b"data: ", request.written[-1])


class Pieces:
    """Pieces that are counted.

    Attributes:
        taken: how many were taken.
        is_closed: whether nobody wants more.
    """

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.is_closed = False
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.taken == self._count:
            raise StopIteration
        self.taken += 1
        return b"%d," % self.taken

    def close(self) -> None:
        """It is over."""
        self.is_closed = True


class StreamingTest(SynchronousTestCase):
    """Pieces are made as they are read."""

    def test_all(self) -> None:
        """Everything is sent in order, and the source closed."""
        request, pieces = Request(), Pieces(5)
        producer = PieceProducer(request, pieces, InlineWorker())
        self.successResultOf(Deferred.fromCoroutine(producer.run()))
        self.assertEqual(b"".join(request.written), b"1,2,3,4,5,")
        self.assertTrue(pieces.is_closed)
        self.assertIsNone(request.producer)

    def test_slow_reader(self) -> None:
        """Who does not read gets nothing made in advance."""
        request, pieces = Request(), Pieces(5)
        write = request.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            request.producer.pauseProducing()

        request.write = write_and_pause
        producer = PieceProducer(request, pieces, InlineWorker())
        sending = Deferred.fromCoroutine(producer.run())
        for number in range(1, 6):
            self.assertEqual(pieces.taken, number)
            self.assertNoResult(sending)
            producer.resumeProducing()
        self.successResultOf(sending)

    def test_reader_leaves(self) -> None:
        """When the reader leaves, nothing more is made, and the source closed."""
        request, pieces = Request(), Pieces(5)
        request.write = lambda _: request.producer.pauseProducing()
        producer = PieceProducer(request, pieces, InlineWorker())
        sending = Deferred.fromCoroutine(producer.run())
        producer.stopProducing()
        self.assertNoResult(sending)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.assertEqual((pieces.taken, pieces.is_closed), (1, True))
