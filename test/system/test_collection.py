"""Objects that no image uses, in the real daemon."""

from __future__ import annotations

import os

import pytest
from calls import image_of, receive_answers, send_objects, stored_files
from processes import Daemon, wait_until

from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
)

pytestmark = pytest.mark.system


def upload(daemon: Daemon, *contents: bytes) -> None:
    """Upload objects on a connection of their own."""
    with daemon.client() as client:
        send_objects(client, list(contents), end=True)
        answers = receive_answers(client, len(contents))
    assert not any(answer.error for answer in answers)


def delete_all(daemon: Daemon) -> None:
    """Delete all objects that nobody needs, as soon as that can be done."""
    with daemon.client() as client:
        client.call(
            "ImageServer.DeleteUnreferencedObjects",
            DeleteUnreferencedObjectsRequest(100, 0),
            DeleteUnreferencedObjectsResponse,
        )


def test_clean_up(stopped_daemon: Daemon) -> None:
    """What is out of use goes by itself when there is too much of it."""
    stopped_daemon.start(
        "-uploadLease=1s",
        "-objectServerCleanupStartSize=1000",
        "-objectServerCleanupStopSize=200",
    )
    with stopped_daemon.client() as client:
        contents = [os.urandom(301) for _ in range(5)]
        send_objects(client, contents, end=True)
        receive_answers(client, 5)
        request = AddImageRequest("name", image_of(contents[0]))
        done = client.call("ImageServer.AddImage", request, AddImageResponse)
        assert done == AddImageResponse()
    wait_until(lambda: len(stored_files(stopped_daemon)) == 1)
    assert stored_files(stopped_daemon)[0].read_bytes() == contents[0]
    said = b"objects that no image uses"
    wait_until(lambda: said in stopped_daemon.log_bytes())


def test_delete(stopped_daemon: Daemon) -> None:
    """Who may do so deletes objects; leased ones and those of images stay."""
    stopped_daemon.start("-uploadLease=1s")
    wait_until(lambda: b"looked at all objects" in stopped_daemon.log_bytes())
    contents = [os.urandom(300) for _ in range(2)]
    upload(stopped_daemon, *contents)
    with stopped_daemon.client() as client:
        request = AddImageRequest("name", image_of(contents[0]))
        client.call("ImageServer.AddImage", request, AddImageResponse)
        send_objects(client, [b"leased"], end=True)
        receive_answers(client, 1)

        def only_needed_ones_left() -> bool:
            delete_all(stopped_daemon)
            found = {path.read_bytes() for path in stored_files(stopped_daemon)}
            assert found >= {contents[0], b"leased"}
            return len(found) == 2

        wait_until(only_needed_ones_left)
        client.call(
            "ImageServer.DeleteImage", DeleteImageRequest("name"), DeleteImageResponse
        )

    def nothing_left() -> bool:
        delete_all(stopped_daemon)
        return not stored_files(stopped_daemon)

    wait_until(nothing_left)
