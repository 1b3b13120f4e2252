"""A replica and its master in memory: what goes wrong, and what is told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest
from replication.memory_sites import MemoryReplica, MemorySite, Network
from twisted.internet.defer import Deferred

from imageserver.errors import ConfigError, ReplicationStopped, RequestError
from imageserver.gob import Time
from imageserver.images.missing import MissingObjects
from imageserver.images.verification import put_aside
from imageserver.index.base import ImageRecord
from imageserver.model.filter import Matcher
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    GetImageRequest,
    GetImageResponse,
)
from imageserver.objects.base import Outcome
from imageserver.objects.intake import Intake
from imageserver.quarantine import QUARANTINE
from imageserver.replication.image_scrub import ImageScrub
from imageserver.replication.rules import Rules, load_filter
from imageserver.replication.state import Phase, numbers, replication_metrics
from imageserver.srpc.client import Connection
from imageserver.testing import POWERFUL, InlineWorker, make_caller, make_image, scanned

MASTER, REPLICA = 1, 2


def put(site: MemorySite, *contents: bytes) -> None:
    """Store objects."""
    intake = Intake(site.objects)
    for content in contents:
        intake.begin(len(content), hash_of(content))
        intake.write(content)
    assert not any(outcome.error for outcome in intake.commit())


def add(site: MemorySite, name: str, *contents: bytes) -> None:
    """Store an image, and its objects."""
    put(site, *contents)
    files = {f"file{number}": content for number, content in enumerate(contents)}
    site.database.add(name, scanned(make_image(files)), POWERFUL)


@pytest.fixture
def network() -> Network:
    """A network."""
    return Network(1_700_000_000)


@pytest.fixture
def master(tmp_path, network: Network) -> Iterator[MemorySite]:
    """A master with an image."""
    site = MemorySite(tmp_path / "master", network, MASTER)
    add(site, "image", b"first", b"second")
    yield site
    site.close()


@pytest.fixture
def replica(tmp_path, network: Network, master) -> Iterator[MemoryReplica]:
    """A replica of it, in step."""
    site = MemoryReplica(tmp_path / "replica", network, REPLICA, ("master", MASTER))
    network.pump(1)
    yield site
    site.close()


def test_state(network: Network, master, replica: MemoryReplica) -> None:
    """The state tells what goes on, and what does not."""
    state = replica.replicator.state()
    assert state.phase is Phase.IN_STEP
    assert (state.master, state.lag_s, state.is_complete) == ("master:1", 0.0, True)
    assert (state.fetched_objects, state.received_bytes) == (2, 11)
    metrics = {metric.path: metric.value for metric in replication_metrics(state)}
    assert metrics["/replication/connected"] == 1
    assert len(metrics) == len(numbers(state))
    assert attrs.asdict(state)["failures"] == ()
    master.objects.path(hash_of(b"first")).unlink()
    master.objects.forget_vanished([hash_of(b"first")])
    replica.objects.delete([hash_of(b"first")])
    network.servers.pop(MASTER)
    for link in network.links:
        link.left.abortConnection()
    network.pump(5)
    state = replica.replicator.state()
    assert state.phase in (Phase.WAITING, Phase.CONNECTING)
    assert "connection refused" in state.problem
    assert state.connected_at_s is None
    assert 4 < state.lag_s < 6


def test_master_lacks_objects(tmp_path, network: Network, master) -> None:
    """An image that the master cannot give is told of; the others come."""
    add(master, "other", b"third")
    master.objects.delete([hash_of(b"first")])
    site = MemoryReplica(tmp_path / "replica", network, REPLICA, ("master", MASTER))
    network.pump(2)
    assert site.index.image_names() == ["other"]
    state = site.replicator.state()
    (failure,) = state.failures
    assert failure.refused
    assert failure.reason == f"the master has no object: {hash_of(b'first').hex()}"
    assert state.is_complete
    put(master, b"first")
    network.pump(10)
    assert sorted(site.index.image_names()) == ["image", "other"]
    assert site.replicator.state().failures == ()
    site.close()


def test_spoilt_object(tmp_path, network: Network, master) -> None:
    """What is not what its name says is not stored, and fetched again later."""
    path = master.objects.path(hash_of(b"first"))
    path.write_bytes(b"worse")
    site = MemoryReplica(tmp_path / "replica", network, REPLICA, ("master", MASTER))
    network.pump(0.4)
    assert not site.objects.path(hash_of(b"first")).exists()
    assert site.replicator.state().rejected_objects == 1
    assert site.index.image_names() == []
    path.write_bytes(b"first")
    network.pump(5)
    assert site.index.image_names() == ["image"]
    site.close()


def test_repair(network: Network, master, replica: MemoryReplica) -> None:
    """Objects that are missing here come back."""
    path = replica.objects.path(hash_of(b"second"))
    path.unlink()
    replica.objects.forget_vanished([hash_of(b"second")])
    missing = MissingObjects(replica.database, replica.index)
    missing.refresh()
    assert replica.database.incomplete == {"image": 1}
    repairing = replica.replicator.repair(lambda: replica.index.missing_objects(10))
    network.run(repairing)
    missing.refresh()
    assert path.read_bytes() == b"second"
    assert replica.database.incomplete == {}
    assert replica.replicator.state().repaired_objects == 1


def test_on_demand(tmp_path, network: Network, master) -> None:
    """An image that is left out comes when somebody asks for it, and stays."""
    rules = Rules(include=Matcher(["nothing"]), on_demand=True)
    address = ("master", MASTER)
    site = MemoryReplica(tmp_path / "cache", network, REPLICA, address, rules)
    network.pump(1)
    assert site.index.image_names() == []

    async def ask(name: str) -> GetImageResponse:
        connection: Connection = await network.dial("", REPLICA)
        request = GetImageRequest(name)
        return await connection.call("ImageServer.GetImage", request, GetImageResponse)

    assert network.run(ask("unknown")).image is None
    assert network.run(ask("image")).image is not None
    assert site.index.image_names() == ["image"]
    for link in network.links:
        link.left.abortConnection()
    network.pump(5)
    assert site.replicator.state().phase is Phase.IN_STEP
    assert site.index.image_names() == ["image"]
    master.database.delete("image", POWERFUL)
    network.pump(1)
    assert site.index.image_names() == []
    site.close()


def test_cycle(tmp_path, network: Network, master) -> None:
    """Servers that follow each other say so, and wait until it is over."""
    one = MemoryReplica(tmp_path / "one", network, 10, ("two", 11))
    two = MemoryReplica(tmp_path / "two", network, 11, ("one", 10))
    self_ = MemoryReplica(tmp_path / "self", network, 12, ("self", 12))
    network.pump(10)
    expected = "which follows this server"
    for site in (one, two):
        assert expected in site.replicator.state().problem
    assert "this server follows this server" in self_.replicator.state().problem
    other = MemoryReplica(tmp_path / "other", network, 13, ("one", 10))
    network.pump(10)
    problem = other.replicator.state().problem
    text = "this server follows one:10, which follows two:11, which follows one:10"
    assert text in problem
    for site in (one, two, self_, other):
        site.close()


def test_not_before_it_is_complete(tmp_path, network: Network, master) -> None:
    """Who follows a replica hears nothing before that has everything itself."""
    network.servers.pop(MASTER)
    middle = MemoryReplica(tmp_path / "middle", network, REPLICA, ("m", MASTER))
    last = MemoryReplica(tmp_path / "last", network, 3, ("r", REPLICA))
    add(last, "kept", b"kept")
    network.pump(5)
    assert not last.replicator.plan.is_listed
    network.servers[MASTER] = master.calls
    network.pump(70)
    assert last.index.image_names() == ["image"]
    waiting = network.client(REPLICA)[1]
    waiting.right.write(b"ImageServer.GetImageUpdates\n")
    waiting.right.loseConnection()
    network.pump()
    last.close()
    network.servers.pop(MASTER)
    middle.close()
    with pytest.raises(ReplicationStopped):
        network.run(_never_complete(tmp_path, network))


async def _never_complete(tmp_path, network: Network) -> None:
    """Wait for a replica that ends before it has everything."""
    site = MemoryReplica(tmp_path / "hopeless", network, 5, ("nobody", 99))
    waiting = Deferred.fromCoroutine(site.replicator.complete())
    site.close()
    await waiting


def test_additions_that_fail(network: Network, master, replica: MemoryReplica) -> None:
    """Nothing is sent to the master without permission; its refusals are passed on."""
    put(replica, b"new")
    before = network.dialled
    gate = replica.calls.methods.find("ImageServer", "AddImageTrusted")
    assert gate.reply is not None

    def request(name: str) -> AddImageRequest:
        image = scanned(make_image({"file": b"new"}))
        return AddImageRequest(name, image)

    with pytest.raises(RequestError, match="no access to image"):
        network.run(gate.reply(make_caller("joe"), request("mine")))
    assert network.dialled == before
    with pytest.raises(RequestError, match="is not available"):
        network.run(gate.reply(POWERFUL, request("mine")))  # the master lacks it
    assert replica.index.image("mine") is None
    network.servers.pop(MASTER)
    for link in list(network.links):
        link.left.abortConnection()
    network.pump()
    with pytest.raises(RequestError, match=r"replication master: .*refused"):
        network.run(gate.reply(POWERFUL, request("mine")))
    forwarding = replica.forwarder.begin_objects()
    outcomes = [Outcome(hash_of(b"new"), True), Outcome(hash_of(b"x"), error="no")]
    passed = network.run(forwarding.pass_on(outcomes))
    assert passed[0].error.startswith("cannot pass on to replication master: ")
    assert passed[1] == outcomes[1]
    again = network.run(forwarding.pass_on(outcomes[:1]))
    assert again == passed[:1]


def test_image_scrub(network: Network, master, replica: MemoryReplica) -> None:
    """An image file that went bad is found, put aside, and fetched again."""
    add(master, "other", b"other")
    network.pump(1)
    path = replica.database.path("image")
    good = path.read_bytes()
    status = path.stat()
    path.write_bytes(good[:100] + b"?" + good[101:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    scrub = ImageScrub(
        network.clock,
        replica.database,
        InlineWorker(),
        1 << 20,
        60,
        replica.replicator.bring_again,
    )
    scrubbing = Deferred.fromCoroutine(scrub.run())
    network.pump(5)
    assert path.read_bytes() == good
    assert replica.database.quarantine.names() == ["image~"]
    assert sorted(replica.index.image_names()) == ["image", "other"]
    scrub.stop()
    assert scrubbing.called


def test_stop_while_dialling(tmp_path, network: Network) -> None:
    """A master that does not answer keeps nobody from stopping."""
    silence: Deferred[Connection] = Deferred()

    async def dial(_host: str, _port: int) -> Connection:
        return await silence

    network.dial = dial
    site = MemoryReplica(tmp_path / "lonely", network, REPLICA, ("silent", MASTER))
    network.pump()
    site.close()
    assert site.replicator.state().phase is Phase.STOPPED


def test_damaged_on_the_master(network: Network, master, replica) -> None:
    """A replica keeps the good copy of an image that was damaged on the master."""
    put_aside(master.database, "image", "damaged")
    for link in network.links:
        link.left.abortConnection()
    network.pump(20)
    state = replica.replicator.state()
    assert (state.phase, state.sessions, state.failures) == (Phase.IN_STEP, 2, ())
    assert replica.index.image_names() == ["image"]
    (file,) = master.database.quarantine.names()
    (master.database.directory / QUARANTINE / file).unlink()
    for link in network.links:
        link.left.abortConnection()
    network.pump(20)
    assert replica.index.image_names() == []


def test_changes(network: Network, master, replica: MemoryReplica) -> None:
    """What changes on the master changes on the replica; names can be used again."""
    database = master.database
    database.make_directory("d/e", True, POWERFUL)
    now_s = int(network.clock.seconds())
    soon, later = Time(now_s + 100), Time(now_s + 200)
    image = scanned(make_image({}, expires_at=soon))
    database.add("d/e/short", image, POWERFUL)
    network.pump(1)
    assert replica.index.image("d/e/short") == _like(replica, master, "d/e/short")
    database.change_expiration("d/e/short", later, POWERFUL)
    network.pump(1)
    record = replica.index.image("d/e/short")
    assert record is not None
    assert record.expires_at_ns == later.to_nanoseconds()
    database.delete("d/e/short", POWERFUL)
    database.delete("image", POWERFUL)
    database.remove_directory("d/e")
    network.pump(1)
    assert replica.index.directories() == {".": "", "d": ""}
    assert replica.index.image_names() == []
    database.files.remove_tombstone("image")
    add(master, "image", b"another")
    network.pump(1)
    assert replica.index.image_names() == ["image"]
    database.delete("image", POWERFUL)
    database.files.remove_tombstone("image")
    database.make_directory("image", False, POWERFUL)
    network.pump(1)
    assert replica.index.directories() == {".": "", "d": "", "image": ""}


def _like(replica: MemorySite, master: MemorySite, name: str) -> ImageRecord | None:
    """What the replica has to know of an image of the master."""
    theirs, ours = master.index.image(name), replica.index.image(name)
    assert theirs is not None
    assert ours is not None
    return attrs.evolve(
        theirs, file_inode=ours.file_inode, file_mtime_ns=ours.file_mtime_ns
    )


def test_filter_files(tmp_path) -> None:
    """Filters are read from files; what is none is refused by name."""
    path = tmp_path / "filter"
    path.write_text("#\na/.*\n")
    found = load_filter("flag", str(path))
    assert found is not None
    assert found.matches(b"a/b")
    assert load_filter("flag", "") is None
    path.write_bytes(b"\xff")
    for name in (str(path), str(tmp_path), "/none"):
        with pytest.raises(ConfigError, match=r"^-flag: "):
            load_filter("flag", name)
