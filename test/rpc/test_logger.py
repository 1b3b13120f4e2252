"""The Logger service: who watches the log, and what is written into it."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

import recorded
from srpc.peers import Link, Recorder, make_server
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import RequestError
from imageserver.gob import Encoder
from imageserver.log import NO_DEBUG, Log, format_line
from imageserver.model.logger_messages import (
    DebugRequest,
    GetStackTraceRequest,
    PrintRequest,
    SetDebugLevelRequest,
    WatchRequest,
    WatchResponse,
)
from imageserver.rpc.logger import LoggerService
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.testing import POWERFUL


class Logs(SynchronousTestCase):
    """Clients of a log in memory connections."""

    log = Logger()

    def setUp(self) -> None:
        self.watched = Log(lambda function, *a: function(*a))
        self.written: list[str] = []
        for observer in (self.watched, self.write):
            globalLogPublisher.addObserver(observer)
            self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()
        self.service = LoggerService(self.watched)
        self.server = make_server(
            self.clock,
            self.service.methods(),
            deadlines=Deadlines(body_s=5, stall_s=50),
        )

    def write(self, event: dict[str, Any]) -> None:
        self.written.append(format_line(event))

    def answer(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def watch(self, **fields: Any) -> tuple[Link, Recorder]:
        """A client that watches."""
        channel, client = Channel(self.clock, self.server.deadlines), Recorder()
        link = Link(self.clock, channel, client)
        self.addCleanup(link.pump)
        self.addCleanup(link.right.abortConnection)
        self.server.serve(channel, True, "there")
        request = WatchRequest(**{"debug_level": NO_DEBUG, **fields})
        link.right.write(b"Logger.Watch\n" + Encoder().encode(request))
        link.pump()
        return link, client

    def texts(self, link: Link, client: Recorder) -> list[str]:
        """The texts that a client was sent, without their times."""
        link.pump()
        sent = Encoder().encode(WatchResponse())
        assert client.data.startswith(b"\n" + sent)
        lines = client.data[1 + len(sent) :].decode().splitlines()
        return [line.split(" ", 2)[2] for line in lines]

    def test_watch(self) -> None:
        """From the start of the watch, in order; each message is a line."""
        self.log.info("before")
        watching = self.watch()
        self.log.info("one")
        self.log.warn("two\n2001/01/01 00:00:00 forged")
        expected = ["one", "two\\n2001/01/01 00:00:00 forged"]
        self.assertEqual(self.texts(*watching), expected)

    def test_selection(self) -> None:
        """Who excludes something does not see it, whatever they include."""
        watching = self.watch(include="a.c$", exclude="x")
        for text in ("abc", "axc", "abcd", "x abc", "a\u20acc"):
            self.log.info("{text}", text=text)
        self.assertEqual(self.texts(*watching), ["abc", "a\u20acc"])

    def test_errors(self) -> None:
        """There is one log; expressions have to be some. The connection goes on."""
        for fields, error in (
            ({"name": "other"}, "unknown logger: other"),
            ({"include": "a("}, "invalid expression: missing ): a("),
            ({"exclude": "(?=x)"}, "invalid expression: invalid perl operator: (?="),
        ):
            link, client = self.watch(**fields)
            [response] = recorded.decode_all(client.data[1:], WatchResponse)
            self.assertEqual(response.error, error)
            self.assertFalse(link.left.lost)

    def test_levels(self) -> None:
        """A watcher may want more than is kept; what nobody wants is not made."""
        quiet, curious = self.watch(), self.watch(debug_level=3)
        for level in (0, 3, 4):
            self.answer(
                self.service.debug(POWERFUL, DebugRequest(("a", "b"), "", level))
            )
        self.assertEqual(self.written, [])
        self.assertEqual(self.texts(*quiet), [])
        expected = [f"Logger.Debug({level}): a b" for level in (0, 3)]
        self.assertEqual(self.texts(*curious), expected)
        self.answer(self.service.set_debug_level(POWERFUL, SetDebugLevelRequest("", 3)))
        for level in (3, 4):
            self.answer(self.service.debug(POWERFUL, DebugRequest(("c",), "", level)))
        self.assertEqual(
            [line.split(" ", 2)[2] for line in self.written],
            ["Logger.SetDebugLevel(3)\n", "Logger.Debug(3): c\n"],
        )
        self.assertEqual(self.texts(*curious)[3:], ["Logger.Debug(3): c"])

    def test_level_bounds(self) -> None:
        """Levels stay what they can be."""
        for asked, level in ((-32_768, NO_DEBUG), (1 << 40, 32_767)):
            request = SetDebugLevelRequest("", asked)
            self.answer(self.service.set_debug_level(POWERFUL, request))
            self.assertEqual(self.watched.level, level)

    def test_debug_messages_of_others(self) -> None:
        """Debug messages that say no level have the lowest."""
        watching = self.watch(debug_level=0), self.watch()
        self.log.emit(LogLevel.debug, "detail")
        self.assertEqual([self.texts(*w) for w in watching], [["detail"], []])

    def test_print(self) -> None:
        """What clients write is a line, braces and all."""
        self.answer(self.service.print(POWERFUL, PrintRequest(("{a}", "\n%s"), "")))
        self.assertTrue(self.written[0].endswith(" Logger.Print(): {a} \\n%s\n"))

    def test_unknown_name(self) -> None:
        """Nothing is done to a log that is not there."""
        for method, request in (
            (self.service.debug, DebugRequest((), "x", 0)),
            (self.service.print, PrintRequest((), "x")),
            (self.service.set_debug_level, SetDebugLevelRequest("x", 0)),
        ):
            asking = Deferred.fromCoroutine(method(POWERFUL, request))
            self.assertEqual(
                str(self.failureResultOf(asking, RequestError).value),
                "unknown logger: x",
            )
        self.assertEqual(self.written, [])

    def test_stacks(self) -> None:
        """The stacks tell where the threads are."""
        response = self.answer(
            self.service.get_stack_trace(POWERFUL, GetStackTraceRequest())
        )
        self.assertIn(b"thread MainThread:\n", response.data)
        self.assertIn(b"test_stacks", response.data)

    def test_slow_watcher(self) -> None:
        """Who is 256 lines behind is left; the others see everything."""
        (slow, _), quick = self.watch(), self.watch()
        slow.right.paused = True
        for _ in range(2_000):
            self.log.info("x" * 200)
            quick[0].pump()
        slow.pump()
        self.assertTrue(slow.left.lost)
        self.assertEqual(len(self.watched._watchers), 1)
        texts = [text for text in self.texts(*quick) if text == "x" * 200]
        self.assertEqual(len(texts), 2_000)

    def test_watcher_leaves(self) -> None:
        """Who has left is forgotten."""
        link, _ = self.watch()
        link.right.loseConnection()
        link.pump()
        self.assertFalse(self.watched._watchers)
