"""ImportObjects: what is fetched, counted and kept."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any

from rpc.web import Response, Web, range_start, serve
from srpc.peers import GatedWorker
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import RequestError
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import (
    ImportObjectsRequest,
    ImportObjectsResponse,
)
from imageserver.objects.memory import MemoryStorage
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import LANES, ObjectImports
from imageserver.srpc.access import ANONYMOUS, Caller
from imageserver.testing import InlineWorker

BASE = "http://example.com:8000/objects"
CONTENTS = [b"object %d" % number * (number + 1) for number in range(50)]
BYTES = sum(map(len, CONTENTS))


def files(contents: list[bytes]) -> dict[bytes, bytes]:
    """What a server has, by name."""
    return {hash_of(content).hex().encode(): content for content in contents}


class Imports(SynchronousTestCase):
    """Imports into a storage in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.storage = MemoryStorage()
        self.worker: Any = InlineWorker()
        self.departures: list[Deferred[None]] = []
        self.caller = Caller(ANONYMOUS, True, "", self.departure)

    def departure(self) -> Deferred[None]:
        self.departures.append(Deferred(lambda _: None))
        return self.departures[-1]

    def check_length(self, length: int) -> None:
        if length > 100_000:
            raise RequestError("too long")

    def begin(
        self,
        answer: Any,
        contents: list[bytes] = CONTENTS,
        sizes: list[int] | None = None,
        base: str = BASE,
    ) -> Deferred[ImportObjectsResponse]:
        """Begin to import objects."""
        self.web = Web(answer)
        imports = ObjectImports(
            self.storage,
            self.worker,
            self.web,
            self.clock,
            ImportSources(["http://example.com:8000/"]),
        )
        hashes = tuple(map(hash_of, contents))
        if sizes is None:
            sizes = [*map(len, contents)]
        request = ImportObjectsRequest(base, hashes, tuple(sizes))
        return Deferred.fromCoroutine(
            imports.run(self.caller, request, self.check_length)
        )

    def done(self, importing: Deferred[ImportObjectsResponse]) -> ImportObjectsResponse:
        """What came of it; nothing goes on behind it."""
        response = self.successResultOf(importing)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(all(departure.called for departure in self.departures))
        return response

    def assertStored(self, contents: list[bytes]) -> None:
        """These objects are there, and no others."""
        expected = {hash_of(content): content for content in contents}
        self.assertEqual(self.storage.contents, expected)

    def test_all(self) -> None:
        """Everything is fetched and counted, whether sizes are known or not."""
        sizes = [*map(len, CONTENTS)]
        for known in (sizes, [], [0] * 50, sizes[:10], [*sizes, 7]):
            self.setUp()
            response = self.done(self.begin(serve(files(CONTENTS)), sizes=known))
            self.assertEqual(response, ImportObjectsResponse(BYTES, "", 0, 50))
            self.assertStored(CONTENTS)
            urls = {f"{BASE}/{name.decode()}".encode() for name in files(CONTENTS)}
            self.assertEqual({url for url, _ in self.web.asked}, urls)

    def test_only_what_is_missing(self) -> None:
        """What is here is not asked for, and nothing is asked for twice."""
        for content in CONTENTS[:20]:
            self.storage.contents[hash_of(content)] = content
        wanted = CONTENTS[15:25] + CONTENTS[15:25]
        response = self.done(self.begin(serve(files(CONTENTS)), wanted))
        size = sum(map(len, CONTENTS[20:25]))
        self.assertEqual(response, ImportObjectsResponse(size, "", 0, 5))
        self.assertEqual(len(self.web.asked), 5)
        response = self.done(self.begin(serve({}), wanted, base="not even a URL"))
        self.assertEqual(response, ImportObjectsResponse())
        self.assertEqual(self.web.asked, [])

    def test_existing_size(self) -> None:
        """What is here with another size is an error, and nothing is fetched."""
        self.storage.contents[hash_of(CONTENTS[3])] = CONTENTS[3]
        sizes = [*map(len, CONTENTS)]
        sizes[3] += 1
        response = self.done(self.begin(serve(files(CONTENTS)), sizes=sizes))
        name = hash_of(CONTENTS[3]).hex()
        text = f"existing size: {sizes[3] - 1} != {sizes[3]} for: {name}"
        self.assertEqual(response, ImportObjectsResponse(error=text, failed_index=3))
        self.assertEqual(self.web.asked, [])

    def test_source(self) -> None:
        """Other sources are not asked."""
        self.storage.contents[hash_of(CONTENTS[0])] = CONTENTS[0]
        base = "http://169.254.169.254/latest"
        response = self.done(self.begin(serve(files(CONTENTS)), base=base))
        text = f"imports from {base} are not allowed (-importSources)"
        self.assertEqual(response, ImportObjectsResponse(error=text, failed_index=1))
        self.assertEqual(self.web.asked, [])

    def check_failure(self, answer: Any, place: int, text: str, **options: Any) -> None:
        """One object is not to be had: it is named; what is complete is kept."""
        response = self.done(self.begin(answer, **options))
        self.assertEqual(response.failed_index, place)
        self.assertIn(text, response.error)
        self.assertEqual(response.objects_added, len(self.storage.contents))
        sizes = map(len, self.storage.contents.values())
        self.assertEqual(response.bytes_added, sum(sizes))
        self.assertLess(len(self.storage.contents), 50)
        self.assertGreater(len(self.storage.contents), 0)
        for hash_, content in self.storage.contents.items():
            self.assertEqual(hash_of(content), hash_)

    def test_missing(self) -> None:
        """One that the source does not have."""
        there = files(CONTENTS)
        name = hash_of(CONTENTS[30]).hex()
        del there[name.encode()]
        text = f"error getting reader for: {BASE}/{name}: 404 Not Found"
        self.check_failure(serve(there), 30, text)
        self.assertLess(len(self.web.asked), 50)  # nothing is fetched in vain

    def test_wrong_content(self) -> None:
        """One that is not what its name says."""
        there = files(CONTENTS)
        there[hash_of(CONTENTS[30]).hex().encode()] = CONTENTS[30][::-1]
        self.check_failure(serve(there), 30, "hash mismatch. Computed=")

    def test_wrong_size(self) -> None:
        """One that is not of the size that the client says."""
        sizes = [*map(len, CONTENTS)]
        sizes[30] += 1
        text = f"size {sizes[30] - 1} != {sizes[30]}"
        self.check_failure(serve(files(CONTENTS)), 30, text, sizes=sizes)

    def test_too_long(self) -> None:
        """One that must not be stored."""
        contents = [*CONTENTS]
        contents[30] = bytes(100_001)
        answer = serve(files(contents))
        self.check_failure(answer, 30, "too long", contents=contents)

    def test_empty(self) -> None:
        """One without content, which is no object."""
        contents = [*CONTENTS]
        contents[30] = b""
        answer = serve(files(contents))
        self.check_failure(answer, 30, "at least one byte", contents=contents)

    def test_together(self) -> None:
        """So many are asked for at a time, and no more."""
        answers: list[Deferred[Any]] = []

        def answer(*_: Any) -> Deferred[Any]:
            answers.append(Deferred())
            return answers[-1]

        importing = self.begin(answer)
        self.assertEqual(len(answers), LANES)
        number = 0
        while number < len(answers):
            name = self.web.asked[number][0].rpartition(b"/")[2]
            answers[number].callback(Response(200, files(CONTENTS)[name]))
            number += 1
            self.assertLessEqual(len(answers) - number, LANES)
        self.assertEqual(self.done(importing).objects_added, 50)

    def test_client_goes_away(self) -> None:
        """Nothing more is fetched for nobody; what is complete is kept."""
        held = Response(200, CONTENTS[9], hold=True)
        there = serve(files(CONTENTS))

        def answer(url: bytes, headers: Any) -> Any:
            if url.endswith(hash_of(CONTENTS[9]).hex().encode()):
                return held
            return there(url, headers)

        importing = self.begin(answer)
        self.assertNoResult(importing)
        self.assertEqual(len(self.web.asked), 50)
        self.departures[0].callback(None)
        response = self.done(importing)
        self.assertEqual(
            (response.objects_added, response.error), (49, "the client has left")
        )
        self.assertTrue(held.stopped)
        self.assertStored(CONTENTS[:9] + CONTENTS[10:])

    def test_client_goes_away_at_any_time(self) -> None:
        """The worker is never left alone with an intake."""
        for rounds in range(12):
            self.setUp()
            self.worker = GatedWorker()
            importing = self.begin(serve(files(CONTENTS)))
            for _ in range(rounds):
                self.worker.release()
            if self.departures and not importing.called:
                self.departures[0].callback(None)
            while self.worker.waiting:
                self.worker.release()
            self.done(importing)

    def test_resumed(self) -> None:
        """An object that is cut off in the middle comes whole."""
        content = bytes(range(256)) * 100
        cuts = iter([10_000, 7, None])

        def answer(_: bytes, headers: Any) -> Response:
            start = range_start(headers)
            where = {b"Content-Range": [b"bytes %d-1/2" % start]}
            code = 206 if start else 200
            return Response(code, content[start:], headers=where, cut_at=next(cuts))

        importing = self.begin(answer, [content])
        self.clock.advance(1)
        self.clock.advance(1)
        response = self.done(importing)
        self.assertEqual(response, ImportObjectsResponse(len(content), "", 0, 1))
        self.assertStored([content])

    def test_no_space_left(self) -> None:
        """What cannot be stored is told, with its place."""
        self.worker = BrokenIntakes(self.storage)
        response = self.done(self.begin(serve(files(CONTENTS))))
        self.assertEqual(response.error, "cannot store: No space left on device")
        self.assertEqual(response.objects_added, 0)

    def test_several_calls(self) -> None:
        """Two calls at a time; a third one waits, and gets its turn."""
        held: list[Deferred[Any]] = []

        def answer(*_: Any) -> Deferred[Any]:
            held.append(Deferred())
            return held[-1]

        imports = ObjectImports(
            self.storage,
            self.worker,
            Web(answer),
            self.clock,
            ImportSources([BASE]),
        )
        running = [
            Deferred.fromCoroutine(
                imports.run(
                    self.caller,
                    ImportObjectsRequest(BASE, (hash_of(content),), ()),
                    self.check_length,
                )
            )
            for content in CONTENTS[:3]
        ]
        self.assertEqual(len(held), 2)
        for number in range(3):
            held[number].callback(Response(200, CONTENTS[number]))
        for deferred in running:
            self.assertEqual(self.done(deferred).objects_added, 1)


class BrokenIntakes(InlineWorker):
    """A worker in whose hands every commit fails."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        result = super().run(function, *args, **kwargs)
        if getattr(function, "__name__", "") == "commit":
            self._storage.contents.clear()
            return result.addCallback(
                lambda outcomes: [
                    type(outcome)(
                        outcome.hash_, error="cannot store: No space left on device"
                    )
                    for outcome in outcomes
                ]
            )
        return result
