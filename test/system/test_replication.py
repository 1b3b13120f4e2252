"""A replica follows its master, and another one follows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import fetch, image_of, send_objects
from processes import Certificates, Client, Daemon, wait_until

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
)
from imageserver.model.object_messages import AddObjectResponse

pytestmark = pytest.mark.system


def names(daemon: Daemon) -> set[str]:
    """The images that a daemon has."""
    with daemon.client() as client:
        assert client.begin("ImageServer.ListImages") == ""
        found = set()
        while line := client.line():
            found.add(line)
        return found


def upload(client: Client, contents: list[bytes]) -> None:
    """Add objects."""
    send_objects(client, contents, end=True)
    decoder = gob.Decoder()
    for content in contents:
        answer = client.receive(AddObjectResponse, decoder)
        assert answer.error == "" and answer.hash_ == hash_of(content)


def add(client: Client, name: str, content: bytes) -> None:
    """Add an image with one object."""
    upload(client, [content])
    response = client.call(
        "ImageServer.AddImage",
        AddImageRequest(name, image_of(content)),
        AddImageResponse,
    )
    assert response == AddImageResponse()


@pytest.fixture
def chain(tmp_path: Path, certificates: Certificates) -> Iterator[list[Daemon]]:
    """A master, a replica, and a replica of the replica; not started yet."""
    certificates.issue("replica", methods=("*.*",), hosts=("127.0.0.1",))
    daemons = [
        Daemon(tmp_path / f"daemon{number}", certificates) for number in range(3)
    ]
    yield daemons
    for daemon in daemons:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


def follow(daemon: Daemon, master: Daemon, *flags: str) -> None:
    """Start a replica."""
    own = daemon.certificates.of("replica")
    daemon.start(
        "-imageServerHostname=127.0.0.1",
        f"-imageServerPortNum={master.port}",
        f"-certFile={own / 'cert.pem'}",
        f"-keyFile={own / 'key.pem'}",
        *flags,
    )


def test_chain(chain: list[Daemon]) -> None:
    """What the master has comes to a replica, and to the replica of that."""
    master, middle, last = chain
    master.start()
    with master.client() as client:
        for number in range(30):
            add(client, f"image{number}", b"content %d" % (number // 2))
    follow(middle, master)
    follow(last, middle)
    began_s = time.monotonic()
    wait_until(lambda: names(last) == names(master))
    print(time.monotonic() - began_s)
    assert fetch(last, [b"content 3"]) == b"content 3"
