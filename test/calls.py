"""Calls that several tests of the real daemon make."""

from __future__ import annotations

from pathlib import Path

from processes import Client, Daemon

from imageserver import gob
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.inode import DirectoryEntry, DirectoryInode, RegularInode
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)


def send_objects(client: Client, contents: list[bytes], *, end: bool) -> gob.Encoder:
    """Send a stream of objects, with or without its end mark."""
    assert client.begin("ObjectServer.AddObjects") == ""
    encoder = gob.Encoder()
    data = bytearray()
    for content in contents:
        data += encoder.encode(AddObjectRequest(len(content), hash_of(content)))
        data += content
    if end:
        data += encoder.encode(AddObjectRequest())
    client.send(bytes(data))
    return encoder


def receive_answers(client: Client, count: int) -> list[AddObjectResponse]:
    """The answers to a stream of objects."""
    decoder = gob.Decoder()
    return [client.receive(AddObjectResponse, decoder) for _ in range(count)]


def fetch(daemon: Daemon, contents: list[bytes], user: str | None = "admin") -> bytes:
    """Fetch objects, all of which must be there."""
    with daemon.client(user) as client:
        assert client.begin("ObjectServer.GetObjects") == ""
        request = GetObjectsRequest(hashes=tuple(map(hash_of, contents)))
        client.send(gob.Encoder().encode(request))
        response = client.receive(GetObjectsResponse)
        assert response.error == ""
        return client.file.read(sum(response.object_sizes))


def stored_files(daemon: Daemon) -> list[Path]:
    """All object files."""
    return [p for p in daemon.objects.glob("??/??/*") if p.is_file()]


def image_of(content: bytes) -> Image:
    """An image with one file."""
    inode = RegularInode(0o100644, size=len(content), hash_=hash_of(content))
    root = DirectoryInode((DirectoryEntry(b"file", 1),), 0o40755)
    return Image(file_system=FileSystem({1: inode}, root=root))
