"""What the flags for objects do, in the real daemon."""

from __future__ import annotations

import os

import pytest
from processes import Client, Daemon

from imageserver import gob
from imageserver.model import object_messages
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)

pytestmark = pytest.mark.system

LARGE = os.urandom(3 << 20)


def add(client: Client, *contents: bytes) -> list[AddObjectResponse]:
    """Add objects; the answers."""
    assert client.begin("ObjectServer.AddObjects") == ""
    encoder, decoder = gob.Encoder(), gob.Decoder()
    for content in contents:
        client.send(encoder.encode(AddObjectRequest(len(content))) + content)
    client.send(encoder.encode(AddObjectRequest()))
    return [client.receive(AddObjectResponse, decoder) for _ in contents]


def get(client: Client, content: bytes) -> tuple[str, bytes]:
    """Ask for an object; the error, or what came."""
    assert client.begin("ObjectServer.GetObjects") == ""
    request = GetObjectsRequest(hashes=(hash_of(content),))
    client.send(gob.Encoder().encode(request))
    response = client.receive(GetObjectsResponse)
    return response.error, client.file.read(sum(response.object_sizes))


@pytest.mark.parametrize("user", ["admin", None])
def test_verify_reads(stopped_daemon: Daemon, user: str | None) -> None:
    """A damaged object never arrives whole; it is put aside, and comes back."""
    daemon = stopped_daemon
    daemon.start("-verifyReads", "-allowUnauthenticatedReads")
    with daemon.client() as client:
        assert add(client, LARGE)[0].added
    with daemon.client(user) as client:
        assert get(client, LARGE) == ("", LARGE)
    name = hash_of(LARGE).hex()
    path = daemon.objects / name[:2] / name[2:4] / name[4:]
    with path.open("r+b") as file:
        file.seek(10)
        file.write(bytes([LARGE[10] ^ 1]))
    with daemon.client(user) as client:
        error, received = get(client, LARGE)
        assert (error, len(received) < len(LARGE)) == ("", True)
    with daemon.client(user) as client:
        assert get(client, LARGE) == (f"unknown object: {name}", b"")
    assert (daemon.objects / ".quarantine" / name).exists()
    with daemon.client() as client:
        assert add(client, LARGE)[0].added
    with daemon.client(user) as client:
        assert get(client, LARGE) == ("", LARGE)
    assert daemon.stop() == 0
    assert b"internal error" not in daemon.log_bytes()


def test_sizes(stopped_daemon: Daemon) -> None:
    """Objects that are too long or do not fit are refused with the reason."""
    daemon = stopped_daemon
    daemon.start("-maxObjectSize=1KiB", "-minimumFreeSpace=1EiB")
    with daemon.client() as client:
        for answer in add(client, b"x" * 1000, b"y" * 10):
            assert answer.error.startswith("cannot store: no space for an object of ")
        (answer,) = add(client, b"z" * 1025)
        text = "object of 1025 bytes: the limit is 1024 (-maxObjectSize)"
        assert answer.error == text
        assert client.file.read() == b""


def test_bandwidth(daemon: Daemon) -> None:
    """Bandwidth is measured in both directions."""
    response = object_messages.TestBandwidthResponse
    with daemon.client() as client:
        assert client.begin("ObjectServer.TestBandwidth") == ""
        request = object_messages.TestBandwidthRequest(1_000_000_000, 65535, True)
        chunks = (b"x" * 65535 + b"\1") * 100 + b"x" * 65535 + b"\0"
        client.send(gob.Encoder().encode(request) + chunks)
        assert client.receive(response).server_duration_ns > 0
        assert client.begin("ObjectServer.TestBandwidth") == ""
        request = object_messages.TestBandwidthRequest(1_000_000_000, 65535, False)
        client.send(gob.Encoder().encode(request))
        count = 1
        while client.file.read(65536)[-1]:
            count += 1
        assert count > 100
        took_ns = client.receive(response).server_duration_ns
        assert 1_000_000_000 <= took_ns < 5_000_000_000
