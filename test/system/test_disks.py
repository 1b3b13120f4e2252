"""Disks that are full or read-only: clear errors, and no restart afterwards.

The disks are small ones in memory; where none can be mounted, the tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import fetch, image_of, receive_answers, send_objects
from processes import Client, Daemon, wait_until

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    CheckImageRequest,
    CheckImageResponse,
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
)
from imageserver.model.object_messages import AddObjectRequest, AddObjectResponse

pytestmark = pytest.mark.system

MIB = 1 << 20


def mount(path: Path, options: str) -> None:
    """Mount a disk, or mount it again with other options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disks can be mounted: {done.stderr.decode()}")


@pytest.fixture
def daemon(stopped_daemon: Daemon) -> Iterator[Daemon]:
    """A daemon with a disk for objects and one for images."""
    disks = (stopped_daemon.objects, stopped_daemon.images)
    mounted = []
    try:
        for disk in disks:
            mount(disk, "size=32m,mode=700")
            mounted.append(disk)
        stopped_daemon.start("-uploadLease=1s")
        yield stopped_daemon
        stopped_daemon.kill()
    finally:
        for disk in mounted:
            subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk up with a file."""
    path = disk / ".filler"
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def upload(daemon: Daemon, *contents: bytes) -> list[str]:
    """Upload objects; the errors."""
    with daemon.client() as client:
        send_objects(client, list(contents), end=True)
        return [answer.error for answer in receive_answers(client, len(contents))]


def add_image(client: Client, name: str, content: bytes) -> object:
    """Add an image with one file; the response, or the text of the error."""
    request = AddImageRequest(name, image_of(content))
    return client.call("ImageServer.AddImage", request, AddImageResponse)


def test_full_in_an_upload(daemon: Daemon) -> None:
    """An object that does not fit any more is an error; the stream goes on.

    When there is space again, it can be uploaded.
    """
    small, large, last = b"small", os.urandom(4 * MIB), b"last"
    with daemon.client() as client:
        assert client.begin("ObjectServer.AddObjects") == ""
        encoder = gob.Encoder()
        for content in (small, large):
            client.send(
                encoder.encode(AddObjectRequest(len(content), hash_of(content)))
            )
            client.send(content[: 2 * MIB])
        wait_until(lambda: sum_of_incoming(daemon) >= MIB)
        filler = fill(daemon.objects)
        client.send(large[2 * MIB :])
        client.send(encoder.encode(AddObjectRequest(len(last), hash_of(last))) + last)
        client.send(encoder.encode(AddObjectRequest()))
        decoder = gob.Decoder()
        answers = [client.receive(AddObjectResponse, decoder) for _ in range(3)]
    assert answers[1].error == "cannot store: No space left on device"
    # Not even a directory fits on a disk that is full to the last block.
    assert {answers[0].error, answers[2].error} <= {"", answers[1].error}
    filler.unlink()
    assert upload(daemon, small, large, last) == [""] * 3
    assert fetch(daemon, [small, large, last]) == small + large + last
    assert list((daemon.objects / ".incoming").iterdir()) == []


def sum_of_incoming(daemon: Daemon) -> int:
    """How much of uploads has come to disk."""
    return sum(p.stat().st_size for p in (daemon.objects / ".incoming").iterdir())


def test_collected_when_full(daemon: Daemon) -> None:
    """On a full disk, what no image uses goes by itself, and uploads go on."""
    kept = os.urandom(MIB)
    assert upload(daemon, kept) == [""]
    with daemon.client() as client:
        assert add_image(client, "kept", kept) == AddImageResponse()
    for _ in range(30):
        upload(daemon, os.urandom(MIB))
    refused = upload(daemon, os.urandom(2 * MIB))
    assert refused[0].endswith(f"no space for an object of {2 * MIB} bytes")
    wait_until(lambda: upload(daemon, os.urandom(2 * MIB)) == [""])
    assert fetch(daemon, [kept]) == kept


def test_read_only_objects(daemon: Daemon) -> None:
    """While objects can only be read, they are; when they can be written, too."""
    content, new = os.urandom(100_000), os.urandom(100_000)
    assert upload(daemon, content) == [""]
    mount(daemon.objects, "remount,ro")
    assert upload(daemon, new) == ["cannot store: Read-only file system"]
    assert fetch(daemon, [content]) == content

    def forgotten() -> bool:
        """Nobody can remove the object, so it stays known."""
        with daemon.client() as client:
            client.call(
                "ImageServer.DeleteUnreferencedObjects",
                DeleteUnreferencedObjectsRequest(100, 0),
                DeleteUnreferencedObjectsResponse,
            )
        return b"cannot remove object" in daemon.log_bytes()

    wait_until(forgotten)
    assert fetch(daemon, [content]) == content
    mount(daemon.objects, "remount,rw")
    assert upload(daemon, new) == [""]
    assert fetch(daemon, [new]) == new


def test_full_images(daemon: Daemon) -> None:
    """Where no image can be stored, none is there, and the error says why.

    Objects cannot be recorded then either, but can be read. Both go on when there is
    space again.
    """
    content = os.urandom(1000)
    assert upload(daemon, content) == [""]
    filler = fill(daemon.images)
    with daemon.client() as client:
        error = add_image(client, "name", content)
        assert isinstance(error, str)
        assert "No space left" in error or "full" in error
        assert fetch(daemon, [content]) == content
        (error,) = upload(daemon, os.urandom(1000))
        assert error.startswith("cannot store: index: ")
        filler.unlink()
        assert upload(daemon, content) == [""]
        assert add_image(client, "name", content) == AddImageResponse()
        found = client.call(
            "ImageServer.CheckImage", CheckImageRequest("name"), CheckImageResponse
        )
        assert found.image_exists
