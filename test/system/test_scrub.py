"""The real daemon reads its objects again, and says what it finds."""

from __future__ import annotations

import json
import os

import pytest
from calls import image_of, receive_answers, send_objects
from processes import Daemon, wait_until

from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    GetImageRequest,
    GetImageResponse,
)

pytestmark = pytest.mark.system


def health(daemon: Daemon) -> dict:
    """What the status page says of the objects."""
    body = daemon.get("/?output=json").partition(b"\r\n\r\n")[2]
    return json.loads(body)["health"]


def test_scrub(daemon: Daemon) -> None:
    """A flipped bit is found; the object is put aside, and its image is named.

    Once it is uploaded again, all is well.
    """
    contents = [os.urandom(5_000) for _ in range(5)]
    with daemon.client() as client:
        send_objects(client, contents, end=True)
        receive_answers(client, 5)
        request = AddImageRequest("precious", image_of(contents[2]))
        done = client.call("ImageServer.AddImage", request, AddImageResponse)
        assert done == AddImageResponse()
    assert daemon.stop() == 0
    name = hash_of(contents[2]).hex()
    path = daemon.objects / name[:2] / name[2:4] / name[4:]
    path.write_bytes(contents[2][:-1] + bytes([contents[2][-1] ^ 1]))
    daemon.start("-scrubRate=1GiB", "-scrubInterval=1s")
    wait_until((daemon.objects / ".quarantine" / name).exists)
    assert daemon.stop() == 0
    daemon.start("-scrubRate=1GiB", "-scrubInterval=1s")
    found = wait_until(lambda: health(daemon)["missing"])
    assert found == [{"hash_hex": name, "images": ["precious"]}]
    wait_until(lambda: name.encode() in daemon.log_bytes())
    with daemon.client() as client:
        request = GetImageRequest("precious")
        refusal = client.call("ImageServer.GetImage", request, GetImageResponse)
        assert refusal == "image: precious is incomplete: 1 of its objects missing"
        send_objects(client, [contents[2]], end=True)
        (answer,) = receive_answers(client, 1)
    assert answer.added
    assert path.read_bytes() == contents[2]
    last = wait_until(lambda: health(daemon)["last_pass"])
    assert last["ended_s"] > 0
