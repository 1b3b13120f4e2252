"""A master, a replica and the network between them, in memory, on a virtual clock.

Everything that happens is decided by a seed, so a failure can be looked at again. The
replica is the real one, but for its disk; the master is a model that speaks the real
protocol. See :meth:`World.run` for what is tried, and :meth:`World.must` for what has
to hold at every step.
"""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import attrs
from replication.network import Weather, Wire
from srpc.peers import make_server
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from imageserver import gob
from imageserver.errors import ConnectionFailed, RequestError, StoreError
from imageserver.gob import Time
from imageserver.images.admission import Admitted
from imageserver.images.changes import Operation
from imageserver.images.replica import Inventory
from imageserver.model.hash import hash_of
from imageserver.model.image import Directory, DirectoryMetadata, Image
from imageserver.model.image_messages import (
    CheckImageRequest,
    CheckImageResponse,
    GetFilteredImageUpdatesRequest,
    GetImageExpirationRequest,
    GetImageExpirationResponse,
    GetImageRequest,
    GetImageResponse,
    GetReplicationMasterRequest,
    GetReplicationMasterResponse,
    ImageUpdate,
)
from imageserver.model.names import ROOT, directory_of
from imageserver.model.object_messages import GetObjectsRequest, GetObjectsResponse
from imageserver.objects.memory import MemoryStorage
from imageserver.replication.bandwidth import Schedule, Throttle
from imageserver.replication.replicator import Replicator
from imageserver.replication.rules import Rules
from imageserver.replication.session import Surroundings
from imageserver.rpc.follower import Follower
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.client import Connection
from imageserver.srpc.methods import Method
from imageserver.testing import InlineWorker, make_image

STREAMS = 3
NANOSECONDS = 10**9
LONGEST_S = 3_000.0
DEADLINES = Deadlines(body_s=60.0, stall_s=60.0)
_TICK_S = 1e-5  # the clock is no more precise than that
GROUPS = ("", "staff", "ops")


@cache
def contents() -> tuple[bytes, ...]:
    """The objects that there are; most are small."""
    source = random.Random("contents")
    return tuple(source.randbytes(int(2 ** source.uniform(1, 15))) for _ in range(60))


@cache
def image_of(number: int) -> Image:
    """One of some images, with up to eight objects."""
    source = random.Random(number)
    chosen = source.sample(contents(), source.randint(0, 8))
    files = {f"file{n}": content for n, content in enumerate(chosen)}
    return make_image(files, build_commit_id=str(number))


@cache
def objects_of(number: int) -> frozenset[bytes]:
    """The hashes of its objects."""
    system = image_of(number).file_system
    inodes = system.inodes.values() if system else ()
    return frozenset(inode.hash_ for inode in inodes)


@attrs.frozen
class Entry:
    """An image as the model has it."""

    number: int
    expires_at_s: float | None = None

    def is_over(self, now_s: float) -> bool:
        return self.expires_at_s is not None and self.expires_at_s <= now_s


@attrs.define
class State:
    """Directories and images."""

    directories: dict[str, str] = attrs.field(factory=lambda: {ROOT: ""})
    images: dict[str, Entry] = attrs.field(factory=dict)

    def copy(self) -> State:
        return State(dict(self.directories), dict(self.images))

    def expire(self, now_s: float) -> None:
        self.images = {n: e for n, e in self.images.items() if not e.is_over(now_s)}

    def is_empty(self, directory: str) -> bool:
        children = [n for n in self.directories if n != ROOT]
        return not any(
            directory_of(name) == directory for name in (*children, *self.images)
        )


class Master:
    """A model of a master that speaks the protocol."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = State()
        self.deleted: set[str] = set()
        self.serial = 0
        self.in_flight: list[tuple[Call, set[bytes]]] = []
        self.followers: list[Follower[ImageUpdate]] = []
        self.spoilt: set[bytes] = set()
        self.is_disorderly = world.random.random() < 0.2
        self.kept_back: ImageUpdate | None = None
        self.restart()

    def restart(self) -> None:
        methods = [
            Method("ImageServer", name, request=request, reply=reply)
            for name, request, reply in (
                ("CheckImage", CheckImageRequest, self.check_image),
                ("GetImage", GetImageRequest, self.get_image),
                (
                    "GetImageExpiration",
                    GetImageExpirationRequest,
                    self.get_expiration,
                ),
                (
                    "GetReplicationMaster",
                    GetReplicationMasterRequest,
                    self.get_master,
                ),
            )
        ]
        streams = [
            Method("ImageServer", "GetImageUpdates", stream=self.follow),
            Method("ImageServer", "GetFilteredImageUpdates", stream=self.follow_some),
            Method("ObjectServer", "GetObjects", stream=self.get_objects),
        ]
        self.server = make_server(
            self.world.clock, [*methods, *streams], deadlines=DEADLINES
        )
        self.followers.clear()

    def tell(self, update: ImageUpdate) -> None:
        """Tell of a change; a disorderly master tells of the next image's first."""
        if self.kept_back is not None:
            kept, self.kept_back = self.kept_back, None
            self._tell(update)
            self._tell(kept)
        elif self.is_disorderly and update.directory is None and update.operation < 2:
            self.kept_back = update
            self.world.clock.callLater(0.5, self._tell_late)
        else:
            self._tell(update)

    def _tell_late(self) -> None:
        if self.kept_back is not None:
            kept, self.kept_back = self.kept_back, None
            self._tell(kept)

    def _tell(self, update: ImageUpdate) -> None:
        for follower in self.followers:
            follower.put(update)

    async def check_image(self, _: Any, request: Any) -> CheckImageResponse:
        self.state.expire(self.world.clock.seconds())
        return CheckImageResponse(request.image_name in self.state.images)

    async def get_master(self, *_: Any) -> GetReplicationMasterResponse:
        return GetReplicationMasterResponse()

    async def get_expiration(self, _: Any, request: Any) -> GetImageExpirationResponse:
        entry = self.state.images.get(request.image_name)
        if entry is None:
            return GetImageExpirationResponse("image not found")
        return GetImageExpirationResponse(expires_at=_time(entry.expires_at_s))

    async def get_image(self, _: Any, request: Any) -> GetImageResponse:
        self.state.expire(self.world.clock.seconds())
        entry = self.state.images.get(request.image_name)
        if entry is None:
            return GetImageResponse()
        image = gob.evolve(image_of(entry.number), expires_at=_time(entry.expires_at_s))
        return GetImageResponse(image)

    async def follow_some(self, call: Call) -> None:
        request = await call.receive(GetFilteredImageUpdatesRequest)
        await self._follow(call, ignore_expiring=request.ignore_expiring)

    async def follow(self, call: Call) -> None:
        await self._follow(call, ignore_expiring=False)

    async def _follow(self, call: Call, *, ignore_expiring: bool) -> None:
        follower: Follower[ImageUpdate] = Follower(call, 10_000)
        self.followers.append(follower)
        images = list(self.state.images.items())
        self.world.random.shuffle(images)
        updates = [
            *[
                _made(name, self.state.directories[name])
                for name in sorted(self.state.directories)
            ],
            *[
                ImageUpdate(name)
                for name, entry in images
                if not (ignore_expiring and entry.expires_at_s is not None)
            ],
            ImageUpdate(),
        ]
        try:
            while True:
                for update in updates:
                    is_image = update.operation == Operation.ADD_IMAGE and update.name
                    entry = self.state.images.get(update.name)
                    expires = entry is None or entry.expires_at_s is not None
                    if is_image and ignore_expiring and expires:
                        continue
                    call.send(update)
                    await call.drain()
                updates = await follower.news()
        finally:
            if follower in self.followers:
                self.followers.remove(follower)
            follower.end()

    async def get_objects(self, call: Call) -> None:
        request = await call.receive(GetObjectsRequest)
        wanted = set(request.hashes)
        self.in_flight = [
            (other, hashes)
            for other, hashes in self.in_flight
            if not other.channel.lost
        ]
        must = self.world.must
        must(len(self.in_flight) < STREAMS, "too many streams")
        for _, others in self.in_flight:
            must(not wanted & others, "an object is being fetched twice")
        known_there = wanted & self.world.storage.contents.keys()
        must(not known_there, "an object was there already")
        known = {hash_of(content): content for content in contents()}
        mine = (call, wanted)
        self.in_flight.append(mine)
        try:
            sizes = tuple(len(known[hash_]) for hash_ in request.hashes)
            call.send(GetObjectsResponse("", sizes))
            for hash_ in request.hashes:
                content = known[hash_]
                if hash_ in self.spoilt:
                    self.spoilt.discard(hash_)
                    content = bytes(len(content))
                call.write(content)
                await call.drain()
        finally:
            self.in_flight.remove(mine)


class ReplicaDisk:
    """What a replica has on disk: see ``ReplicaImages``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = State()

    def inventory(self) -> Inventory:
        images = {n: e.expires_at_s is not None for n, e in self.state.images.items()}
        return Inventory(dict(self.state.directories), images)

    def find(self, name: str) -> Any:
        entry = self.state.images.get(name)
        return entry and _Record(name, entry.expires_at_s is not None)

    def put_directory(self, name: str, owner_group: str) -> None:
        self._fail_sometimes()
        if name in self.state.images:
            raise RequestError("an image has that name")
        if directory_of(name) not in self.state.directories:
            raise RequestError("no parent")
        self.state.directories[name] = owner_group

    def add(self, name: str, admitted: Admitted) -> None:
        self._fail_sometimes()
        if directory_of(name) not in self.state.directories:
            raise RequestError("no directory")
        must = self.world.must
        must(name not in self.state.directories, "an image in place of a directory")
        missing = self.world.storage.missing(admitted.summary.object_bytes)
        must(not missing, "an incomplete image")
        number = int(admitted.image.build_commit_id)
        must(set(admitted.references) == objects_of(number), "another image")
        expires_at = admitted.image.expires_at
        entry = Entry(number, None if expires_at.is_zero else _seconds(expires_at))
        if self.world.rules.ignores_expiring:
            must(entry.expires_at_s is None, "an archive takes an expiring image")
        if not entry.is_over(self.world.clock.seconds()):
            self.state.images.setdefault(name, entry)

    def extend(self, name: str, expires_at: Time) -> bool:
        entry = self.state.images.get(name)
        if entry is None or entry.expires_at_s is None:
            return False
        new_s = None if expires_at.is_zero else _seconds(expires_at)
        if new_s is not None and new_s <= entry.expires_at_s:
            return False
        self.state.images[name] = attrs.evolve(entry, expires_at_s=new_s)
        return True

    def delete(self, name: str) -> None:
        self._fail_sometimes()
        world = self.world
        world.must(not world.rules.archives, "an archive deletes")
        is_there = name in world.master.state.images
        is_over = not is_there or name in world.master.deleted
        world.must(is_over, "deleted although the master has it")
        self.state.images.pop(name, None)

    def remove_directory(self, name: str) -> None:
        world = self.world
        world.must(not world.rules.archives, "an archive removes a directory")
        if name in self.state.directories:
            if not self.state.is_empty(name):
                raise RequestError("not empty")
            is_there = name in world.master.state.directories
            is_over = not is_there or name in world.master.deleted
            world.must(is_over, "removed although the master has it")
            del self.state.directories[name]

    def _fail_sometimes(self) -> None:
        if self.world.weather.is_bad and self.world.random.random() < 0.02:
            raise StoreError("the disk failed")


@attrs.frozen
class _Record:
    name: str
    expires: bool


class Process:
    """Whether a process is still alive; what it would do on disk does not happen."""

    is_dead = False


class SlowWorker:
    """Does things after a while."""

    def __init__(
        self, clock: Clock, process: Process, delay_s: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._process = process
        self._delay_s = delay_s

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def work() -> None:
            try:
                if self._process.is_dead:
                    raise StoreError("the process is dead")
                result = function(*args, **kwargs)
            except Exception:
                done.errback()
            else:
                done.callback(result)

        self._clock.callLater(self._delay_s(), work)
        return done


class World:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.weather = Weather(self.random)
        self.wires: dict[Wire, None] = {}
        self.is_master_up = True
        archives = self.random.random() < 0.15
        self.rules = Rules(
            archives=archives,
            archives_expiring=archives and self.random.random() < 0.5,
        )
        self.storage = MemoryStorage()
        self.disk = ReplicaDisk(self)
        self.master = Master(self)
        self.kills = 0
        self.violations: list[str] = []
        self.dying: list[Deferred[None]] = []
        self.replicator: Replicator
        self.process: Process
        self._next_name = 0
        self._past = self.master.state.copy()

    def must(self, condition: object, text: str) -> None:
        """Note what is not as it must be: where it happens, errors are taken."""
        if not condition:
            self.violations.append(text)

    def start_replica(self) -> None:
        """The replica's process begins."""
        self.process = Process()
        worker = SlowWorker(self.clock, self.process, self.weather.delay_s)
        around = Surroundings(
            self.clock,
            self.dial,
            "master",
            6971,
            self.disk,
            self.storage,
            worker,
            worker,
            self.rules,
            STREAMS,
            Throttle(Schedule(), self.clock.seconds, lambda: 0.0),
            self.random.random,
        )
        self.replicator = Replicator(around, "nobody")
        self.replicator.start()

    def kill_replica(self) -> None:
        """It ends without warning."""
        self.kills += 1
        self.process.is_dead = True
        self.cut_all()
        self.dying.append(Deferred.fromCoroutine(self.replicator.stop()))

    def cut_all(self) -> None:
        for wire in list(self.wires):
            wire.end(ConnectionLost())

    async def dial(self, host: str, port: int) -> Connection:
        delay: Deferred[None] = Deferred()
        self.clock.callLater(self.weather.delay_s(), delay.callback, None)
        await delay
        is_lucky = not self.weather.is_bad or self.random.random() < 0.9
        if not (self.is_master_up and is_lucky):
            raise ConnectionFailed("connection refused")
        wire = Wire(
            self.clock, self.weather.delay_s, self.weather.budget(), self._forget
        )
        self.wires[wire] = None
        ours = Channel(self.clock, DEADLINES)
        theirs = Channel(self.clock, DEADLINES)
        wire.connect(ours, theirs)
        self.master.server.serve(theirs, True, "replica")
        return Connection(ours, InlineWorker())

    def _forget(self, wire: Wire) -> None:
        self.wires.pop(wire, None)

    def run(self, changes: int = 25) -> None:
        """Let things change while the network is bad, then wait for peace.

        Raises:
            AssertionError: something was not as it must be.
        """
        for _ in range(self.random.randint(0, 15)):
            self.change()
        self.disk.state = self._begin_with()
        self.start_replica()
        for _ in range(changes):
            self._pass(self.random.expovariate(1.0))
            self.change() if self.random.random() < 0.8 else self.disturb()
        self.weather.is_bad = False
        if not self.is_master_up:
            self.restart_master()
        limit_s = self.clock.seconds() + LONGEST_S
        while not self.is_same():
            assert self.clock.seconds() < limit_s, self.describe()
            self._pass(1.0)
        self._end()

    def _begin_with(self) -> State:
        """What the replica has from the time before: nothing, or some of it."""
        if self.random.random() < 0.5:
            return State()
        state = State(dict(self.master.state.directories))
        for name, entry in self.master.state.images.items():
            if self.rules.ignores_expiring and entry.expires_at_s is not None:
                continue
            if self.random.random() < 0.5:
                state.images[name] = entry
        if self.random.random() < 0.3:
            state.directories["gone"] = ""
            state.images["gone/image"] = Entry(3)
        known = {hash_of(content): content for content in contents()}
        for entry in state.images.values():
            for hash_ in objects_of(entry.number):
                self.storage.contents[hash_] = known[hash_]
        return state

    def _pass(self, seconds: float) -> None:
        """Let time pass, one event after the other."""
        end_s = self.clock.seconds() + seconds
        while True:
            calls = self.clock.getDelayedCalls()
            next_s = min((call.getTime() for call in calls), default=math.inf)
            if next_s > end_s:
                break
            self.clock.advance(max(_TICK_S, next_s - self.clock.seconds()))
            assert not self.violations, self.violations
        self.clock.advance(max(0.0, end_s - self.clock.seconds()))
        now_s = self.clock.seconds()
        self.master.state.expire(now_s)
        if not self.rules.archives:
            self.disk.state.expire(now_s)

    def _end(self) -> None:
        stopping = Deferred.fromCoroutine(self.replicator.stop())
        for _ in range(100):
            self._pass(1.0)
            if stopping.called:
                break
        assert stopping.called, "it does not stop"
        self._pass(DEADLINES.stall_s + 1)
        assert not self.clock.getDelayedCalls(), "something goes on"
        assert all(death.called for death in self.dying)
        assert not self.wires, "a connection was left open"

    def is_same(self) -> bool:
        """Whether the replica has what the master has."""
        ours, theirs = self.disk.state, self.master.state
        if self.replicator.state().lag_s:
            return False
        if self.rules.archives:
            wanted = {
                name: entry
                for name, entry in theirs.images.items()
                if self.rules.archives_expiring or entry.expires_at_s is None
            }
            return all(ours.images.get(n) == e for n, e in wanted.items())
        return ours == theirs

    def describe(self) -> str:
        return f"{self.disk.state}\n{self.master.state}\n{self.replicator.state()}"

    def change(self) -> None:
        """Something changes on the master."""
        chosen = self.random.random()
        if not self.is_master_up:
            return
        if chosen < 0.45:
            self._add_image()
        elif chosen < 0.6:
            self._delete_image()
        elif chosen < 0.8:
            self._make_directory()
        elif chosen < 0.9:
            self._remove_directory()
        else:
            self._extend()

    def _name(self, directory: str) -> str:
        self._next_name += 1
        prefix = "" if directory == ROOT else f"{directory}/"
        return f"{prefix}n{self._next_name}"

    def _add_image(self) -> None:
        state = self.master.state
        name = self._name(self.random.choice(list(state.directories)))
        expires_at_s = None
        if self.random.random() < 0.3:
            expires_at_s = float(
                round(self.clock.seconds() + self.random.uniform(1, 60))
            )
        state.images[name] = Entry(self.random.randrange(40), expires_at_s)
        self.master.tell(ImageUpdate(name))

    def _delete_image(self) -> None:
        state = self.master.state
        if state.images:
            name = self.random.choice(list(state.images))
            del state.images[name]
            self.master.deleted.add(name)
            self.master.tell(ImageUpdate(name, operation=Operation.DELETE_IMAGE))

    def _make_directory(self) -> None:
        state = self.master.state
        names = list(state.directories)
        group = self.random.choice(GROUPS)
        name = self.random.choice(names)
        if name == ROOT or self.random.random() < 0.6:
            name = self._name(name)
        state.directories[name] = group
        self.master.tell(_made(name, group))

    def _remove_directory(self) -> None:
        state = self.master.state
        names = [n for n in state.directories if n != ROOT and state.is_empty(n)]
        if names:
            name = self.random.choice(names)
            del state.directories[name]
            self.master.deleted.add(name)
            self.master.tell(ImageUpdate(name, operation=Operation.DELETE_DIRECTORY))

    def _extend(self) -> None:
        images = self.master.state.images
        names = [n for n, e in images.items() if e.expires_at_s is not None]
        if names:
            name = self.random.choice(names)
            entry = images[name]
            later_s: float | None = (entry.expires_at_s or 0) + 30
            if self.random.random() < 0.3:
                later_s = None
            images[name] = attrs.evolve(entry, expires_at_s=later_s)
            self.master.tell(ImageUpdate(name))

    def disturb(self) -> None:
        """Something goes wrong."""
        chosen = self.random.random()
        if chosen < 0.3:
            self.cut_all()
        elif chosen < 0.5:
            self.kill_replica()
            self.start_replica()
        elif chosen < 0.65:
            self.is_master_up = False
            self.cut_all()
        elif chosen < 0.8:
            self.restart_master()
        elif chosen < 0.9:
            self.master.spoilt.add(hash_of(self.random.choice(contents())))
        elif self.random.random() < 0.5:
            self._past = self.master.state.copy()
        else:
            self._replace_master()

    def restart_master(self) -> None:
        self.cut_all()
        self.is_master_up = True
        self.master.restart()

    def _replace_master(self) -> None:
        """The master is an older copy of itself now.

        Its expirations are not older: nobody follows when they are put forward.
        """
        self.master.deleted |= self.master.state.images.keys()
        self.master.deleted |= self.master.state.directories.keys()
        past, present = self._past.copy(), self.master.state.images
        past.images = {n: present.get(n, entry) for n, entry in past.images.items()}
        self.master.state = past
        self.master.state.expire(self.clock.seconds())
        self.restart_master()


def _made(name: str, group: str) -> ImageUpdate:
    directory = Directory(name, DirectoryMetadata(group))
    return ImageUpdate("", directory, Operation.MAKE_DIRECTORY)


def _time(at_s: float | None) -> Time:
    return Time.ZERO if at_s is None else Time.from_nanoseconds(int(at_s) * NANOSECONDS)


def _seconds(time: Time) -> float:
    return time.to_nanoseconds() / NANOSECONDS
