"""Daemons that follow each other, for tests of the real one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calls import send_objects
from processes import Certificates, Client, Daemon, wait_until
from relay import Relay

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.image import Directory
from imageserver.model.image_messages import AddImageRequest, AddImageResponse
from imageserver.model.object_messages import (
    AddObjectResponse,
    CheckObjectsRequest,
    CheckObjectsResponse,
)
from imageserver.testing import make_image
from imageserver.tool.authority import REPLICA_METHODS

OVER_TCP = "-srpcUnixSocketPath="  # or clients would leave the relay


class Site:
    """A daemon that others follow by way of a relay, and that may follow one."""

    def __init__(self, root: Path, name: str, certificates: Certificates) -> None:
        """Start nothing yet."""
        self.name = name
        self.daemon = Daemon(root / name, certificates)
        self.relay: Relay | None = None
        self.flags: tuple[str, ...] = ()
        certificates.issue(name, hosts=("127.0.0.1",), methods=REPLICA_METHODS)

    def start(self, *flags: str, master: Site | None = None) -> None:
        """Start it; others find it where they found it before."""
        own = self.daemon.certificates.of(self.name)
        if master is not None:
            assert master.relay is not None
            flags = (
                "-imageServerHostname=127.0.0.1",
                f"-imageServerPortNum={master.relay.port}",
                *flags,
            )
        self.daemon.start(
            OVER_TCP,
            f"-certFile={own / 'cert.pem'}",
            f"-keyFile={own / 'key.pem'}",
            *flags,
        )
        if self.relay is None:
            self.relay = Relay(self.daemon.port)
        self.relay.target = self.daemon.port

    def close(self) -> None:
        """End it."""
        if self.relay is not None:
            self.relay.close()
        process = self.daemon.process
        if process is not None and process.poll() is None:
            self.daemon.kill()

    def names(self) -> set[str]:
        """Its images."""
        with self.daemon.client() as client:
            return list_names(client)

    def directories(self) -> dict[str, str]:
        """Its directories, and their owner groups."""
        found = {}
        with self.daemon.client() as client:
            assert client.begin("ImageServer.ListDirectories") == ""
            decoder = gob.Decoder()
            while (directory := client.receive(Directory, decoder)).name:
                found[directory.name] = directory.metadata.owner_group
        return found

    def call(self, method: str, request: Any, response: type) -> Any:
        """Call a method of ImageServer."""
        with self.daemon.client() as client:
            return client.call(f"ImageServer.{method}", request, response)

    def logs(self, text: bytes) -> bool:
        """Whether it has logged something."""
        return text in self.daemon.log_bytes()

    def wait_for(self, other: Site) -> None:
        """Wait until it has what another one has."""
        wait_until(
            lambda: (
                self.names() == other.names()
                and self.directories() == other.directories()
            )
        )


def list_names(client: Client) -> set[str]:
    """The images that a daemon has."""
    assert client.begin("ImageServer.ListImages") == ""
    names = set()
    while line := client.line():
        names.add(line)
    return names


def upload(client: Client, contents: Iterable[bytes]) -> list[AddObjectResponse]:
    """Add objects; the answers."""
    contents = list(contents)
    send_objects(client, contents, end=True)
    decoder = gob.Decoder()
    return [client.receive(AddObjectResponse, decoder) for _ in contents]


def add_image(
    client: Client, name: str, contents: Iterable[bytes], **attributes: Any
) -> Any:
    """Add objects, and an image of them; the response, or the text of the error."""
    contents = list(contents)
    for answer in upload(client, contents):
        assert answer.error == ""
    files = {f"file{number}": content for number, content in enumerate(contents)}
    request = AddImageRequest(name, make_image(files, **attributes))
    return client.call("ImageServer.AddImage", request, AddImageResponse)


def has_objects(site: Site, contents: Iterable[bytes]) -> bool:
    """Whether a daemon has all of these objects."""
    hashes = tuple(map(hash_of, contents))
    with site.daemon.client() as client:
        response = client.call(
            "ObjectServer.CheckObjects",
            CheckObjectsRequest(hashes),
            CheckObjectsResponse,
        )
    return all(response.object_sizes)
