"""Taking in the objects of a stream."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from srpc.peers import GatedWorker, Link, Recorder, make_server
from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from imageserver import gob
from imageserver.disk import Disk
from imageserver.errors import RequestError
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.object_messages import AddObjectRequest, AddObjectResponse
from imageserver.objects.intake import Intake
from imageserver.objects.store import INCOMING, ObjectStore
from imageserver.rpc import reception as reception_module
from imageserver.rpc.reception import Reception
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.methods import Method
from imageserver.testing import InlineWorker
from imageserver.worker import PoolWorker

MIB = 1 << 20
LIMIT = 10 * MIB
DEADLINES = Deadlines(body_s=3, stall_s=4)


def sha(data: bytes) -> bytes:
    """The name of an object."""
    return hashlib.sha512(data).digest()


class FailingIntake(Intake):
    """An intake that fails at one of its steps, as nothing should."""

    def __init__(self, store: ObjectStore, fails_at: int) -> None:
        super().__init__(store)
        self.steps: list[str] = []
        self._fails_at = fails_at

    def _count(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self._fails_at:
            raise ZeroDivisionError

    def begin(self, length: int, expected_hash: bytes | None) -> None:
        self._count("begin")
        super().begin(length, expected_hash)

    def write(self, data: bytes) -> None:
        self._count("write")
        super().write(data)

    def commit(self) -> Any:
        self._count("commit")
        return super().commit()


class ReceptionCase(SynchronousTestCase):
    """One stream into a store of its own."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        for name in ("objects", "images"):
            (self.directory / name).mkdir()
        self.index = SqliteIndex(
            self.directory / "index",
            self.directory / "objects",
            self.directory / "images",
        )
        self.index.open()
        self.addCleanup(self.index.close)
        self.store = ObjectStore(
            self.directory / "objects", self.index, Disk(), lambda: 0
        )
        self.store.open()
        self.intake: Intake = Intake(self.store)
        self.make_intake: Any = lambda: self.intake
        self.clock = Clock()
        self.worker: Any = InlineWorker()
        self.link: Any = None
        self.connect()

    def connect(self) -> None:
        """Begin a stream, in place of the one before."""
        if self.link is not None:
            self.link.left.lose(ConnectionLost())
            self.link.right.lose(ConnectionLost())
        methods = [Method("ObjectServer", "AddObjects", stream=self.add_objects)]
        self.server = make_server(self.clock, methods, deadlines=DEADLINES)
        self.peer = Recorder()
        self.channel = Channel(self.clock, DEADLINES)
        self.link = Link(self.clock, self.channel, self.peer)
        self.server.serve(self.channel, True, "")
        self.encoder = gob.Encoder()
        self.decoder = gob.Decoder()
        self.send(b"ObjectServer.AddObjects\n")
        self.assertEqual(self.peer.take(), b"\n")

    async def add_objects(self, call: Call) -> None:
        reception = Reception(call, self.make_intake, self.worker, self.check_length)
        await reception.run()

    def check_length(self, length: int) -> None:
        if length > LIMIT:
            raise RequestError("too long")

    def object(self, data: bytes, hash_: bytes | None = None) -> bytes:
        """An object as it is sent."""
        return self.encoder.encode(AddObjectRequest(len(data), hash_)) + data

    def end(self) -> bytes:
        """The end mark."""
        return self.encoder.encode(AddObjectRequest())

    def send(self, data: bytes) -> None:
        """The client sends something."""
        self.peer.transport.write(data)
        self.link.pump()

    def responses(self) -> list[AddObjectResponse]:
        """What was answered since the last time."""
        data, position, responses = self.peer.data, 0, []
        while position < len(data) and data[position:] != b"\n":
            found = gob.next_message(data, position, gob.DEFAULT_LIMITS)
            message, position = found
            value = self.decoder.feed(message, AddObjectResponse)
            if value is not gob.MORE:
                responses.append(value)
        self.peer.data = data[position:]
        return responses

    def assertStored(self, *objects: bytes) -> None:
        """The store has these objects and nothing else, and no leftovers."""
        files = [p for p in self.store.directory.rglob("*") if p.is_file()]
        self.assertEqual(sorted(p.read_bytes() for p in files), sorted(objects))
        sizes = self.index.object_sizes([sha(data) for data in objects])
        self.assertEqual(sizes, {sha(data): len(data) for data in objects})
        self.assertEqual(list((self.store.directory / INCOMING).iterdir()), [])

    def assertUsable(self) -> None:
        """The next call works."""
        self.send(b"\n")
        self.assertEqual(self.peer.take(), b"\n")

    def assertEnded(self) -> None:
        """The connection is closed."""
        self.assertIsNotNone(self.peer.ended)
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Answers(ReceptionCase):
    """What the client gets to know."""

    def test_in_order(self):
        """Each object is answered, in order; errors in between end nothing."""
        one, two, three = b"one", b"2" * 300_000, b"three"
        self.send(
            self.object(one)
            + self.object(two, sha(two))
            + self.object(b"wrong", sha(b"right"))
            + self.object(one)
            + self.object(three, sha(three))
            + self.end()
        )
        text = f"hash mismatch. Computed={sha(b'wrong').hex()}, expected="
        wrong = AddObjectResponse(text + sha(b"right").hex(), sha(b"wrong"), False)
        self.assertEqual(
            self.responses(),
            [
                AddObjectResponse("", sha(one), True),
                AddObjectResponse("", sha(two), True),
                wrong,
                AddObjectResponse("", sha(one), False),
                AddObjectResponse("", sha(three), True),
            ],
        )
        self.assertStored(one, two, three)
        self.assertUsable()

    def test_nothing(self):
        """A stream of nothing is answered with nothing; the connection goes on."""
        self.send(self.end())
        self.assertEqual(self.peer.data, b"")
        self.assertUsable()

    def test_byte_by_byte(self):
        """It does not matter how the bytes come."""
        data = self.object(b"one") + self.object(b"two") + self.end()
        for byte in data:
            self.send(bytes([byte]))
        self.assertEqual(len(self.responses()), 2)
        self.assertStored(b"one", b"two")
        self.assertUsable()

    def test_many(self):
        """Thousands of small objects, more than a group, are all answered."""
        objects = [str(n).encode() for n in range(2500)]
        self.send(b"".join(map(self.object, objects)) + self.end())
        hashes = [response.hash_ for response in self.responses()]
        self.assertEqual(hashes, [sha(data) for data in objects])
        self.assertStored(*objects)
        self.assertUsable()

    def test_two_streams(self):
        """The next stream on the same connection starts afresh."""
        self.send(self.object(b"one") + self.end())
        self.assertEqual(len(self.responses()), 1)
        self.intake = Intake(self.store)
        self.encoder, self.decoder = gob.Encoder(), gob.Decoder()
        self.send(b"ObjectServer.AddObjects\n" + self.object(b"two") + self.end())
        self.assertEqual(self.peer.data[:1], b"\n")
        self.peer.data = self.peer.data[1:]
        self.assertEqual([r.hash_ for r in self.responses()], [sha(b"two")])
        self.assertStored(b"one", b"two")

    def test_too_long(self):
        """A too long object: the ones before are kept, it gets an error, the end."""
        request = self.encoder.encode(AddObjectRequest(1))
        long = self.encoder.encode(AddObjectRequest(LIMIT + 1))
        self.send(request + b"a" + long + b"x" * MIB)
        first, second = self.responses()
        self.assertEqual(first, AddObjectResponse("", sha(b"a"), True))
        self.assertEqual((second.error, second.added), ("too long", False))
        self.assertStored(b"a")
        self.assertEnded()

    def test_garbage(self):
        """What is no request ends the stream; complete objects are answered."""
        self.send(self.object(b"one") + b"\x03\x04\x00\x06")
        self.assertEqual([r.hash_ for r in self.responses()], [sha(b"one")])
        self.assertStored(b"one")
        self.assertEnded()


class Groups(ReceptionCase):
    """Objects are brought to disk, and answered, in groups."""

    def test_not_before_the_commit(self):
        """Nothing is answered before it is on disk."""
        self.worker = GatedWorker()
        self.connect()
        self.send(self.object(b"one") + self.object(b"two") + self.end())
        for _ in range(2):  # what has come, then the commit
            self.assertEqual(self.peer.data, b"")
            self.worker.release()
            self.link.pump()
        self.assertEqual(len(self.responses()), 2)
        self.assertStored(b"one", b"two")

    def test_next_group(self):
        """While a group is brought to disk the next one comes, but no third one."""
        self.patch(reception_module, "_GROUP_OBJECTS", 1)
        self.worker = GatedWorker()
        self.make_intake = lambda: Intake(self.store)
        self.connect()
        objects = [b"one", b"two", b"three"]
        for data in objects:
            self.send(self.object(data))
        self.worker.release()  # the first one has come
        self.link.pump()
        self.assertEqual(self.worker.runs, 3)  # ... and is committed beside the second
        commit, steps = self.worker.waiting
        self.worker.waiting = [steps]
        self.worker.release()
        self.link.pump()
        self.assertEqual(self.worker.runs, 3)
        self.assertEqual(self.peer.data, b"")
        self.worker.waiting = [commit]
        self.send(self.end())
        while self.worker.waiting:
            self.worker.release()
            self.link.pump()
        hashes = [response.hash_ for response in self.responses()]
        self.assertEqual(hashes, [sha(data) for data in objects])
        self.assertStored(*objects)
        self.assertUsable()

    def test_again_in_the_next_group(self):
        """An object that comes again, before it is on disk, is new once."""
        self.patch(reception_module, "_GROUP_OBJECTS", 1)
        for expected in (False, True):
            self.setUp()
            self.worker = GatedWorker()
            self.make_intake = lambda: Intake(self.store)
            self.connect()
            hash_ = sha(b"one") if expected else None
            self.send(self.object(b"one", hash_) + self.object(b"one", hash_))
            self.send(self.object(b"one", hash_) + self.end())
            while self.worker.waiting:
                self.worker.waiting.reverse()  # what came last is quickest
                self.worker.release()
                self.link.pump()
            added = [response.added for response in self.responses()]
            self.assertEqual(added, [True, False, False])
            self.assertStored(b"one")

    def test_failure_while_the_next_group_comes(self):
        """A failed commit ends the stream; what came meanwhile is not kept."""
        self.patch(reception_module, "_GROUP_OBJECTS", 1)
        self.worker = GatedWorker()
        intakes = [FailingIntake(self.store, fails_at=3), Intake(self.store)]
        self.make_intake = lambda: intakes.pop(0) if intakes else Intake(self.store)
        self.connect()
        self.send(self.object(b"one") + self.object(b"two") + self.object(b"three"))
        while self.worker.waiting:
            self.worker.release()
            self.link.pump()
        self.assertEqual(self.peer.data, b"")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEnded()
        self.assertStored()

    def test_failed_commit(self):
        """What could not be brought to disk is not acknowledged."""
        self.intake = FailingIntake(self.store, fails_at=5)
        self.connect()
        self.send(self.object(b"one") + self.object(b"two") + self.end())
        self.assertEqual(self.peer.data, b"")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEnded()
        self.assertStored()

    def test_number_of_objects(self):
        """A group is full with so many objects."""
        self.patch(reception_module, "_GROUP_OBJECTS", 2)
        self.send(self.object(b"one"))
        self.assertEqual(self.peer.data, b"")
        self.send(self.object(b"two"))
        self.assertEqual(len(self.responses()), 2)
        self.send(self.object(b"three"))
        self.assertEqual(self.peer.data, b"")
        self.send(self.end())
        self.assertEqual(len(self.responses()), 1)

    def test_number_of_bytes(self):
        """A group is full with so many bytes."""
        self.patch(reception_module, "_GROUP_BYTES", 100)
        self.send(self.object(b"x" * 99))
        self.assertEqual(self.peer.data, b"")
        self.send(self.object(b"y"))
        self.assertEqual(len(self.responses()), 2)

    def test_time(self):
        """An object that comes late completes its group."""
        self.send(self.object(b"one"))
        self.assertEqual(self.peer.data, b"")
        self.clock.advance(1.1)
        self.send(self.object(b"two"))
        self.assertEqual(len(self.responses()), 2)
        self.send(self.object(b"three"))
        self.assertEqual(self.peer.data, b"")


class Losses(ReceptionCase):
    """Clients that vanish, and work that fails."""

    def test_vanishing_client(self):
        """Complete objects are kept, half an object leaves nothing."""
        for missing in (104, 1):  # the whole object, or its last byte
            data = self.object(b"one") + self.object(b"two") + self.object(b"x" * 100)
            self.send(data[:-missing])
            self.peer.transport.abortConnection()
            self.link.pump()
            self.assertEnded()
            self.assertStored(b"one", b"two")
            self.intake = Intake(self.store)
            self.connect()

    def test_vanishing_in_any_place(self):
        """Wherever the stream is cut, complete objects are kept."""
        data = self.object(b"one") + self.object(b"two")
        for length in range(0, len(data), 7):
            self.setUp()
            first = self.object(b"one")
            self.send((first + self.object(b"two"))[:length])
            self.peer.transport.loseConnection()
            self.link.pump()
            self.assertEnded()
            self.assertStored(*([b"one"] if length >= len(first) else []))

    def test_silent_client(self):
        """A client that goes silent is cut off; complete objects are kept."""
        self.send(self.object(b"one") + self.object(b"x" * 100)[:-1])
        self.clock.advance(DEADLINES.body_s + 0.1)
        self.link.pump()
        self.assertEnded()
        self.assertStored(b"one")

    def test_vanished_while_the_worker_is_busy(self):
        """The intake is not given back before the worker has done everything."""
        self.worker = GatedWorker()
        self.connect()
        self.send(self.object(b"x" * (2 * MIB)) + self.object(b"one"))
        self.peer.transport.abortConnection()
        self.link.pump()
        self.assertEqual(self.server.accounting.running_calls, 1)
        while self.worker.waiting:
            self.worker.release()
            self.link.pump()
        self.assertEnded()
        self.assertStored(b"x" * (2 * MIB), b"one")

    def test_slow_worker_slows_the_client(self):
        """While the worker is busy, little more is read from the client."""
        self.worker = GatedWorker()
        self.connect()
        self.send(self.object(b"x" * LIMIT))
        self.assertTrue(self.channel.transport.paused)
        left = len(self.peer.transport.outgoing)
        self.assertGreater(left, LIMIT - 4 * MIB)
        while self.worker.waiting:
            self.worker.release()
            self.link.pump()
        self.send(self.end())
        self.worker.release()
        self.link.pump()
        self.worker.release()
        self.link.pump()
        self.assertEqual([r.hash_ for r in self.responses()], [sha(b"x" * LIMIT)])

    def test_failing_worker(self):
        """After a failure nothing more is done with the intake, nor answered.

        Otherwise bytes would be missing in the middle of an object.
        """
        for fails_at in range(1, 7):
            self.intake = FailingIntake(self.store, fails_at)
            self.connect()
            self.send(self.object(b"x" * (3 * MIB)) + self.object(b"one") + self.end())
            self.assertEqual(len(self.intake.steps), fails_at)
            self.assertEqual(self.peer.data, b"")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEnded()
        self.assertStored()

    def test_client_that_reads_nothing(self):
        """Responses do not pile up; in the end the client is cut off."""
        self.patch(reception_module, "_UNREAD_RESPONSES", 50)
        self.patch(reception_module, "_GROUP_OBJECTS", 100)
        objects = [b"%05d" % n for n in range(2000)]
        self.peer.transport.pauseProducing()
        self.send(b"".join(map(self.object, objects)) + self.end())
        self.assertLess(len(self.channel.transport.outgoing), 100 << 10)
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.link.pump()
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(list((self.store.directory / INCOMING).iterdir()), [])


class Threads(TestCase):
    """The same with threads."""

    timeout = 60

    async def test_many_groups(self):
        """Thousands of objects in small groups are answered in order, and stored."""
        case = ReceptionCase()
        case.addCleanup = self.addCleanup
        self.patch(reception_module, "_GROUP_OBJECTS", 50)
        self.patch(reception_module, "_BATCH_STEPS", 30)
        case.setUp()
        case.worker = PoolWorker(reactor, "test", 4)
        case.worker.startService()
        self.addCleanup(case.worker.stopService)
        case.make_intake = lambda: Intake(case.store)
        case.connect()
        objects = [b"object %d" % (n % 1500) for n in range(2000)]
        case.peer.transport.write(b"".join(map(case.object, objects)) + case.end())
        answers = []
        while len(answers) < len(objects) or case.server.accounting.running_calls:
            case.link.pump()
            answers += case.responses()
            await deferLater(reactor, 0.001)
        self.assertEqual([a.hash_ for a in answers], [sha(data) for data in objects])
        self.assertEqual([a.added for a in answers], [True] * 1500 + [False] * 500)
        case.assertStored(*objects[:1500])
