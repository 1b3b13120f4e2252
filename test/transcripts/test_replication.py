"""Recordings of a replica: ours does the same, towards its master and its clients."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import recorded
from replication.memory_sites import MemoryReplica, MemorySite, Network
from srpc.peers import make_server
from transcripts.conversation import (
    ACCEPTED,
    Call,
    Stream,
    read_connection,
    uploads,
)
from transcripts.replay import RECORDED_AT_S

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.image_messages import (
    CheckImageRequest,
    CheckImageResponse,
    GetImageExpirationRequest,
    GetImageRequest,
    GetImageResponse,
    GetReplicationMasterRequest,
    GetReplicationMasterResponse,
)
from imageserver.model.object_messages import GetObjectsRequest, GetObjectsResponse
from imageserver.objects.intake import Intake
from imageserver.srpc.call import Call as ServedCall
from imageserver.srpc.methods import Method
from imageserver.testing import POWERFUL, scanned

MASTER = ("127.0.0.2", 17180)  # as it was recorded
ENTRIES = {entry["name"]: entry for entry in recorded.load("transcripts-replication")}
OBJECTS = {
    bytes.fromhex(entry["sha512"]): bytes.fromhex(entry["hex"])
    for entry in recorded.load("image/objects")
}
UNFINISHED = "replica: AddObjects with a wrong hash"  # the recorded replica hangs
REPLAYED = [
    name for name in ENTRIES if name.startswith("replica:") and name != UNFINISHED
]


def calls_of(connection: dict[str, Any]) -> list[Call]:
    """The calls of a recorded connection; none if it was not let in."""
    streams = {"client": b"", "server": b""}
    for event in connection["events"]:
        streams[event["from"]] += bytes.fromhex(event.get("hex", ""))
    if not streams["server"].startswith(ACCEPTED):
        return []
    return read_connection(Stream(streams["client"]), Stream(streams["server"]))


TO_MASTER = [
    call
    for connection in ENTRIES["replication"]["replica_to_master_connections"]
    for call in calls_of(connection)
]
IMAGES = {
    call.request(GetImageRequest).image_name: call
    for call in TO_MASTER
    if call.method == "ImageServer.GetImage"
}
(UPDATES,) = [call for call in TO_MASTER if call.method.endswith("ImageUpdates")]


@pytest.fixture
def network() -> Network:
    """The network, at the time of the recordings."""
    return Network(RECORDED_AT_S)


class RecordedMaster:
    """Says what the recorded master has said, byte for byte."""

    def __init__(self, network: Network) -> None:
        self.asked: list[str] = []
        gone = {u["Name"] for u in UPDATES.answers if u.get("Operation") == 1}
        self.names = {
            u["Name"] for u in UPDATES.answers if u.get("Name") and "Operation" not in u
        } - gone
        methods = [
            Method(*call.method.split("."), stream=stream)
            for call, stream in (
                (UPDATES, self.follow),
                (TO_MASTER[1], self.get_image),
                (TO_MASTER[-1], self.get_expiration),
            )
        ]
        methods += [
            Method("ObjectServer", "GetObjects", stream=self.get_objects),
            Method(
                "ImageServer",
                "CheckImage",
                request=CheckImageRequest,
                reply=self.check_image,
            ),
            Method(
                "ImageServer",
                "GetReplicationMaster",
                request=GetReplicationMasterRequest,
                reply=self.get_master,
            ),
        ]
        network.servers[MASTER[1]] = make_server(network.clock, methods)

    async def follow(self, call: ServedCall) -> None:
        call.write(UPDATES.received)
        await call.drain()
        await call.channel.departure()

    async def get_image(self, call: ServedCall) -> None:
        request = await call.receive(GetImageRequest)
        assert request.timeout_ns > 0
        self.asked.append(request.image_name)
        if request.image_name in IMAGES:
            call.write(IMAGES[request.image_name].received)
        else:
            call.write(b"\n" + gob.Encoder().encode(GetImageResponse()))
        await call.drain()

    async def get_expiration(self, call: ServedCall) -> None:
        request = await call.receive(GetImageExpirationRequest)
        recorded_call = TO_MASTER[-1]
        assert request == recorded_call.request(GetImageExpirationRequest)
        call.write(recorded_call.received)
        await call.drain()

    async def check_image(self, _: Any, request: Any) -> CheckImageResponse:
        return CheckImageResponse(request.image_name in self.names)

    async def get_master(self, *_: Any) -> GetReplicationMasterResponse:
        return GetReplicationMasterResponse()

    async def get_objects(self, call: ServedCall) -> None:
        request = await call.receive(GetObjectsRequest)
        contents = [OBJECTS[hash_] for hash_ in request.hashes]
        call.send(GetObjectsResponse("", tuple(map(len, contents))))
        call.write(b"".join(contents))
        await call.drain()


def test_follows_the_recorded_master(tmp_path, network: Network) -> None:
    """Our replica gets what the recorded one has got, and asks for no more."""
    master = RecordedMaster(network)
    replica = MemoryReplica(tmp_path, network, 1, MASTER)
    network.pump(20)
    state = replica.replicator.state()
    assert state.failure_count == 0
    assert state.is_complete
    directories = {
        update["Directory"]["Name"]
        for update in UPDATES.answers
        if "Directory" in update
    }
    removed = {u["Name"] for u in UPDATES.answers if u.get("Operation") == 3}
    assert replica.index.directories().keys() == directories - removed
    now_ns = replica.now_ns()
    for name, call in IMAGES.items():
        theirs = call.response(GetImageResponse).image
        if (
            not theirs.expires_at.is_zero
            and theirs.expires_at.to_nanoseconds() < now_ns
        ):
            assert replica.index.image(name) is None
            continue
        data = (replica.database.directory / name).read_bytes()
        ours = gob.decode(data, Image).value
        assert gob.evolve(ours, expires_at=theirs.expires_at) == theirs
    assert set(replica.index.image_names()) <= master.names
    assert set(master.asked) >= IMAGES.keys()
    replica.close()


@pytest.fixture
def sites(tmp_path, network: Network) -> Iterator[tuple[MemorySite, MemoryReplica]]:
    """A master with the recorded image, and our replica of it, in step."""
    master = MemorySite(tmp_path / "master", network, MASTER[1])
    intake = Intake(master.objects)
    for hash_, content in OBJECTS.items():
        intake.begin(len(content), hash_)
        intake.write(content)
    assert not any(outcome.error for outcome in intake.commit())
    master.database.make_directory("rep", False, POWERFUL)
    image = IMAGES["rep/img3"].response(GetImageResponse).image
    master.database.add("rep/img3", scanned(image), POWERFUL)
    replica = MemoryReplica(tmp_path / "replica", network, 1, MASTER)
    network.pump(1)
    assert replica.index.image_names() == ["rep/img3"]
    yield master, replica
    replica.close()
    master.close()


def replay(network: Network, connection: dict[str, Any]) -> list[Call]:
    """Say to our replica what a recorded client has said; what came of it."""
    said, (recorder, link) = b"", network.client(1)
    for call in calls_of(connection):
        for data in (call.line, call.sent):
            said += data
            link.right.write(data)
            network.pump()
    head = b"CONNECT /_goSRPC_/ HTTP/1.0\n\n"
    heard = Stream(ACCEPTED + recorder.data)
    link.right.loseConnection()
    network.pump()
    return read_connection(Stream(head + said), heard)


@pytest.mark.parametrize("name", REPLAYED)
def test_answers_recorded_clients(sites, network: Network, name: str) -> None:
    """Our replica answers its clients as the recorded one did."""
    master, replica = sites
    for connection in ENTRIES[name]["connections"]:
        made = replay(network, connection)
        expected = [call.outcome for call in calls_of(connection)]
        assert [call.outcome for call in made] == expected
    assert replica.calls.accounting.crashed_calls == 0
    assert set(master.index.image_names()) == set(replica.index.image_names())
    new = "rep/img4" if name == "replica: AddImage" else "rep/img3"
    for site in sites:
        assert site.index.image(new) is not None


def test_wrong_hash(sites, network: Network) -> None:
    """Where the recorded replica hangs, ours answers every object, and goes on."""
    (connection,) = ENTRIES[UNFINISHED]["connections"]
    said = b"".join(
        bytes.fromhex(event.get("hex", ""))
        for event in connection["events"]
        if event["from"] == "client"
    )
    client = Stream(said)
    client.until(b"\n\n")
    recorder, link = network.client(1)
    link.right.write(client.rest)
    network.pump()
    heard = Stream(recorder.data)
    assert heard.line() == ""
    decoder, answers = gob.Decoder(), []
    while heard.rest:
        answers.append(heard.value(decoder))
    client.line()
    sent = [thing for thing in uploads(client, gob.Decoder()) if type(thing) is bytes]
    assert len(answers) == len(sent)
    errors = [error for a in answers if (error := a.get("ErrorString", ""))]
    assert [error[:23] for error in errors] == ["hash mismatch. Computed"]
    good = [bytes(a["Hash"]) for a in answers if not a.get("ErrorString")]
    assert set(good) <= {hash_of(content) for content in OBJECTS.values()}


def test_no_connection_is_left_over(sites, network: Network) -> None:
    """What is passed on uses a few connections again, and ends them."""
    name = "replica: AddObjects of a new object"
    before = network.dialled
    for _ in range(10):
        for connection in ENTRIES[name]["connections"]:
            replay(network, connection)
    assert network.dialled - before <= 2
    network.pump(120)
    assert len(network.links) <= 1  # that of the updates
