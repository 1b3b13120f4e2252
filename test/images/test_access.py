"""Who may do what with images: every method, for every kind of caller."""

from __future__ import annotations

from typing import Any

import pytest
from srpc.peers import Link, Recorder, make_server
from twisted.internet.task import Clock

from imageserver import gob
from imageserver.gob import Time
from imageserver.model import image_messages as messages
from imageserver.rpc.image_server import ImageService
from imageserver.srpc.access import ANONYMOUS, Identity, Policy
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.testing import POWERFUL, InlineWorker, make_image

A = b"first object"
NOW_S = 1_700_000_000
LATER = Time(NOW_S + 7_200)

CALLERS = {
    "power": Identity("root", frozenset(), ("*.*",)),
    "creator": Identity("joe"),
    "created for": Identity("ann"),
    "owner": Identity("bob"),
    "owner group": Identity("eve", frozenset({"admins"})),
    "directory group": Identity("eve", frozenset({"staff"})),
    "stranger": Identity("eve", frozenset({"others"})),
    "unauthenticated": ANONYMOUS,
}
OK, DENIED, NO_ACCESS = "ok", "access to method denied", "no access to image"
NO_MEMBER = "no membership of games group"


def only(*callers: str) -> dict[str, str]:
    """These may; others are not let in."""
    return {name: OK if name in callers else DENIED for name in CALLERS}


POWERFUL_ONLY = only("power")
READABLE = only(*[name for name in CALLERS if name != "unauthenticated"])
OWNERS = READABLE | {"stranger": NO_ACCESS}
CHOWN = dict.fromkeys(CALLERS, NO_MEMBER) | {
    "power": OK,
    "directory group": OK,
    "unauthenticated": DENIED,
}
IMAGE = make_image({"a": A})

TABLE: dict[str, tuple[Any, dict[str, str]]] = {
    "AddImage": (messages.AddImageRequest("dir/new", IMAGE), POWERFUL_ONLY),
    "AddImageTrusted": (messages.AddImageRequest("dir/new", IMAGE), POWERFUL_ONLY),
    "ChangeImageExpiration": (
        messages.ChangeImageExpirationRequest(LATER, "dir/soon"),
        OWNERS,
    ),
    "CheckDirectory": (messages.CheckDirectoryRequest("dir"), READABLE),
    "CheckImage": (messages.CheckImageRequest("dir/x"), READABLE),
    "ChownDirectory": (messages.ChangeOwnerRequest("dir/sub", "games"), CHOWN),
    "DeleteDirectory": (messages.DeleteDirectoryRequest("dir/sub"), POWERFUL_ONLY),
    "DeleteImage": (messages.DeleteImageRequest("dir/x"), OWNERS),
    "FindLatestImage": (
        messages.FindLatestImageRequest(directory_name="dir"),
        READABLE,
    ),
    "GetFilteredImageUpdates": (
        messages.GetFilteredImageUpdatesRequest(),
        READABLE,
    ),
    "GetImage": (messages.GetImageRequest("dir/none"), READABLE),
    "GetImageArchive": (messages.GetImageArchiveRequest("dir/x"), READABLE),
    "GetImageComputedFiles": (
        messages.GetImageComputedFilesRequest("dir/x"),
        READABLE,
    ),
    "GetImageExpiration": (messages.GetImageExpirationRequest("dir/x"), READABLE),
    "GetImageInodes": (messages.GetImageInodesRequest((), "dir/x"), READABLE),
    "GetImageUpdates": (None, READABLE),
    "GetImageUsageEstimate": (
        messages.GetImageUsageEstimateRequest("dir/x"),
        READABLE,
    ),
    "GetObjectStatisticsForImages": (
        messages.GetObjectStatisticsForImagesRequest(False, ("dir/x",)),
        READABLE,
    ),
    "GetReplicationMaster": (messages.GetReplicationMasterRequest(), READABLE),
    "ListDirectories": (None, READABLE),
    "ListImages": (None, READABLE),
    "ListSelectedImages": (messages.ListSelectedImagesRequest(), READABLE),
    "MakeDirectory": (messages.MakeDirectoryRequest("dir/other"), POWERFUL_ONLY),
    "RestoreImageFromArchive": (
        messages.RestoreImageFromArchiveRequest(b"x" * 100),
        POWERFUL_ONLY | {"power": "malformed archive"},
    ),
}


@pytest.fixture
def stores(owned):
    """Stores with two images and a directory that have every kind of owner."""
    image = gob.evolve(owned.stored("dir/x"), expires_at=Time(NOW_S + 3_600))
    owned.add("dir/soon", image, POWERFUL)
    owned.images.make_directory("dir/sub", False, POWERFUL)
    return owned


def call(stores, name: str, request: Any, identity: Identity, **options: Any) -> str:
    """Call a method; what comes of it."""
    clock, options = Clock(), {"open_reads": False, "powers": True} | options
    service = ImageService(stores.images, InlineWorker(), clock)
    methods = service.methods(open_reads=options["open_reads"])
    server = make_server(clock, methods, policy=Policy())
    channel, client = Channel(clock, Deadlines()), Recorder()
    link = Link(clock, channel, client)
    server.serve(channel, options["powers"], "there", identity=identity)
    link.right.write(f"ImageServer.{name}\n".encode())
    link.pump()
    accepted = client.take()
    if accepted.startswith(b"\n") and request is not None:
        link.right.write(gob.Encoder().encode(request))
        link.pump()
    answer = client.take()
    channel.abort()
    link.pump()
    if not accepted.startswith(b"\n"):
        return accepted.decode().strip()
    return outcome(name, answer)


def outcome(name: str, answer: bytes) -> str:
    """What an answer says, behind the acceptance of the call."""
    streams = ("List", "GetImageUpdates", "GetFilteredImageUpdates")
    if name.startswith(streams):
        return OK
    line, _, rest = answer.partition(b"\n")
    if line:
        return line.decode()
    cls = getattr(messages, f"{RESPONSES.get(name, name)}Response")
    return getattr(gob.decode(rest, cls).value, "error", "") or OK


RESPONSES = {"AddImageTrusted": "AddImage", "ChownDirectory": "ChangeOwner"}


@pytest.mark.parametrize("name", TABLE)
def test_access(stores, name: str) -> None:
    """Each caller gets from each method the answer that the table gives."""
    request, expected = TABLE[name]
    # Those who change something come last: then it is as it was for the others.
    for caller in sorted(CALLERS, key=lambda caller: expected[caller] == OK):
        found = call(stores, name, request, CALLERS[caller])
        assert found.startswith(expected[caller]), caller
        if expected[caller] == OK and expected is not READABLE:
            break


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ["ChangeImageExpiration", "DeleteImage"])
def test_owners(stores, name: str, caller: str) -> None:
    """Each of the owners may change an image that is as it was."""
    request, expected = TABLE[name]
    assert call(stores, name, request, CALLERS[caller]) == expected[caller]


@pytest.mark.parametrize("name", TABLE)
def test_open_reads(stores, name: str) -> None:
    """If reading is open to all, that is all that is."""
    request, expected = TABLE[name]
    found = call(stores, name, request, ANONYMOUS, open_reads=True)
    assert found == (OK if expected is READABLE else DENIED)


@pytest.mark.parametrize("name", TABLE)
def test_without_powers(stores, name: str) -> None:
    """Who does not use the powers of a certificate is treated like a stranger."""
    request, expected = TABLE[name]
    found = call(stores, name, request, CALLERS["power"], powers=False)
    assert found == expected["stranger"]


def test_table_is_complete(stores) -> None:
    """Every method is in the table."""
    service = ImageService(stores.images, InlineWorker(), Clock())
    methods = service.methods(open_reads=False)
    assert {method.name for method in methods} == TABLE.keys()
