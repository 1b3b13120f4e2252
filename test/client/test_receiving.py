"""Objects that come one behind the other, on their way to where they go."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
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


class Threads:
    """A worker whose work goes on when nobody waits for it any more."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        """See ``Worker``; the thread of the test is the only one that is told."""
        self.threads.append(threading.Thread(target=function, args=args))
        self.threads[-1].start()
        return Deferred()


def test_cancelled() -> None:
    """When it is given up, no thread uses a writer any more; nor does one later."""
    entered, goes_on = (threading.Event() for _ in range(2))
    written: list[bytes] = []

    class Slow(Sink):
        def write(self, data: bytes) -> None:
            entered.set()
            goes_on.wait(10)
            written.append(data)

    worker = Threads()
    objects = [(b"a", 4 << 20), (b"b", 4 << 20)]
    receiving = Receiving(worker, objects, lambda _: Slow(), lambda *_: None)
    Deferred.fromCoroutine(receiving.add(bytes(2 << 20)))
    waiting = Deferred.fromCoroutine(receiving.add(bytes(2 << 20)))
    entered.wait(10)
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    Deferred.fromCoroutine(receiving.give_up())
    assert len(worker.threads) == 2
    worker.threads[1].join(0.05)
    assert worker.threads[1].is_alive()  # it waits for the first one
    goes_on.set()
    for thread in worker.threads:
        thread.join(10)
    assert written == [bytes(2 << 20)]


@attrs.define(eq=False)
class FakeCall:
    """A GetObjects call, answered from a dictionary; ``break_`` ends it half-way."""

    stored: dict[bytes, bytes]
    break_: BaseException | None = None
    error: str = ""
    wanted: tuple[bytes, ...] = ()
    data: bytes = b""

    @property
    def channel(self) -> FakeCall:
        """Itself."""
        return self

    def expect_much(self) -> None:
        """See ``Channel``."""

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
        if self.break_ is not None and len(self.data) < 1_500:
            raise self.break_
        piece, self.data = self.data[: min(limit, 7)], self.data[min(limit, 7) :]
        return piece


class Fetching(SynchronousTestCase):
    """Objects of a server."""

    def setUp(self) -> None:
        """Some objects."""
        contents = [b"%06d" % number for number in range(500)]
        self.stored = {hash_of(content): content for content in contents}
        self.sinks: dict[bytes, Sink] = {}
        self.told = [0, 0]

    def fetch(self, call: FakeCall, sink: type[Sink] = Sink) -> Deferred[None]:
        """Fetch everything by one call."""

        class Remote:
            @asynccontextmanager
            async def begin(_, method: str) -> AsyncIterator[FakeCall]:
                assert method == "ObjectServer.GetObjects"
                yield call

        def count(objects: int, size: int) -> None:
            self.told[0] += objects
            self.told[1] += size

        client = ObjectServerClient(Remote(), InlineWorker())
        work = client.get_objects(
            list(self.stored),
            lambda hash_: self.sinks.setdefault(hash_, sink()),
            count,
        )
        return Deferred.fromCoroutine(work)

    def test_everything(self) -> None:
        """Objects come in order, and all of them are told."""
        self.successResultOf(self.fetch(FakeCall(self.stored)))
        self.assertEqual({h: s.data for h, s in self.sinks.items()}, self.stored)
        self.assertEqual(list(self.sinks), list(self.stored))
        self.assertEqual(self.told, [500, 3_000])

    def test_break(self) -> None:
        """What ends the connection is told; what came before is kept, and no more."""
        broken = PeerClosed("broken")
        done = self.fetch(FakeCall(self.stored, break_=broken))
        self.assertIs(self.failureResultOf(done).value, broken)
        finished = [sink for sink in self.sinks.values() if sink.is_finished]
        self.assertEqual(self.told, [len(finished), 1_505])
        self.assertEqual([s.data for s in finished], list(self.stored.values())[:250])

    def test_refusal(self) -> None:
        """What the server says is told."""
        done = self.fetch(FakeCall(self.stored, error="unknown object"))
        error = self.failureResultOf(done, CallError).value
        self.assertEqual(str(error), "unknown object")

    def test_other_sizes(self) -> None:
        """A server that speaks of other objects than were asked for is not believed."""

        class Wrong(FakeCall):
            async def receive(self, _: type) -> GetObjectsResponse:
                return GetObjectsResponse("", (1,))

        self.failureResultOf(self.fetch(Wrong(self.stored)), RemoteProtocolError)

    def test_writer_fails(self) -> None:
        """What a writer raises is told."""
        done = self.fetch(FakeCall(self.stored), Full)
        self.assertEqual(str(self.failureResultOf(done, OSError).value), "full")
