"""What is counted, and by which names it is known."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

from srpc.peers import Link, Recorder, make_server
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import RequestError
from imageserver.gob import Encoder
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.access import Identity, Policy
from imageserver.srpc.accounting import TLS, UNIX, Accounting, Way
from imageserver.srpc.channel import Channel
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.distribution import Distribution
from imageserver.srpc.limit import Limit
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import JSON

REQUEST = Encoder().encode(CheckImageRequest("image"))
PER_METHOD = {
    "num-denied-calls",
    "num-permitted-calls",
    "num-running-calls",
    "successful-call-durations",
    "failed-call-durations",
}
PER_REPLY = {
    "successful-request-reply-call-durations",
    "failed-request-reply-call-durations",
}
TOTALS = {
    "num-connections",
    "num-open-connections",
    "num-open-raw-connections",
    "num-rejected-connections",
    "num-running-methods",
}
"""Existing tools ask for all of these."""


async def nothing(*_: Any) -> None:
    """A method that does nothing."""


METHODS = (
    Method("Test", "Reply", request=CheckImageRequest, reply=nothing),
    Method("Test", "Stream", stream=nothing),
    Method("", "LocalUpgradeToUnix", stream=nothing),
)


def values(accounting: Accounting) -> dict[str, Any]:
    """All metrics by their paths; of distributions the counts."""
    found: dict[str, Any] = {}
    for metric in accounting.metrics():
        assert metric.path not in found
        assert metric.description
        value = metric.value
        found[metric.path] = value.count if isinstance(value, Distribution) else value
    return found


def test_names() -> None:
    """The names that existing tools ask for are there, all of them and at once."""
    found = values(Accounting(METHODS))
    expected = {f"/srpc/server/{name}" for name in TOTALS}
    for place, names in (
        ("Test/Reply", PER_METHOD | PER_REPLY),
        ("Test/Stream", PER_METHOD),
        ("LocalUpgradeToUnix", PER_METHOD),
    ):
        expected |= {f"/srpc/server/{place}/{name}" for name in names}
    assert expected <= found.keys()
    ours = {"num-crashed-calls", "num-page-connections", "num-raw-connections"}
    for path in found.keys() - expected:
        assert path.startswith("/srpc/server/limits/") or path.split("/")[-1] in ours
    assert set(found.values()) == {0}


def test_limits() -> None:
    """Every limit has a counter."""
    accounting = Accounting(())
    accounting.limits[Limit.HANDSHAKE] += 3
    found = values(accounting)
    for limit in Limit:
        counted = found[f"/srpc/server/limits/{limit}"]
        assert counted == (3 if limit is Limit.HANDSHAKE else 0)


def test_ways() -> None:
    """Connections and calls are counted by how they come in, too."""
    accounting = Accounting(METHODS)
    for way in (Way(), Way(TLS), Way(TLS, JSON), Way(UNIX)):
        accounting.attempted(way)
    accounting.connected(Way(TLS))
    accounting.connected(Way(UNIX))
    accounting.disconnected(Way(UNIX))
    accounting.methods["Test.Stream"].begin(Way(TLS))
    found = values(accounting)
    assert found["/srpc/server/num-connections"] == 4
    assert found["/srpc/server/num-open-connections"] == 1
    names = ("plain-gob", "tls-gob", "tls-json", "unix-gob")
    ways = [found[f"/srpc/server/connections/{name}/num-connections"] for name in names]
    assert ways == [1, 1, 1, 1]
    assert found["/srpc/server/connections/tls-gob/num-open-connections"] == 1
    assert found["/srpc/server/connections/unix-gob/num-open-connections"] == 0
    assert found["/srpc/server/Test/Stream/num-tls-gob-calls"] == 1


class Calls(SynchronousTestCase):
    """What a server counts while it answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting: list[Deferred[Any]] = []
        methods = [
            Method("Test", "Reply", True, request=CheckImageRequest, reply=self.reply),
            Method("Test", "Stream", True, stream=self.stream),
            Method("Test", "Power", stream=nothing),
        ]
        self.server = make_server(self.clock, methods, policy=Policy())
        self.peer = Recorder()
        channel = Channel(self.clock, Deadlines())
        self.link = Link(self.clock, channel, self.peer)
        self.server.serve(channel, True, "192.0.2.1:5", identity=Identity("alice"))

    def tearDown(self) -> None:
        self.peer.transport.abortConnection()
        self.link.pump()
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.server.accounting.running_calls, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def reply(self, caller: Any, request: CheckImageRequest) -> Any:
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    async def stream(self, call: Any) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]

    def send(self, data: bytes) -> None:
        """Send something."""
        self.peer.transport.write(data)
        self.link.pump()

    def finish(self, result: Any = None, after_s: float = 0) -> None:
        """End the call that waits."""
        self.clock.advance(after_s)
        deferred = self.waiting.pop()
        if isinstance(result, Exception):
            deferred.errback(result)
        else:
            deferred.callback(result)
        self.link.pump()

    def counted(self, method: str) -> dict[str, Any]:
        """What is not 0 of a method."""
        place = f"/srpc/server/Test/{method}/"
        return {
            path.removeprefix(place): value
            for path, value in values(self.server.accounting).items()
            if path.startswith(place) and value
        }

    def test_running(self):
        """A call runs until it has ended."""
        self.send(b"Test.Stream\n")
        running = {"num-permitted-calls": 1, "num-plain-gob-calls": 1}
        self.assertEqual(self.counted("Stream"), {**running, "num-running-calls": 1})
        found = values(self.server.accounting)
        self.assertEqual(found["/srpc/server/num-running-methods"], 1)
        self.finish()
        self.assertEqual(
            self.counted("Stream"), {**running, "successful-call-durations": 1}
        )

    def test_durations(self):
        """Durations are in milliseconds, and those of replies without the request."""
        self.send(b"Test.Reply\n")
        self.clock.advance(1)
        self.send(REQUEST)
        self.finish(CheckImageResponse(True), after_s=0.25)
        account = self.server.accounting.methods["Test.Reply"]
        self.assertEqual(account.successful.total_ms, 1_250)
        self.assertEqual(account.replies.total_ms, 250)
        self.assertEqual(account.failed.count, 0)

    def test_error_line(self):
        """A reply that is an error line is a successful call, and a failed reply."""
        self.send(b"Test.Reply\n" + REQUEST)
        self.finish(RequestError("no"))
        self.assertEqual(
            self.counted("Reply"),
            {
                "num-permitted-calls": 1,
                "num-plain-gob-calls": 1,
                "successful-call-durations": 1,
                "failed-request-reply-call-durations": 1,
            },
        )

    def test_crash(self):
        """An error that says nothing to clients is a crash, and the call has failed."""
        self.send(b"Test.Reply\n" + REQUEST)
        self.finish(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        found = self.counted("Reply")
        self.assertEqual(found["num-crashed-calls"], 1)
        self.assertEqual(found["failed-call-durations"], 1)
        self.assertEqual(found["failed-request-reply-call-durations"], 1)
        self.assertNotIn("successful-call-durations", found)

    def test_undecodable_request(self):
        """A request that cannot be decoded has failed, and there was no reply."""
        self.send(b"Test.Reply\n\x02\xff\xff")
        self.assertEqual(
            self.counted("Reply"),
            {
                "num-permitted-calls": 1,
                "num-plain-gob-calls": 1,
                "failed-call-durations": 1,
            },
        )

    def test_departure(self):
        """A call whose peer went away has failed, once it has ended."""
        self.send(b"Test.Stream\n")
        self.peer.transport.abortConnection()
        self.link.pump()
        self.assertEqual(self.counted("Stream")["num-running-calls"], 1)
        self.finish()
        found = self.counted("Stream")
        self.assertNotIn("num-running-calls", found)
        self.assertEqual(found["failed-call-durations"], 1)

    def test_denied(self):
        """A call that is not permitted is counted as that only."""
        self.send(b"Test.Power\n" * 3)
        self.assertEqual(self.counted("Power"), {"num-denied-calls": 3})
        self.assertEqual(self.server.accounting.denied_calls, 3)

    def test_unknown_methods(self):
        """What does not exist is not counted: names would be the peer's choice."""
        before = values(self.server.accounting).keys()
        self.send(b"Test.Other\nNo.Stream\nx\n\n")
        self.assertEqual(values(self.server.accounting).keys(), before)

    def test_denials_in_the_log(self):
        """Who is denied again and again cannot fill the log."""
        observed: list[Any] = []
        log = self.server.sparing_log._log
        self.patch(log, "observer", observed.append)
        self.send(b"Test.Power\n" * 1_000)
        self.assertEqual(self.server.accounting.denied_calls, 1_000)
        self.assertEqual(len(observed), 20)
        self.assertEqual({event["user"] for event in observed}, {"alice"})
