"""Our server answers recorded clients that speak JSON, and never gets out of step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from transcripts.conversation import JSON_RECORDINGS, RECORDINGS, UPGRADE, Call
from transcripts.memory import CHUNKINGS, in_one
from transcripts.replay import (
    RecordedClient,
    Server,
    build_state,
    replay,
)

from imageserver import gob
from imageserver.model.image_messages import GetImageRequest

STATE = {
    "ListDirectories": ("directories", "dir2/a/"),
    "MakeDirectory": ("directories",),
    "CheckImage": ("directories", "objects", "dir/jimg1"),
    "CheckObjects": ("objects",),
    "GetObjects": ("objects",),
    "GetObjects-missing": ("objects",),
    "AddImage": ("directories", "objects"),
    "GetImage": ("directories", "objects", "dir/jimg1"),
    "GetImage-ignore-filesystem": ("directories", "objects", "dir/jimg1"),
    "GetImageArchive": ("directories", "objects", "dir/jimg1"),
    "FindLatestImage": ("directories", "objects", "dir/jimg1", "dir/jexp1"),
    "ChangeImageExpiration": ("directories", "objects", "dir/jexp1"),
    "GetImageUpdates": (
        *("directories", "dir2/a/", "jdir/a/b/", "objects"),
        *("dir/jimg1", "dir/exp1", "dir/jexp1"),
    ),
    "ListImages": ("directories", "objects", "dir/exp1", "dir/jexp1", "dir/jimg1"),
    "DeleteImage": ("directories", "objects", "dir/jimg1"),
}
"""What was on the recorded server before."""

ADDED = ("", "", [{}])
REFUSED = ("", "image already exists", [])
DIFFERENCES = {
    # The recorded server cannot read inodes in JSON; ours can.
    ("AddImage", 0): ADDED,
    ("AddImage", 1): REFUSED,
    ("DeleteImage", 2): ("", "cannot add previously deleted image: dir/jimg1", []),
}
"""Outcomes, by recording and number of the call, where ours are to be others."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that is empty."""
    server = Server(tmp_path)
    yield server
    server.stop()


def expected_outcome(name: str, number: int, call: Call) -> tuple[str, str, list]:
    """What our server has to say to a recorded call."""
    return DIFFERENCES.get((name, number), call.outcome)


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, recording in JSON_RECORDINGS.items()
        if name != "AddObjects" and recording.calls[0].method != UPGRADE
    ],
)
def test_recording(server: Server, name: str, chunking: str) -> None:
    """Every answer has the recorded value, however the client's bytes are cut."""
    build_state(server, *STATE.get(name, ()))
    recording = JSON_RECORDINGS[name]
    made = replay(server, recording, CHUNKINGS[chunking])
    expected = [
        expected_outcome(name, number, call)
        for number, call in enumerate(recording.calls)
    ]
    assert [call.outcome for call in made] == expected
    assert server.calls.accounting.crashed_calls == 0


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_add_objects(server: Server, chunking: str) -> None:
    """Raw bytes behind JSON values arrive, and each object is answered.

    The recorded server loses bytes between them.
    """
    recording = JSON_RECORDINGS["AddObjects"]
    calls = replay(server, recording, CHUNKINGS[chunking])
    upload = calls[0]
    assert len(upload.requests) > 4
    sizes = [len(thing) for thing in upload.requests if isinstance(thing, bytes)]
    assert len(upload.answers) == len(sizes)
    asked = [thing for thing in upload.requests if isinstance(thing, dict)]
    assert [request["Length"] for request in asked] == [*sizes, 0]
    assert any(answer["Added"] for answer in upload.answers)
    gob_calls = RECORDINGS["AddObjects"].calls[0].answers
    assert len(gob_calls) >= len(sizes)


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_lengths_at_which_the_recorded_server_stumbles(
    server: Server, chunking: str
) -> None:
    """Requests of every length get one answer each, with their line end or without."""
    head = JSON_RECORDINGS["CheckImage"].head
    client = RecordedClient(server, head, CHUNKINGS[chunking])
    before = len(client.transport.sent())
    for length in range(17, 300):
        for end in (b"\n", b"\r\n", b""):
            client.say(b"ImageServer.CheckImage\n")
            name = "x" * (length - 16)
            client.say(b'{"ImageName":"%s"}' % name.encode() + end)
            answer = client.transport.sent()[before:]
            assert answer == b'\n\n{"ImageExists":false}', (length, end)
            before += len(answer)
    client.say(b"ImageServer.None\n")
    assert client.transport.sent()[before:] == b"ImageServer: unknown method: None\n"


def test_line_end_comes_later(server: Server) -> None:
    """The line end behind a value is none to answer, whenever it comes; a ping is."""
    client = RecordedClient(server, JSON_RECORDINGS["CheckImage"].head, in_one)
    before = len(client.transport.sent())
    client.say(b"ImageServer.CheckImage\n")
    client.say(b'{"ImageName":"a"}')
    client.say(b"\r")
    client.say(b"\n")
    client.say(b"\n")
    assert client.transport.sent()[before:] == b'\n\n{"ImageExists":false}\n'


def test_no_line_end_behind_our_values(server: Server) -> None:
    """Clients whose decoders lose count of line ends do not get any."""
    build_state(server, "directories")
    client = RecordedClient(server, JSON_RECORDINGS["CheckImage"].head, in_one)
    client.say(b"ImageServer.ListDirectories\n")
    answer = client.transport.sent().partition(b"SRPC\n\n")[2]
    assert answer.count(b"\n") == 1
    assert answer.endswith(b'{"Name":"","Metadata":{"OwnerGroup":""}}')


def test_image_of_json_is_that_of_gob(server: Server) -> None:
    """An image that was added as JSON comes back in gob as it was."""
    build_state(server, "directories", "objects")
    replay(server, JSON_RECORDINGS["AddImage"])
    request = json.loads(JSON_RECORDINGS["AddImage"].calls[0].sent)
    client = RecordedClient(server, RECORDINGS["GetImage"].head, in_one)
    client.say(b"ImageServer.GetImage\n")
    client.say(gob.Encoder().encode(GetImageRequest(request["ImageName"])))
    (made,) = client.hang_up()
    image = made.answers[0]["Image"]
    assert image["BuildCommitId"] == request["Image"]["BuildCommitId"]
    table = request["Image"]["FileSystem"]["InodeTable"]
    assert {str(number) for number in image["FileSystem"]["InodeTable"]} == set(table)
