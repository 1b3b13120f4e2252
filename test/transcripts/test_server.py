"""Our server answers recorded clients as the recorded server did."""

from __future__ import annotations

import pytest
from transcripts.conversation import RECORDINGS, Call, Recording
from transcripts.memory import CHUNKINGS, in_one
from transcripts.replay import (
    RecordedClient,
    Server,
    build_state,
    replay,
    replay_pipelined,
)

from imageserver import gob
from imageserver.model.image_messages import GetImageRequest

STATE = {
    "DeleteDirectory": ("dir/a/b/",),
    "GetImage-misc": ("directories", "objects", "dir/img1"),
    "GetImageUpdates": ("directories", "objects", "dir/img1", "dir/exp1"),
    "GetFilteredImageUpdates": (
        *("directories", "dir2/a/", "objects", "dir/img1", "dir/exp1 for ever"),
    ),
    "ListDirectories": ("directories",),
    "AddObjects-queue": ("objects",),
    "CheckObjects": ("objects",),
    "GetObjects": ("objects",),
    "GetObjects-missing": ("objects",),
    "GetObjects-missing-2": ("objects",),
    "ListUnreferencedObjects": ("objects",),
    "ImportObjects-error": ("objects",),
    "ListUnreferencedObjects-later": ("objects", "later"),
    "AddImage": ("directories", "objects"),
    "AddImage-errors": ("directories", "objects", "dir/img1"),
    "AddImage-nil-image": ("directories", "objects", "dir/img1"),
    "CheckImage": ("directories", "objects", "dir/img1"),
    "ListImages": ("directories", "objects", "dir/img1"),
    "ListSelectedImages": ("directories", "objects", "dir/img1"),
    "GetImage": ("directories", "objects", "dir/img1"),
    "GetImage-ignore-filesystem": ("directories", "objects", "dir/img1"),
    "GetImage-timeout": ("directories", "objects", "dir/img1"),
    "GetImageInodes": ("directories", "objects", "dir/img1"),
    "ChangeImageExpiration": ("directories", "objects", "dir/img1", "dir/exp1"),
    "FindLatestImage": ("directories", "objects", "dir/img1", "dir/exp1"),
    "GetImageArchive": ("directories", "objects", "dir/img1"),
    "DeleteImage": ("directories", "objects", "dir/img1", "dir/exp1"),
}
"""What was on the recorded server before; nothing for the recordings left out."""


def refused(line: str) -> tuple[str, str, list]:
    """The outcome of a call that is not accepted."""
    return line, "", []


def failed(text: str) -> tuple[str, str, list]:
    """The outcome of a request-reply call that fails."""
    return "", text, []


def first_unknown(call: Call) -> tuple[str, str, list]:
    """The outcome of GetObjects, with the first unknown object named as the first."""
    (response,) = call.answers
    sizes = zip(call.requests[0]["Hashes"], response["ObjectSizes"], strict=True)
    missing = [bytes(hash_) for hash_, size in sizes if size == 0]
    text = f"first of {len(missing)} unknown objects: {missing[0].hex()}"
    return "", "", [response | {"ResponseString": text}]


DIFFERENCES = {
    # The recorded server names the last unknown object, and says "first".
    ("GetObjects-missing-2", 0): first_unknown(
        RECORDINGS["GetObjects-missing-2"].calls[0]
    ),
    # The recorded server tells where its files are: "open img/nodir/x~: no such ...".
    ("AddImage-errors", 2): failed('no metadata for: "nodir"'),
    # The recorded server crashes, and drops the connection.
    ("AddImage-nil-image", 0): failed("nil image"),
}
"""Outcomes, by recording and number of the call, where ours are to be others."""

REPLAYED = {
    name: recording
    for name, recording in RECORDINGS.items()
    if name != "dial-upgrade-accepted"
}
"""Those of one connection; the other one is in ``test_unix_upgrade.py``."""


@pytest.fixture
def server(tmp_path):
    """A server that is empty."""
    server = Server(tmp_path)
    yield server
    server.stop()


def expected_outcome(name: str, number: int, call: Call) -> tuple[str, str, list]:
    """What our server has to say to a recorded call."""
    return DIFFERENCES.get((name, number), call.outcome)


def check(server: Server, recording: Recording, made: list[Call]) -> None:
    """Compare what came of the calls of a recording."""
    expected = [
        expected_outcome(recording.name, number, call)
        for number, call in enumerate(recording.calls)
    ]
    assert [call.outcome for call in made] == expected
    assert not any(call.cut_off for call in made)
    check_at_rest(server)


def check_at_rest(server: Server) -> None:
    """Nothing went wrong inside, and nothing was left behind."""
    accounting = server.calls.accounting
    assert accounting.crashed_calls == 0
    assert accounting.running_calls == 0
    assert accounting.open_connections == 0


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", REPLAYED)
def test_recording(server, name: str, chunking: str) -> None:
    """Every answer has the recorded value, however the client's bytes are cut."""
    build_state(server, *STATE.get(name, ()))
    recording = RECORDINGS[name]
    check(server, recording, replay(server, recording, CHUNKINGS[chunking]))


@pytest.mark.parametrize("name", REPLAYED)
def test_pipelined(server, name: str) -> None:
    """A client that sends everything at once gets the same answers."""
    build_state(server, *STATE.get(name, ()))
    recording = RECORDINGS[name]
    check(server, recording, replay_pipelined(server, recording))


def test_all_in_order(server) -> None:
    """One server that lives through all recordings gives every answer of them."""
    for name, recording in REPLAYED.items():
        if name == "ListUnreferencedObjects-later":
            build_state(server, "later")
        if name == "ChangeImageExpiration":
            build_state(server, "dir/exp1")
        check(server, recording, replay(server, recording))


def test_get_image_waits_as_long_as_it_was_told(server) -> None:
    """GetImage of an absent image is answered when its timeout is over, not earlier."""
    build_state(server, *STATE["GetImage-timeout"])
    recording = RECORDINGS["GetImage-timeout"]
    (call,) = recording.calls
    assert call.requests[0]["Timeout"] == 300_000_000
    client = RecordedClient(server, recording.head, in_one)
    client.say(call.line)
    client.say(call.sent)
    silent = client.transport.sent()
    server.clock.advance(0.299)
    client.transport.pump()
    assert client.transport.sent() == silent
    server.clock.advance(0.002)
    assert [made.outcome for made in client.hang_up()] == [call.outcome]


def test_get_image_ends_to_wait_when_the_image_comes(server) -> None:
    """GetImage with a timeout is answered with an image that another client adds."""
    build_state(server, "directories", "objects")
    recording = RECORDINGS["GetImage-timeout"]
    call = RECORDINGS["GetImage"].calls[0]
    waiting = RecordedClient(server, recording.head, in_one)
    waiting.say(call.line)
    request = call.request(GetImageRequest)
    waiting.say(gob.Encoder().encode(gob.evolve(request, timeout_ns=10**12)))
    replay(server, RECORDINGS["AddImage"])
    assert [made.outcome for made in waiting.hang_up()] == [call.outcome]


def test_nil_image_leaves_the_connection_usable(server) -> None:
    """After an image that is nil was refused, the next calls are answered."""
    build_state(server, *STATE["AddImage-nil-image"])
    client = RecordedClient(server, RECORDINGS["CheckImage"].head, in_one)
    client.call(RECORDINGS["AddImage-nil-image"].calls[0])
    for call in RECORDINGS["CheckImage"].calls:
        client.call(call)
    nil, *checks = client.hang_up()
    assert nil.outcome == failed("nil image")
    expected = [call.outcome for call in RECORDINGS["CheckImage"].calls]
    assert [check.outcome for check in checks] == expected
