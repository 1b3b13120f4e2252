"""Recorded moves to a Unix socket, from both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import recorded
from transcripts.conversation import ACCEPTED, RECORDINGS, Stream
from transcripts.memory import CHUNKINGS, MemoryTransport
from transcripts.replay import Server
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import MemoryReactorClock

from imageserver import gob
from imageserver.errors import ConnectionFailed
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler
from imageserver.testing import InlineWorker

HOST = "127.0.0.1"
CONNECT = b"CONNECT /_goSRPC_/ HTTP/1.0\n\n"


@attrs.frozen
class Event:
    """Bytes that one side has sent on one channel; none: it has closed it."""

    channel: str
    sender: str
    data: bytes


def read_events(name: str, entry: dict[str, Any]) -> list[Event]:
    """The events of a recording; of one without channels, all are TCP."""
    events = entry["events"] if "events" in entry else entry["connections"][0]["events"]
    assert name == entry["name"]
    return [
        Event(
            event.get("channel", "tcp"),
            event["from"],
            bytes.fromhex(event.get("hex", "")),
        )
        for event in events
    ]


(_BOTH,) = recorded.load("transcript-unix-upgrade")
_ENTRIES = {entry["name"]: entry for entry in recorded.load("transcripts-gob")}
BOTH = read_events("unix-upgrade-both-channels", _BOTH)
REFUSED = read_events("dial-upgrade-refused", _ENTRIES["dial-upgrade-refused"])
APART = read_events("dial-no-upgrade-two-pings", _ENTRIES["dial-no-upgrade-two-pings"])
TCP_PART = read_events("dial-upgrade-accepted", _ENTRIES["dial-upgrade-accepted"])


def with_unix_part(events: list[Event]) -> list[Event]:
    """A move of which the TCP channel was recorded, with the other one added."""
    said = [event.data for event in events if event.data]
    (call,) = (c for c in RECORDINGS["dial-upgrade-accepted"].calls if c.method)
    client_cookie = bytes(call.requests[0]["ClientCookie"])
    server_cookie = bytes(call.answers[0]["ServerCookie"])
    asking = next(n for n, event in enumerate(events) if event.data == said[6])
    unix = [Event("unix", "client", server_cookie), Event("unix", "server", b"\0")]
    ping = [Event("unix", "client", b"\n"), Event("unix", "server", b"\n")]
    tcp = [event for event in events if event.data]
    return [
        *tcp[:asking],
        *unix,
        *tcp[asking:],
        Event("tcp", "server", b""),
        Event("unix", "server", client_cookie),
        *ping,
        *ping,
    ]


MOVES = {"both channels": BOTH, "TCP only": with_unix_part(TCP_PART)}


def cookie_of(events: list[Event], sender: str) -> bytes:
    """The cookie that one side has made: the other one sends it on the Unix socket."""
    other = {"client": "server", "server": "client"}[sender]
    return next(
        event.data
        for event in events
        if event.channel == "unix" and event.sender == other and len(event.data) == 8
    )


def without_type_ids(said: bytes) -> list[Any]:
    """What one side has said on one channel: bytes, but values for gob messages.

    The numbers of types are the sender's choice.
    """
    found: list[Any] = []
    stream, decoder = Stream(said), gob.Decoder()
    for beginning in (ACCEPTED + b"\n", CONNECT + b".LocalUpgradeToUnix\n"):
        if said.startswith(beginning):
            found.append(stream.raw(len(beginning)))
            while stream.rest and not stream.rest.startswith(b"\n"):
                found.append(stream.value(decoder))
    return [*found, stream.rest]


def assert_same(said: bytes, expected: bytes) -> None:
    """It was said what was expected."""
    assert without_type_ids(said) == without_type_ids(expected)


class Socket:
    """A Unix socket that does not exist."""

    name = "@SRPC.11365"
    factory: IProtocolFactory
    is_open = False

    async def listen(self, factory: IProtocolFactory) -> None:
        """See ``LocalPort``."""
        self.factory = factory
        self.is_open = True

    async def stop(self) -> None:
        """See ``LocalPort``."""
        self.is_open = False


@pytest.fixture(params=MOVES)
def move(request: pytest.FixtureRequest) -> list[Event]:
    """A recording of a move."""
    return MOVES[request.param]


class TestServer:
    """Our server, and a recorded client."""

    @pytest.fixture
    def socket(self) -> Socket:
        """Where the server listens."""
        return Socket()

    @pytest.fixture
    def server(self, tmp_path, move, socket: Socket) -> Iterator[Server]:
        """A server that makes the recorded cookie."""
        cookie = cookie_of(move, "server")
        server = Server(tmp_path, local_port=socket, random=lambda size: cookie[:size])
        yield server
        stopping = Deferred.fromCoroutine(server.local_upgrade.stop())
        server.stop()
        assert stopping.called
        assert not socket.is_open

    @pytest.mark.parametrize("chunking", CHUNKINGS)
    def test_move(self, server: Server, socket: Socket, move, chunking: str) -> None:
        """Our server says what the recorded one has said, on each channel."""
        transports = {"tcp": server.connect(host=HOST)}
        expected = {"tcp": b"", "unix": b""}
        for event in move:
            if event.channel == "unix" and "unix" not in transports:
                transports["unix"] = server.connect(socket.factory)
            transport = transports[event.channel]
            if event.sender == "client":
                transport.deliver(CHUNKINGS[chunking](event.data))
                transport.pump()
            elif event.data:
                expected[event.channel] += event.data
                assert_same(transport.sent(), expected[event.channel])
            else:
                assert transport.ended
        assert not transports["unix"].ended
        transports["tcp"].hang_up()
        accounting = server.calls.accounting
        by_way = {str(way): count for way, count in accounting.open_by_way.items()}
        assert by_way == {"plain-gob": 0, "unix-gob": 1}
        transports["unix"].hang_up()
        assert accounting.open_connections == accounting.open_raw == 0
        assert server.calls.gate.total == 0


@attrs.frozen
class Dialling:
    """Our client, on its way to a recorded server."""

    reactor: Any
    result: Deferred[Connection]
    transports: dict[str, MemoryTransport]

    @classmethod
    def begin(cls, cookie: bytes = bytes(8), host: str = HOST) -> Dialling:
        """Dial from 127.0.0.1; our client makes that cookie."""
        reactor = MemoryReactorClock()
        dialler = Dialler(reactor, InlineWorker(), random=lambda size: cookie[:size])
        result = Deferred.fromCoroutine(dialler.dial(host, 6971))
        ((_, _, factory, *_),) = reactor.tcpClients
        # Of the two ends it does not matter which one is which.
        transport = MemoryTransport(reactor, host)
        transport.connect(factory.buildProtocol(transport.getHost()))
        return cls(reactor, result, {"tcp": transport})

    def arrive(self) -> str:
        """Let our client come to the Unix socket; which one it wants."""
        ((address, factory, *_),) = self.reactor.unixClients
        transport = self.transports["unix"] = MemoryTransport(self.reactor)
        transport.connect(factory.buildProtocol(transport.getHost()))
        return address

    def ping(self) -> Deferred[None]:
        """Ask the server whether it is there."""
        connection: Any = self.result.result
        return Deferred.fromCoroutine(connection.ping())

    def play(self, events: list[Event], chunking: str) -> None:
        """Let the server say what it has said, as soon as we have said our part."""
        expected = {"tcp": b"", "unix": b""}
        for event in events:
            if event.channel == "unix" and "unix" not in self.transports:
                assert self.arrive() == "\0SRPC.11365"
            transport = self.transports[event.channel]
            if event.sender == "server" and event.data:
                transport.deliver(CHUNKINGS[chunking](event.data))
                transport.pump()
            elif event.data:
                if event.data == b"\n":
                    self.ping()
                transport.pump()
                expected[event.channel] += event.data
                assert_same(transport.sent(), expected[event.channel])
            elif event.sender == "server":
                transport.hang_up()


class TestClient:
    """Our client, and a recorded server."""

    @pytest.mark.parametrize("chunking", CHUNKINGS)
    def test_move(self, move, chunking: str) -> None:
        """Our client says what the recorded one has said, on each channel."""
        dialling = Dialling.begin(cookie_of(move, "client"))
        listing = next(
            (n for n, event in enumerate(move) if b"ListImages" in event.data), None
        )
        dialling.play(move[:listing], chunking)
        assert isinstance(dialling.result.result, Connection)
        assert dialling.transports["tcp"].disconnected
        assert not dialling.transports["unix"].ended
        pinging = dialling.ping()
        dialling.transports["unix"].deliver([b"\n"])
        dialling.transports["unix"].pump()
        assert pinging.called
        assert dialling.reactor.getDelayedCalls() == []

    @pytest.mark.parametrize("chunking", CHUNKINGS)
    def test_refusal(self, chunking: str) -> None:
        """Where there is no socket, our client goes on with TCP."""
        cookie = REFUSED[4].data[-9:-1]
        dialling = Dialling.begin(cookie)
        dialling.play(REFUSED[:-2], chunking)
        assert isinstance(dialling.result.result, Connection)
        assert not dialling.reactor.unixClients
        assert not dialling.transports["tcp"].ended

    @pytest.mark.parametrize("chunking", CHUNKINGS)
    def test_other_address(self, chunking: str) -> None:
        """A server with another address than ours is not asked."""
        dialling = Dialling.begin(host="127.0.0.2")
        dialling.play(APART[:-2], chunking)
        assert isinstance(dialling.result.result, Connection)

    def test_wrong_cookie(self, move) -> None:
        """A socket that does not know our cookie is not the server's: no connection."""
        dialling = Dialling.begin(cookie_of(move, "client"))
        end = next(
            n
            for n, event in enumerate(move)
            if event.channel == "unix" and event.data == cookie_of(move, "client")
        )
        dialling.play(move[:end], "at once")
        dialling.transports["unix"].deliver([b"8 others"])
        dialling.transports["unix"].pump()
        failure: Any = dialling.result.result
        dialling.result.addErrback(lambda _: None)
        assert failure.check(ConnectionFailed)
        text = f"{HOST}:6971: the Unix socket is not the server's"
        assert failure.getErrorMessage() == text
        assert dialling.transports["unix"].disconnected


def test_recordings_are_what_they_are_taken_for() -> None:
    """The events begin with CONNECT, and the moves have both cookies."""
    for events in (BOTH, REFUSED, APART, *MOVES.values()):
        assert events[0].data == CONNECT
        assert events[1].data == ACCEPTED
    for events in MOVES.values():
        assert len({cookie_of(events, "client"), cookie_of(events, "server")}) == 2
