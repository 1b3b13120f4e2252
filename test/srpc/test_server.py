"""Calls, as a client sees them."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

from srpc.peers import GatedWorker, Link, Recorder, make_server, server_tls
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import (
    LocalProtocolError,
    RequestError,
    StoreError,
)
from imageserver.gob import Encoder, Limits
from imageserver.model.image_messages import (
    CheckImageRequest,
    CheckImageResponse,
)
from imageserver.srpc.access import ANONYMOUS, Caller, Policy
from imageserver.srpc.call import Call, SelfSending
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.methods import Method, MethodTable

DEADLINES = Deadlines(head_s=1, handshake_s=2, body_s=3, stall_s=4)
DENIED = b"access to method denied\n"


def encoded(value: Any) -> bytes:
    """A value as the first one of a call."""
    return Encoder().encode(value)


REQUEST = encoded(CheckImageRequest("image"))
FOUND = b"\n" + encoded(CheckImageResponse(True))


class BrokenResponse(SelfSending):
    """A response that sends a part of itself."""

    async def send_to(self, call: Call) -> None:
        call.write(b"part")
        raise StoreError("the rest is gone")


class ServerCase(SynchronousTestCase):
    """One connection to a server with methods of all kinds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.callers: list[Caller] = []
        self.names: list[str] = []
        self.waiting: list[Deferred[Any]] = []
        self.fails: Exception | None = None
        self.answer: Any = CheckImageResponse(True)
        self.worker = GatedWorker()
        self.link: Link | None = None
        self.make(started=True)
        self.connect()

    def make(self, **options: Any) -> None:
        """A new server; the connection to the one before ends.

        Left open, it would be closed when its coroutine is collected, at any time.
        """
        if self.link is not None:
            self.peer.transport.loseConnection()
            self.link.pump()
        reply: dict[str, Any] = {"request": CheckImageRequest, "reply": self.reply}
        methods = [
            Method("Test", "Check", **reply),
            Method("Test", "Big", limits=Limits(message_bytes=2 << 20), **reply),
            Method("Test", "Public", public=True, **reply),
            Method("Test", "Open", unauthenticated=True, **reply),
            Method("Test", "Wait", request=CheckImageRequest, reply=self.wait),
            Method("Test", "Stream", stream=self.stream),
            Method("Other", "Stream", stream=self.stream),
        ]
        self.server = make_server(
            self.clock, methods, decoding=self.worker, deadlines=DEADLINES, **options
        )

    def connect(self, *, powers: bool = True) -> None:
        """A new connection."""
        self.peer = Recorder()
        self.channel = Channel(self.clock, DEADLINES)
        self.link = Link(self.clock, self.channel, self.peer)
        self.server.serve(self.channel, powers, "192.0.2.1:5")

    def send(self, data: bytes) -> bytes:
        """Send something; what comes back."""
        self.peer.transport.write(data)
        self.link.pump()
        return self.peer.take()

    async def reply(self, caller: Caller, request: CheckImageRequest) -> Any:
        self.callers.append(caller)
        self.names.append(request.image_name)
        if self.fails is not None:
            raise self.fails
        return self.answer

    async def wait(self, caller: Caller, request: CheckImageRequest) -> Any:
        deferred: Deferred[Any] = Deferred()
        self.waiting.append(deferred)
        return await deferred

    async def stream(self, call: Call) -> None:
        self.callers.append(call.caller)
        if self.fails is not None:
            call.write(b"begun\n")
            raise self.fails
        line = await call.receive_line(10)
        request = await call.receive(CheckImageRequest)
        data = await call.receive_bytes(3)
        call.send(CheckImageResponse(request.image_name == "image"))
        call.write(line + data)
        await call.drain()

    def assertEnded(self) -> None:
        """The connection is closed, and the server knows."""
        self.assertIsNotNone(self.peer.ended)
        self.assertNotIn(self.channel, self.server._open)
        counted = self.server.accounting.open_connections
        self.assertEqual(counted, len(self.server._open))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertUsable(self) -> None:
        """The next call works."""
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\n" + FOUND)


class Lines(ServerCase):
    """Method lines, and what is said to them."""

    def test_ping(self):
        """An empty line is answered with an empty line, white space or not."""
        for line in (b"\n", b"\r\n", b"  \n", b"\t\r\n"):
            self.assertEqual(self.send(line), b"\n")
        self.assertUsable()

    def test_spaces_around(self):
        """White space around a method does not matter."""
        line = b"  Test.Check \r\n"
        self.assertEqual(self.send(line + REQUEST), b"\n" + FOUND)

    def test_refusals(self):
        """Each refusal has its text, in this order, and the next call works."""
        for line, text in (
            (b"Test", b"malformed Service.Method: Test"),
            (b"Test.Check.It", b"malformed Service.Method: Test.Check.It"),
            (b"No.Check", b"unknown service: No"),
            (b"No.", b"unknown service: No"),
            (b"Test.No", b"Test: unknown method: No"),
            (b"Test.", b"Test: unknown method: "),
            (b"test.Check", b"unknown service: test"),
            (b"Test.check", b"Test: unknown method: check"),
            (b"Other.Check", b"Other: unknown method: Check"),
        ):
            self.assertEqual(self.send(line + b"\n"), text + b"\n")
        self.assertUsable()

    def test_upgrade_is_declined(self):
        """A server without the method says so; its clients go on."""
        self.assertEqual(self.send(b".LocalUpgradeToUnix\n"), b"unknown service: \n")
        self.assertUsable()

    def test_line_too_long(self):
        """Nobody sends method lines without end."""
        self.assertEqual(self.send(b"x" * 600), b"")
        self.assertEnded()

    def test_end(self):
        """A client may go at any time."""
        for data in (b"", b"Test.Ch", b"Test.Check\n", b"Test.Check\n" + REQUEST[:-1]):
            self.connect()
            self.send(data)
            self.peer.transport.loseConnection()
            self.link.pump()
            self.assertEnded()

    def test_flood_of_pings(self):
        """Who pings and reads nothing is stopped, and then cut off."""
        self.peer.transport.pauseProducing()
        self.peer.transport.write(b"\n" * (1 << 20))
        self.link.pump()
        self.assertLess(len(self.channel.transport.outgoing), 100 << 10)
        self.assertTrue(self.channel.transport.paused)
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.link.pump()
        self.assertEqual(self.server.accounting.open_connections, 0)


class Access(ServerCase):
    """Who may call what."""

    def allowed(self, policy: Policy, *, powers: bool = True) -> dict[str, Any]:
        """What an anonymous caller may call, and with how much power."""
        self.make(policy=policy)
        self.connect(powers=powers)
        allowed = {}
        for name in ("Check", "Public", "Open"):
            self.callers.clear()
            answer = self.send(b"Test.%s\n" % name.encode())
            if answer == DENIED:
                continue
            self.assertEqual(answer, b"\n")
            self.assertEqual(self.send(REQUEST), FOUND)
            allowed[name] = self.callers[0].has_method_access
        return allowed

    def test_insecure(self):
        """In insecure mode everybody may do everything."""
        everything = {"Check": True, "Public": True, "Open": True}
        self.assertEqual(self.allowed(Policy(insecure=True)), everything)

    def test_insecure_without_powers(self):
        """Who gives its powers away has no name and so not much left."""
        allowed = self.allowed(Policy(insecure=True), powers=False)
        self.assertEqual(allowed, {"Open": False})

    def test_anonymous(self):
        """Without identity only open methods can be called, without power."""
        self.assertEqual(self.allowed(Policy()), {"Open": False})

    def test_denied(self):
        """The text is exact, the refusal is counted, and the next call works."""
        self.make(policy=Policy())
        self.connect()
        self.assertEqual(self.send(b"Test.Check\n"), DENIED)
        self.assertEqual(self.send(b"Other.Stream\n"), DENIED)
        self.assertEqual(self.send(b"Test.No\n"), b"Test: unknown method: No\n")
        self.assertEqual(self.server.accounting.denied_calls, 2)
        self.assertEqual(self.send(b"Test.Open\n" + REQUEST), b"\n" + FOUND)
        self.assertEqual(self.callers, [Caller(ANONYMOUS, False, "192.0.2.1:5")])

    def test_offers_unsecured(self):
        """The unsecured endpoint is there if it is of use to anybody."""
        self.make(policy=Policy(), tls=server_tls())
        self.assertTrue(self.server.offers_unsecured)
        closed = MethodTable([Method("Test", "Check", stream=self.stream)])
        self.server.methods = closed
        self.assertFalse(self.server.offers_unsecured)


class Replies(ServerCase):
    """Request-reply methods."""

    def test_success(self):
        """LF, then LF and response; then the next call."""
        self.assertEqual(self.send(b"Test.Check\n"), b"\n")
        self.assertEqual(self.send(REQUEST), FOUND)
        self.assertEqual(self.names, ["image"])
        self.assertUsable()
        self.assertEqual(self.server.accounting.calls, 2)
        self.assertEqual(self.server.accounting.running_calls, 0)

    def test_pipelined(self):
        """Calls in one segment are answered in order, types anew in each."""
        data = (b"Test.Check\n" + REQUEST) * 3 + b"\n"
        self.assertEqual(self.send(data), (b"\n" + FOUND) * 3 + b"\n")

    def test_request_error(self):
        """An error is a line instead of the response; the next call works."""
        self.fails = RequestError("no such image")
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\nno such image\n")
        self.fails = StoreError("the disk is full")
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\nthe disk is full\n")
        self.fails = None
        self.assertUsable()
        self.assertEqual(self.server.accounting.crashed_calls, 0)

    def test_error_with_line_ends(self):
        """Line ends in an error text do not break the framing."""
        self.fails = RequestError("one\ntwo\r\n")
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\none two\n")
        self.fails = None
        self.assertUsable()

    def test_undecodable_requests(self):
        """An error line, then the end: nobody can tell where the next call is."""
        for request in (
            b"\x00",
            b"\x03\x04\x00\x06",
            b"\xf8" + b"\x7f" * 8,
            b"\x02\xff",
        ):
            self.connect()
            answer = self.send(b"Test.Check\n" + request + b"Test.Check\n")
            accepted, error, rest = answer.split(b"\n")
            self.assertEqual((accepted, rest), (b"", b""))
            self.assertTrue(error)
            self.assertEnded()
        self.assertEqual(self.callers, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_request_too_long(self):
        """The length alone is enough to refuse a request; the client gets to know."""
        answer = self.send(b"Test.Check\n\xfc\x7f\xff\xff\xff" + b"x" * (1 << 20))
        self.assertRegex(answer, rb"\A\n[^\n]+\n\Z")
        self.assertEnded()

    def test_request_too_slow(self):
        """A request has to come in time."""
        self.send(b"Test.Check\n" + REQUEST[:5])
        self.clock.advance(DEADLINES.body_s + 0.1)
        self.link.pump()
        self.assertEnded()

    def test_crash(self):
        """An unknown error says nothing of itself, is logged, and ends it all."""
        for error in (ZeroDivisionError("secret"), LocalProtocolError("secret")):
            self.connect()
            self.fails = error
            self.assertEqual(
                self.send(b"Test.Check\n" + REQUEST), b"\ninternal error\n"
            )
            self.assertEnded()
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
        self.assertEqual(self.server.accounting.crashed_calls, 2)
        self.assertEqual(self.server.accounting.running_calls, 0)

    def test_impossible_response(self):
        """A response that cannot be encoded is a crash, before any of it is sent."""
        self.answer = object()
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\ninternal error\n")
        self.assertEnded()
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_self_sending_response_fails(self):
        """A response that breaks off ends the connection, with no error line."""
        self.answer = BrokenResponse()
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"\n\npart")
        self.assertEnded()

    def test_long_requests_are_decoded_elsewhere(self):
        """A long request does not hold the reactor while it is decoded."""
        request = encoded(CheckImageRequest("x" * 100_000))
        self.assertEqual(self.send(b"Test.Big\n" + request), b"\n")
        self.assertGreater(self.worker.runs, 0)
        self.worker.release()
        self.worker.release()  # the response, which may be as long
        self.link.pump()
        self.assertEqual(self.peer.take(), FOUND)
        self.assertEqual(self.names, ["x" * 100_000])

    def test_long_garbage_decoded_elsewhere(self):
        """What the decoder says there becomes an error line, too."""
        self.send(b"Test.Big\n\xfd\x02\x00\x00" + b"\xff" * (128 << 10))
        self.worker.release()
        self.link.pump()
        self.assertRegex(self.peer.take(), rb"\A[^\n]+\n\Z")
        self.assertEnded()

    def test_lost_while_running(self):
        """A call whose client has gone runs to its end; then nothing is left."""
        self.send(b"Test.Wait\n" + REQUEST)
        self.assertEqual(self.server.accounting.running_calls, 1)
        self.peer.transport.abortConnection()
        self.link.pump()
        self.assertEqual(self.server.accounting.open_connections, 1)
        self.waiting[0].callback(CheckImageResponse(True))
        self.assertEnded()
        self.assertEqual(self.server.accounting.running_calls, 0)

    def test_next_call_waits_for_the_first(self):
        """A call that is sent early is not begun before the one before it ends."""
        self.assertEqual(self.send(b"Test.Wait\n" + REQUEST + b"Test.No\n"), b"\n")
        self.waiting[0].callback(CheckImageResponse(True))
        self.link.pump()
        self.assertEqual(self.peer.take(), FOUND + b"Test: unknown method: No\n")


class Streams(ServerCase):
    """Streaming methods."""

    def test_success(self):
        """A stream carries lines, values and raw bytes; the next call works."""
        self.assertEqual(self.send(b"Test.Stream\n"), b"\n")
        answer = self.send(b"line\n" + REQUEST + b"raw")
        self.assertEqual(answer, encoded(CheckImageResponse(True)) + b"lineraw")
        self.assertUsable()

    def test_failure(self):
        """A stream that fails is flushed and closed without a word."""
        for error in (RequestError("no"), StoreError("no")):
            self.connect()
            self.fails = error
            self.assertEqual(self.send(b"Test.Stream\n"), b"\nbegun\n")
            self.assertEnded()
        self.assertEqual(self.server.accounting.crashed_calls, 0)

    def test_crash(self):
        """The same for a crash, which is logged and counted."""
        self.fails = KeyError("secret")
        self.assertEqual(self.send(b"Test.Stream\n"), b"\nbegun\n")
        self.assertEnded()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.server.accounting.crashed_calls, 1)

    def test_garbage(self):
        """What cannot be decoded ends the connection without a word."""
        self.assertEqual(self.send(b"Test.Stream\nline\n\x00"), b"\n")
        self.assertEnded()

    def test_too_long_a_line(self):
        """A line has a limit, in streams as well."""
        self.assertEqual(self.send(b"Test.Stream\n" + b"x" * 11), b"\n")
        self.assertEnded()

    def test_lost_while_running(self):
        """A stream ends with its connection."""
        self.send(b"Test.Stream\nli")
        self.channel.transport.lose(ConnectionLost())
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.server.accounting.running_calls, 0)


class StartAndStop(ServerCase):
    """Before the data are loaded, and after."""

    def test_calls_wait_for_the_start(self):
        """Pings and refusals do not wait; calls do, and are not accepted before."""
        self.make(started=False)
        self.connect()
        self.assertEqual(self.send(b"\n"), b"\n")
        self.assertEqual(self.send(b"Test.No\n"), b"Test: unknown method: No\n")
        self.assertEqual(self.send(b"Test.Check\n" + REQUEST), b"")
        self.assertEqual(self.callers, [])
        self.server.start()
        self.link.pump()
        self.assertEqual(self.peer.take(), b"\n" + FOUND)
        self.assertUsable()

    def test_start_twice(self):
        """Starting again does nothing."""
        self.server.start()
        self.assertUsable()

    def test_stop(self):
        """All connections end, those that are idle and those that are not."""
        idle = self.link
        self.connect()
        self.send(b"Test.Stream\nli")
        stopping = Deferred.fromCoroutine(self.server.stop())
        self.link.pump()
        self.successResultOf(stopping)
        self.assertEnded()
        idle.pump()
        self.assertTrue(idle.right.lost)
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_stop_waits_for_calls(self):
        """Stopping ends when the last call has ended, not before."""
        self.send(b"Test.Wait\n" + REQUEST)
        stopping = Deferred.fromCoroutine(self.server.stop())
        self.link.pump()
        self.assertNoResult(stopping)
        self.waiting[0].callback(CheckImageResponse(True))
        self.successResultOf(stopping)
        self.assertEnded()

    def test_stop_ends_what_lingers(self):
        """A peer that does not go after an error does not keep the server up."""
        self.peer.transport.pauseProducing()
        self.send(b"x" * 600)
        self.assertEqual(self.server.accounting.open_connections, 1)
        stopping = Deferred.fromCoroutine(self.server.stop())
        self.assertNoResult(stopping)
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(self.server.accounting.open_connections, 0)

    def test_stop_without_connections(self):
        """Then there is nothing to wait for."""
        server = make_server(self.clock, [])
        self.successResultOf(Deferred.fromCoroutine(server.stop()))

    def test_stop_before_start(self):
        """Calls that wait for the start do not begin when the server stops."""
        self.make(started=False)
        self.connect()
        self.send(b"Test.Check\n" + REQUEST)
        stopping = Deferred.fromCoroutine(self.server.stop())
        self.link.pump()
        self.successResultOf(stopping)
        self.assertEqual(self.callers, [])
        self.assertEnded()

    def test_connections_are_forgotten(self):
        """A connection that has ended is kept nowhere."""
        for _ in range(3):
            self.send(b"Test.Check\n" + REQUEST)
            self.peer.transport.loseConnection()
            self.link.pump()
            self.connect()
        self.assertEqual(len(self.server._open), 1)
        self.assertEqual(self.server.accounting.connections, 4)


class Values(SynchronousTestCase):
    """Values of one call share an encoder and a decoder."""

    def test_types_are_sent_once(self):
        """Within a call a type is described once, in the next one again."""
        clock = Clock()
        channel, peer = Channel(clock, DEADLINES), Recorder()
        link = Link(clock, channel, peer)
        sizes = []
        for _ in range(2):
            call = Call(channel, Caller(ANONYMOUS, False), Limits(), GatedWorker())
            for _ in range(2):
                call.send(CheckImageResponse(True))
                channel.flush()
                link.pump()
                sizes.append(len(peer.take()))
        self.assertEqual(sizes[0::2], [sizes[0]] * 2)
        self.assertEqual(sizes[1::2], [sizes[1]] * 2)
        self.assertLess(sizes[1], sizes[0])
