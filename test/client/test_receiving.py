"""Objects that come one behind the other, and over several connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from imageserver.client.object_server import ObjectServerClient
from imageserver.client.receiving import Receiving
from imageserver.errors import CallError, PeerClosed, RemoteProtocolError
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import GetObjectsResponse
from imageserver.testing import InlineWorker


@attrs.define
class Sink:
    """Keeps an object."""

    data: bytes = b""
    is_finished: bool = False

    def write(self, data: bytes) -> None:
        """See ``Writer``."""
        assert data
        assert not self.is_finished
        self.data += data

    def finish(self) -> None:
        """See ``Writer``."""
        self.is_finished = True


class Full(Sink):
    """Takes nothing."""

    def write(self, data: bytes) -> None:
        """See ``Writer``."""
        raise OSError("full")


def run(work: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    return results[0]


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """Pieces of any size."""
    while data:
        size = next(sizes, len(data))
        yield data[:size]
        data = data[size:]


@given(
    st.lists(st.binary(max_size=20), max_size=12),
    st.lists(st.integers(1, 30), max_size=30),
)
def test_division(contents: list[bytes], sizes: list[int]) -> None:
    """However the bytes are cut, each object gets its own; empty ones get nothing."""
    numbered = {b"%d" % number: content for number, content in enumerate(contents)}
    sinks: dict[bytes, Sink] = {}
    told: list[tuple[int, int]] = []

    async def receive() -> None:
        receiving = Receiving(
            InlineWorker(),
            [(name, len(content)) for name, content in numbered.items()],
            lambda name: sinks.setdefault(name, Sink()),
            lambda *progress: told.append(progress),
        )
        for piece in cut(b"".join(contents), iter(sizes)):
            await receiving.add(piece)
        await receiving.finish()

    run(receive())
    filled = {name: content for name, content in numbered.items() if content}
    assert {name: sink.data for name, sink in sinks.items()} == filled
    assert all(sink.is_finished for sink in sinks.values())
    assert list(sinks) == list(filled)
    assert sum(objects for objects, _ in told) == len(filled)
    assert sum(size for _, size in told) == len(b"".join(contents))


@attrs.define(eq=False)
class FakeCall:
    """A GetObjects call, answered from a dictionary.

    ``gate`` holds it up, ``break_`` ends it after the response.
    """

    stored: dict[bytes, bytes]
    gate: Deferred[None] | None = None
    break_: BaseException | None = None
    error: str = ""
    is_aborted: bool = False
    wanted: tuple[bytes, ...] = ()
    data: bytes = b""

    @property
    def channel(self) -> FakeCall:
        """Itself."""
        return self

    def expect_much(self) -> None:
        """See ``Channel``."""

    def abort(self) -> None:
        """See ``Channel``."""
        self.is_aborted = True
        if self.gate is not None and not self.gate.called:
            self.gate.errback(PeerClosed("aborted"))

    def send(self, request: Any) -> None:
        """See ``Call``."""
        self.wanted = request.hashes

    async def drain(self) -> None:
        """See ``Call``."""

    async def receive(self, _: type) -> GetObjectsResponse:
        """See ``Call``."""
        sizes = tuple(len(self.stored[hash_]) for hash_ in self.wanted)
        self.data = b"".join(self.stored[hash_] for hash_ in self.wanted)
        return GetObjectsResponse(self.error, sizes)

    async def receive_bytes(self, limit: int) -> bytes:
        """See ``Call``."""
        if self.gate is not None:
            await self.gate
        if self.break_ is not None:
            raise self.break_
        piece, self.data = self.data[: min(limit, 7)], self.data[min(limit, 7) :]
        return piece


class Streams(SynchronousTestCase):
    """Objects over several connections."""

    def setUp(self) -> None:
        """Four thousand and some objects."""
        contents = [b"%06d" % number for number in range(4_500)]
        self.stored = {hash_of(content): content for content in contents}
        self.calls: list[FakeCall] = []
        self.sinks: dict[bytes, Sink] = {}
        self.told = [0, 0]
        self.opened: Deferred[None] = succeed(None)

    def fetch(
        self, make: Callable[[int], FakeCall], streams: int = 2, sink: type[Sink] = Sink
    ) -> Deferred[None]:
        """Fetch everything; ``make`` makes the first call, the second and so on."""

        class Remote:
            @asynccontextmanager
            async def begin(_, method: str) -> AsyncIterator[FakeCall]:
                assert method == "ObjectServer.GetObjects"
                await self.opened
                call = make(len(self.calls))
                self.calls.append(call)
                yield call

        def count(objects: int, size: int) -> None:
            self.told[0] += objects
            self.told[1] += size

        client = ObjectServerClient(Remote(), InlineWorker())  # type: ignore[arg-type]
        work = client.get_objects(
            list(self.stored),
            lambda hash_: self.sinks.setdefault(hash_, sink()),
            count,
            streams,
        )
        return Deferred.fromCoroutine(work)

    def check(self) -> None:
        """Everything has come, once."""
        self.assertEqual({h: s.data for h, s in self.sinks.items()}, self.stored)
        self.assertEqual(self.told, [4_500, 27_000])

    def test_one(self) -> None:
        """One connection is one call, and objects come in order."""
        self.successResultOf(self.fetch(lambda _: FakeCall(self.stored), 1))
        self.check()
        self.assertEqual(len(self.calls), 1)
        self.assertEqual(list(self.sinks), list(self.stored))

    def test_several(self) -> None:
        """While one connection is slow, the other fetches what there is."""
        gate: Deferred[None] = Deferred()
        done = self.fetch(lambda n: FakeCall(self.stored, None if n else gate))
        self.assertNoResult(done)
        self.assertEqual([len(c.wanted) for c in self.calls], [2_000, 2_000, 500])
        self.assertEqual(len(self.sinks), 2_500)
        gate.callback(None)
        self.successResultOf(done)
        self.check()

    def test_more_streams_than_work(self) -> None:
        """While connections are being made, nobody else waits for the same objects."""
        self.opened = Deferred()
        done = self.fetch(lambda _: FakeCall(self.stored), streams=5)
        self.opened.callback(None)
        self.successResultOf(done)
        self.check()
        self.assertEqual(len(self.calls), 3)

    def test_failure(self) -> None:
        """One connection that breaks ends the others; its error is told."""
        gate: Deferred[None] = Deferred()
        broken = PeerClosed("broken")
        done = self.fetch(
            lambda n: FakeCall(self.stored, None if n else gate, broken if n else None)
        )
        self.assertIs(self.failureResultOf(done).value, broken)
        self.assertEqual([call.is_aborted for call in self.calls], [True, True])
        self.assertEqual(len(self.calls), 2)

    def test_refusal(self) -> None:
        """What the server says is told."""
        done = self.fetch(lambda _: FakeCall(self.stored, error="unknown object"))
        self.assertEqual(
            str(self.failureResultOf(done, CallError).value), "unknown object"
        )

    def test_other_sizes(self) -> None:
        """A server that speaks of other objects than were asked for is not believed."""

        class Wrong(FakeCall):
            async def receive(self, _: type) -> GetObjectsResponse:
                return GetObjectsResponse("", (1,))

        self.failureResultOf(
            self.fetch(lambda _: Wrong(self.stored)), RemoteProtocolError
        )

    def test_writer_fails(self) -> None:
        """What a writer raises is told; nothing more is fetched."""
        done = self.fetch(lambda _: FakeCall(self.stored), sink=Full)
        self.assertEqual(str(self.failureResultOf(done, OSError).value), "full")
        self.assertLessEqual(len(self.calls), 2)
