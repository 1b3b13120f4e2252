"""The daemon is killed without warning: nothing acknowledged is missing."""

from __future__ import annotations

import os

import pytest
from calls import fetch, image_of, receive_answers, send_objects, stored_files
from processes import Daemon, wait_until

from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    CheckImageRequest,
    CheckImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    GetImageRequest,
    GetImageResponse,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.model.object_messages import (
    AddObjectRequest,
    CheckObjectsRequest,
    CheckObjectsResponse,
)

pytestmark = pytest.mark.system


@pytest.mark.parametrize("count", [3, 300])
def test_acknowledged_objects_survive(daemon: Daemon, count: int) -> None:
    """What was acknowledged is there after kill -9, whole, whether few or many."""
    contents = [os.urandom(3_000 + n) for n in range(count)]
    with daemon.client() as client:
        send_objects(client, contents, end=True)
        answers = receive_answers(client, count)
        daemon.kill()
    assert [answer.error for answer in answers] == [""] * count
    assert all(answer.added for answer in answers)
    daemon.start()
    assert fetch(daemon, contents) == b"".join(contents)


def test_killed_in_an_upload(daemon: Daemon) -> None:
    """An upload that is cut off by kill -9 leaves whole objects or nothing.

    The next start removes what was unfinished, and the same upload then succeeds.
    """
    contents = [os.urandom(5_000) for _ in range(50)] + [os.urandom(8 << 20)]
    incoming = daemon.objects / ".incoming"
    with daemon.client() as client:
        encoder = send_objects(client, contents[:-1], end=False)
        last = contents[-1]
        client.send(encoder.encode(AddObjectRequest(len(last), hash_of(last))))
        client.send(last[: len(last) // 2])
        wait_until(lambda: list(incoming.iterdir()))
        daemon.kill()
    daemon.start()
    assert list(incoming.iterdir()) == []
    for path in stored_files(daemon):
        name = path.parent.parent.name + path.parent.name + path.name
        assert hash_of(path.read_bytes()).hex() == name
    with daemon.client() as client:
        send_objects(client, contents, end=True)
        answers = receive_answers(client, len(contents))
    assert [answer.error for answer in answers] == [""] * len(contents)
    assert fetch(daemon, contents) == b"".join(contents)


def test_client_vanishes(daemon: Daemon) -> None:
    """If the client goes away, whole objects are kept; the unfinished one is not."""
    contents = [os.urandom(5_000) for _ in range(10)]
    with daemon.client() as client:
        encoder = send_objects(client, contents, end=False)
        client.send(encoder.encode(AddObjectRequest(1 << 20, bytes(64))))
        client.send(b"only a part")
    wait_until(lambda: len(stored_files(daemon)) == len(contents))
    wait_until(lambda: not list((daemon.objects / ".incoming").iterdir()))
    assert fetch(daemon, contents) == b"".join(contents)


def test_acknowledged_images_survive(daemon: Daemon) -> None:
    """Images, directories and deletions that were acknowledged survive kill -9."""
    content = b"some content"
    with daemon.client() as client:
        send_objects(client, [content], end=True)
        receive_answers(client, 1)
        for name in ("kept", "dropped"):
            request = AddImageRequest(f"dir/sub/{name}", image_of(content))
            if name == "kept":
                made = MakeDirectoryRequest("dir/sub", True)
                client.call("ImageServer.MakeDirectory", made, MakeDirectoryResponse)
            done = client.call("ImageServer.AddImage", request, AddImageResponse)
            assert done == AddImageResponse()
        done = client.call(
            "ImageServer.DeleteImage",
            DeleteImageRequest("dir/sub/dropped"),
            DeleteImageResponse,
        )
        assert done == DeleteImageResponse()
        daemon.kill()
    daemon.start()
    with daemon.client() as client:
        for name, there in (("kept", True), ("dropped", False)):
            response = client.call(
                "ImageServer.CheckImage",
                CheckImageRequest(f"dir/sub/{name}"),
                CheckImageResponse,
            )
            assert response.image_exists is there
        response = client.call(
            "ImageServer.GetImage", GetImageRequest("dir/sub/kept"), GetImageResponse
        )
        assert response.image.file_system.inodes == image_of(content).file_system.inodes
        assert response.image.created_by == "admin"


def test_index_is_rebuilt(daemon: Daemon) -> None:
    """A lost or damaged index costs nothing but a look at the files."""
    content = b"some content"
    with daemon.client() as client:
        send_objects(client, [content], end=True)
        receive_answers(client, 1)
        request = AddImageRequest("name", image_of(content))
        client.call("ImageServer.AddImage", request, AddImageResponse)
    index = daemon.images / ".index.sqlite3"
    for damage in (b"", b"garbage" * 1_000):
        assert daemon.stop() == 0
        index.write_bytes(damage)
        daemon.start()
        with daemon.client() as client:
            response = client.call(
                "ImageServer.CheckImage", CheckImageRequest("name"), CheckImageResponse
            )
            assert response.image_exists
            response = client.call(
                "ObjectServer.CheckObjects",
                CheckObjectsRequest((hash_of(content), bytes(64))),
                CheckObjectsResponse,
            )
            assert response.object_sizes == (len(content), 0)


def test_damaged_files_do_not_stop_it(daemon: Daemon) -> None:
    """A damaged image and a truncated object are put aside; the rest is served."""
    contents = [b"first content", b"second content"]
    with daemon.client() as client:
        send_objects(client, contents, end=True)
        receive_answers(client, 2)
        for name, content in zip(("good", "bad"), contents, strict=True):
            request = AddImageRequest(name, image_of(content))
            client.call("ImageServer.AddImage", request, AddImageResponse)
    assert daemon.stop() == 0
    bad = daemon.images / "bad"
    bad.write_bytes(bad.read_bytes()[:-70])
    hash_hex = hash_of(contents[1]).hex()
    victim = daemon.objects / hash_hex[:2] / hash_hex[2:4] / hash_hex[4:]
    os.truncate(victim, 5)
    daemon.start()
    assert daemon.imagetool("list").stdout == b"good\n"
    assert (daemon.images / ".quarantine" / "bad").exists()
    wait_until((daemon.objects / ".quarantine" / hash_hex).exists)
    assert fetch(daemon, contents[:1]) == contents[0]
    assert b"2 damaged files" in daemon.get("/")
