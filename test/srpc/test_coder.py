"""Values as gob and as JSON, and the line ends behind those in JSON."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from srpc.peers import Link, Recorder, make_server
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver import gob, gojson
from imageserver.errors import (
    JsonDecodeError,
    LimitExceeded,
    MethodDenied,
    PeerClosed,
    RemoteProtocolError,
)
from imageserver.gob import Limits
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.accounting import PLAIN, Way
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.client import Connection
from imageserver.srpc.coder import JSON_BYTES, GobCoder, JsonCoder
from imageserver.srpc.methods import SMALL, Method
from imageserver.srpc.protocol import JSON, Data, Line, Receiver
from imageserver.testing import InlineWorker

VALUE = CheckImageRequest("dir/name")
TEXT = b'{"ImageName":"dir/name"}'


def ignore(size: int) -> None:
    """Nobody counts what is kept in memory."""


def receiver_of(data: bytes) -> Receiver:
    """Where ``data`` has arrived."""
    receiver = Receiver()
    receiver.receive_data(data)
    return receiver


def test_gob_coder() -> None:
    """Definitions and value are taken one after the other, with nothing behind."""
    ours, theirs = GobCoder(SMALL), GobCoder(SMALL)
    receiver = receiver_of(ours.encode(VALUE) + b"raw")
    taken = receiver.take(theirs.want(ignore))
    assert theirs.decode(taken, CheckImageRequest) is gob.MORE
    taken = receiver.take(theirs.want(ignore))
    assert theirs.decode(taken, CheckImageRequest) == VALUE
    assert receiver.rest() == b"raw"


def test_json_coder() -> None:
    """A value is taken with what is in front of it; what follows stays."""
    coder = JsonCoder(SMALL)
    receiver = receiver_of(b" \n" + coder.encode(VALUE) + b"raw")
    taken = receiver.take(coder.want(ignore))
    assert coder.decode(taken, CheckImageRequest) == VALUE
    assert receiver.rest() == b"raw"


@given(st.integers(1, len(TEXT) + 8))
def test_json_arrives_in_pieces(size: int) -> None:
    """A value is taken when it is complete, not earlier."""
    want, receiver = JsonCoder(SMALL).want(ignore), Receiver()
    for start in range(0, len(TEXT), size):
        assert receiver.take(want) is None
        receiver.receive_data(TEXT[start : start + size])
    assert receiver.take(want) == TEXT


def test_json_memory() -> None:
    """What is kept in memory is counted as it comes, once."""
    sizes: list[int] = []
    want, receiver = JsonCoder(SMALL).want(sizes.append), Receiver()
    for data in (TEXT[:5], TEXT[5:] + b"rest"):
        receiver.receive_data(data)
        taken = receiver.take(want)
    assert (taken, receiver.rest()) == (TEXT, b"rest")
    assert sum(sizes) == len(TEXT + b"rest")


def test_json_limits() -> None:
    """Values that are too long are refused, complete or not."""
    few = JsonCoder(Limits(message_bytes=len(TEXT) - 1))
    for data in (TEXT, TEXT[:-1] + b" "):
        with pytest.raises(LimitExceeded, match="longer than 23 bytes") as caught:
            receiver_of(data).take(few.want(ignore))
        assert caught.value.limit == "message-size"
    assert receiver_of(TEXT[:-1]).take(few.want(ignore)) is None
    with pytest.raises(RemoteProtocolError, match="nest too deep"):
        receiver_of(b"[[[").take(JsonCoder(Limits(depth=2)).want(ignore))
    large = JsonCoder(Limits(message_bytes=1 << 40)).want(ignore)
    with pytest.raises(LimitExceeded):
        receiver_of(b"[" + b" " * JSON_BYTES).take(large)


def test_no_json() -> None:
    """What cannot become a value is refused at its first byte."""
    for data in (b"x", b"5", b"\0", b"ImageServer.Check"):
        with pytest.raises(RemoteProtocolError, match="no JSON object"):
            receiver_of(data).take(JsonCoder(SMALL).want(ignore))
    with pytest.raises(JsonDecodeError):
        JsonCoder(SMALL).decode(b"[]", CheckImageRequest)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("rest", [b"a", b"\n", b"\r\n", b" ", b"\ra"])
def test_one_line_end_is_skipped(end: bytes, rest: bytes) -> None:
    """One line end is dropped, in one piece or two, now or later; no other byte is."""
    expected = rest if end else {b"\n": b"", b"\r\n": b""}.get(rest, rest)
    at_once = receiver_of(end + rest)
    at_once.skip_newline()
    assert at_once.rest() == expected
    later = Receiver()
    later.skip_newline()
    for byte in end + rest:
        assert later.skips_newline or end
        later.receive_data(bytes([byte]))
    assert not later.skips_newline
    assert later.rest() == expected


def test_undecided_carriage_return() -> None:
    """A CR alone is not given to anybody before it is known what follows it."""
    receiver = receiver_of(b"\r")
    receiver.skip_newline()
    assert receiver.take(Data(10)) is None
    receiver.receive_data(b"x")
    assert receiver.take(Data(10)) == b"\rx"
    receiver = receiver_of(b"\r")
    receiver.skip_newline()
    receiver.receive_eof()
    with pytest.raises(PeerClosed):
        receiver.take(Line(10))


class JsonConnections(SynchronousTestCase):
    """Our client speaks JSON with our server, and with servers like Go's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.callers: list[str] = []
        methods = [
            Method("Test", "Check", request=CheckImageRequest, reply=self.check),
            Method("Test", "Echo", stream=self.echo),
        ]
        self.server = make_server(self.clock, methods)

    async def check(self, _: Any, request: CheckImageRequest) -> CheckImageResponse:
        return CheckImageResponse(request.image_name == "there")

    async def echo(self, call: Call) -> None:
        request = await call.receive(CheckImageRequest)
        data = await call.receive_bytes(int(request.image_name))
        call.send(CheckImageRequest(data.decode()))
        call.write(data)

    def make_client(self) -> tuple[Channel, Connection]:
        channel = Channel(self.clock, Deadlines())
        return channel, Connection(channel, InlineWorker(), JSON)

    def run_client(self, channel: Channel, calls: Any) -> None:
        """Let ``calls`` talk to our server."""
        theirs = Channel(self.clock, Deadlines())
        link = Link(self.clock, theirs, channel)
        self.server.serve(theirs, True, "here", way=Way(PLAIN, JSON))
        done = Deferred.fromCoroutine(calls)
        link.pump()
        self.successResultOf(done)
        channel.close()
        link.pump()

    def test_calls_and_pings(self) -> None:
        """Calls, refusals and pings in any order get their own answers."""
        channel, connection = self.make_client()

        async def calls() -> None:
            for name in ("there", "x" * 40, "x" * 49, "there"):
                response = await connection.call(
                    "Test.Check", CheckImageRequest(name), CheckImageResponse
                )
                assert response.image_exists == (name == "there")
                await connection.ping()
                with self.assertRaisesRegex(Exception, "unknown method: None"):
                    await connection.call("Test.None", VALUE, CheckImageResponse)
                await connection.ping()

        self.run_client(channel, calls())

    def test_raw_bytes(self) -> None:
        """Raw bytes behind values arrive, also if they begin with a line end."""
        channel, connection = self.make_client()

        async def calls() -> None:
            async with connection.begin("Test.Echo") as call:
                call.write(gojson.encode(CheckImageRequest("3")) + b"\n\nab")
                await call.drain()
                answer = await call.receive(CheckImageRequest)
                assert answer.image_name == "\nab"
            with self.assertRaises(PeerClosed):
                await connection.ping()  # what came behind the value was left

        self.run_client(channel, calls())

    def talk(self, calls: Any, channel: Channel, *script: tuple[bytes, bytes]) -> None:
        """Let ``calls`` talk to a server that answers so to what it expects."""
        server = Recorder()
        link = Link(self.clock, server, channel)
        done = Deferred.fromCoroutine(calls)
        for expected, answer in script:
            link.pump()
            self.assertEqual(server.take(), expected)
            link.left.write(answer)
        link.pump()
        self.assertEqual(server.take(), b"")
        self.successResultOf(done)
        channel.abort()
        link.pump()

    def test_line_end_of_the_server_comes_late(self) -> None:
        """The line end behind a response is no answer to the next call."""
        channel, connection = self.make_client()

        async def calls() -> None:
            for _ in range(2):
                await connection.call("Test.Check", VALUE, CheckImageResponse)
            with self.assertRaises(MethodDenied):
                await connection.call("Test.Check", VALUE, CheckImageResponse)

        self.talk(
            calls(),
            channel,
            (b"Test.Check\n", b"\n"),
            (TEXT, b'\n{"ImageExists":true}'),
            (b"?\n", b"\nmalformed Service.Method: ?\n"),
            (b"Test.Check\n", b"\n"),
            (TEXT, b'\n{"ImageExists":true}\n'),
            (b"Test.Check\n", b"access to method denied\n"),
        )

    def test_server_out_of_step(self) -> None:
        """A server that says anything else is not believed any more."""
        channel, connection = self.make_client()

        async def calls() -> None:
            await connection.call("Test.Check", VALUE, CheckImageResponse)
            with self.assertRaisesRegex(RemoteProtocolError, "out of step"):
                await connection.ping()
            assert connection.closed

        self.talk(
            calls(),
            channel,
            (b"Test.Check\n", b"\n"),
            (TEXT, b'\n{"ImageExists":true}'),
            (b"?\n", b"\nwhat?\n"),
        )
