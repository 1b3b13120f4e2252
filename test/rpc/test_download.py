"""Downloads of one object, which go on where they were cut off."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

from rpc.web import (
    UNKNOWN_LENGTH,
    Response,
    Web,
    partial_response,
    range_start,
    refused,
    serve,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import RequestError
from imageserver.rpc.download import Download, Stopped

URL = b"http://example.com/x/name"
CONTENT = bytes(range(256)) * 40


class Downloads(SynchronousTestCase):
    """One download."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.received = b""
        self.checked: list[int] = []
        self.sinking: Deferred[None] | None = None

    def check(self, size: int) -> None:
        self.checked.append(size)
        if size > 100_000:
            raise RequestError("too long")

    async def sink(self, data: bytes) -> None:
        self.received += data
        if self.sinking is not None:
            await self.sinking

    def begin(self, answer: Any, size: int | None = len(CONTENT)) -> Deferred[None]:
        """Begin to fetch."""
        self.web = Web(answer)
        self.download = Download(self.web, self.clock, URL, size)
        return Deferred.fromCoroutine(self.download.run(self.check, self.sink))

    def assertFetched(self, fetching: Deferred[None]) -> None:
        """The whole content has come, once."""
        self.successResultOf(fetching)
        self.assertEqual(self.received, CONTENT)
        self.assertEqual(self.download.size, len(CONTENT))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertRefused(self, fetching: Deferred[None], text: str) -> None:
        """It failed for this reason, and nothing goes on."""
        failure = self.failureResultOf(fetching, RequestError)
        self.assertEqual(str(failure.value), text)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whole(self) -> None:
        """What the server has arrives, of known size or not."""
        for size in (len(CONTENT), None):
            self.setUp()
            self.assertFetched(self.begin(serve({b"name": CONTENT}), size))
            self.assertEqual(self.web.asked, [(URL, None)])
            self.assertEqual(self.checked, [len(CONTENT)])

    def test_no_length(self) -> None:
        """A server may leave the length out if it is known."""
        answer = serve({b"name": CONTENT}, length=UNKNOWN_LENGTH)
        self.assertFetched(self.begin(answer))
        self.setUp()
        self.assertRefused(self.begin(answer, None), "unknown content length")

    def test_wrong_length(self) -> None:
        """What is announced with another size is not even begun."""
        fetching = self.begin(serve({b"name": CONTENT}), 10)
        self.assertRefused(fetching, f"size {len(CONTENT)} != 10")
        self.assertEqual(self.received, b"")

    def test_too_much(self) -> None:
        """Without an announcement, what is too much is noticed when it comes."""
        answer = serve({b"name": CONTENT}, length=UNKNOWN_LENGTH)
        self.assertRefused(self.begin(answer, 1500), "longer than 1500 bytes")
        self.assertLessEqual(len(self.received), 1500)

    def test_checked(self) -> None:
        """What must not be taken is refused before it comes."""
        answer = serve({b"name": bytes(100_001)})
        self.assertRefused(self.begin(answer, None), "too long")
        self.assertEqual(self.received, b"")

    def test_not_there(self) -> None:
        """A server that says no is believed, at once."""
        for code, text in ((404, "404 Not Found"), (403, "403 Forbidden")):
            self.setUp()
            fetching = self.begin(lambda *_, code=code: Response(code, b"no"))
            self.assertRefused(fetching, text)
            self.assertEqual(len(self.web.asked), 1)

    def test_redirect(self) -> None:
        """Nobody is followed elsewhere."""
        for code in (301, 302, 303, 307, 308):
            self.setUp()
            headers = {b"Location": [b"http://169.254.169.254/"]}
            response = Response(code, headers=headers)
            fetching = self.begin(lambda *_, response=response: response)
            failure = self.failureResultOf(fetching, RequestError)
            self.assertIn(str(code), str(failure.value))
            self.assertEqual(self.web.asked, [(URL, None)])

    def test_resumed(self) -> None:
        """After each cut only what is missing is asked for."""
        cuts = iter([1000, 3333, 1, 0, 0, 500, None])

        def answer(_: bytes, headers: Any) -> Response:
            return partial_response(CONTENT, range_start(headers), cut_at=next(cuts))

        fetching = self.begin(answer)
        while not fetching.called:
            self.clock.advance(0.5)
        self.assertFetched(fetching)
        starts = [wanted for _, wanted in self.web.asked]
        places = [b"bytes=%d-" % n for n in (1000, 4333, 4334, 4334, 4334, 4834)]
        self.assertEqual(starts, [None, *places])
        self.assertEqual(self.checked, [len(CONTENT)])

    def test_resumed_without_ranges(self) -> None:
        """A server that knows no ranges sends everything; nothing is taken twice."""
        cuts = iter([5000, 5500, 3000, None])
        fetching = self.begin(lambda *_: Response(200, CONTENT, cut_at=next(cuts)))
        self.clock.pump([1] * 20)
        self.assertFetched(fetching)

    def test_another_range(self) -> None:
        """The wrong part of the object is no part of it."""
        ranges = [b"bytes 4-9/10", b"bytes 0-10239/10240", b"nonsense", b""]
        for wrong in ranges:
            self.setUp()
            second = Response(206, CONTENT, headers={b"Content-Range": [wrong]})
            answers = iter([Response(200, CONTENT, cut_at=1000), second])
            fetching = self.begin(lambda *_, answers=answers: next(answers))
            self.clock.advance(1)
            self.assertRefused(fetching, "another range than the one asked for")
            self.assertTrue(second.stopped)

    def test_range_nobody_asked_for(self) -> None:
        """A part of the object is no answer to a question for all of it."""
        headers = {b"Content-Range": [b"bytes 0-9/10"]}
        fetching = self.begin(lambda *_: Response(206, CONTENT, headers=headers))
        self.assertRefused(fetching, "206 Partial Content")

    def test_nobody_there(self) -> None:
        """A few attempts in vain, further and further apart, are enough."""
        fetching = self.begin(refused)
        for attempts, pause_s in enumerate((1, 2, 4, 8), 1):
            self.assertEqual(len(self.web.asked), attempts)
            self.assertNoResult(fetching)
            self.clock.advance(pause_s - 0.1)
            self.assertEqual(len(self.web.asked), attempts)
            self.clock.advance(0.1)
        failure = self.failureResultOf(fetching, RequestError)
        self.assertIn("refused", str(failure.value))

    def test_busy(self) -> None:
        """A server that is busy is asked again."""
        answers = iter([Response(503, b"later"), Response(429), Response(200, CONTENT)])
        fetching = self.begin(lambda *_: next(answers))
        self.clock.advance(1)
        self.clock.advance(2)
        self.assertFetched(fetching)

    def test_no_answer(self) -> None:
        """Silence has a deadline, before the head and before each piece."""
        silent: list[Deferred[Any]] = []

        def canceled(deferred: Deferred[Any]) -> None:
            silent.append(deferred)

        held = Response(200, CONTENT, hold=True)
        answers = iter([Deferred(canceled), held, Response(200, CONTENT)])
        fetching = self.begin(lambda *_: next(answers))
        self.clock.advance(60)
        self.assertEqual(len(silent), 1)
        self.clock.advance(1)
        self.assertIsNotNone(held.protocol)
        self.clock.advance(60)
        self.assertTrue(held.stopped)
        self.clock.advance(2)
        self.assertFetched(fetching)

    def test_ends_early(self) -> None:
        """A body that is shorter than it should be is no whole one."""
        short = Response(200, CONTENT[:100], length=UNKNOWN_LENGTH)
        answers = iter([short, partial_response(CONTENT, 100)])
        fetching = self.begin(lambda *_: next(answers))
        self.clock.advance(1)
        self.assertFetched(fetching)

    def test_backpressure(self) -> None:
        """While the sink is busy, little is kept, and the server has to wait."""
        self.patch(self, "check", lambda size: None)
        self.sinking = Deferred()
        content = bytes(3 << 20)
        response = Response(200, content)
        fetching = self.begin(lambda *_: response, len(content))
        self.assertTrue(response.paused)
        self.assertLess(response.sent, 600_000)
        sinking, self.sinking = self.sinking, None
        sinking.callback(None)
        self.successResultOf(fetching)
        self.assertEqual(len(self.received), len(content))

    def test_stop(self) -> None:
        """Whatever it waits for, it ends at once when it is told to."""
        held = Response(200, CONTENT, hold=True)
        for answer in (lambda *_: Deferred(), lambda *_: held, refused):
            self.setUp()
            fetching = self.begin(answer)
            self.assertNoResult(fetching)
            self.download.stop()
            self.failureResultOf(fetching, Stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(held.stopped)

    def test_stop_while_sinking(self) -> None:
        """The sink is not left alone with what it does."""
        self.sinking = Deferred()
        fetching = self.begin(lambda *_: Response(200, CONTENT))
        self.download.stop()
        self.assertNoResult(fetching)
        self.sinking.callback(None)
        self.failureResultOf(fetching, Stopped)

    def test_broken_sink(self) -> None:
        """What goes wrong in the sink comes out, and the connection is given up."""

        async def fail(_: bytes) -> None:
            raise ZeroDivisionError

        self.patch(self, "sink", fail)
        self.patch(self, "check", lambda size: None)
        response = Response(200, bytes(3 << 20))
        fetching = self.begin(lambda *_: response, 3 << 20)
        self.failureResultOf(fetching, ZeroDivisionError)
        self.assertTrue(response.stopped)
