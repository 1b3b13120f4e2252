"""Who is not let in, and what bad input does: a clear error, and nothing else."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from processes import Client, Daemon

from imageserver import gob
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    CheckImageRequest,
    CheckImageResponse,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.model.inode import DirectoryEntry, DirectoryInode
from imageserver.model.object_messages import AddObjectRequest, AddObjectResponse

pytestmark = pytest.mark.system

CONTENT = b"something to keep"


@pytest.fixture(autouse=True)
def nothing_is_lost(daemon: Daemon):
    """The daemon lives after each test, and still has what it had before."""
    with daemon.client() as client:
        assert add_object(client, CONTENT) == ""
    yield
    with daemon.client() as client:
        client.send(b"\n")
        assert client.line() == ""
        assert client.call(
            "ImageServer.CheckImage", CheckImageRequest("x"), CheckImageResponse
        ) == CheckImageResponse(False)
    hash_hex = hash_of(CONTENT).hex()
    path = daemon.objects / hash_hex[:2] / hash_hex[2:4] / hash_hex[4:]
    assert path.read_bytes() == CONTENT
    assert b"internal error" not in daemon.log_bytes()
    assert b"Traceback" not in daemon.log_bytes()
    assert daemon.stop() == 0


def add_object(client: Client, content: bytes, expected: bytes | None = None) -> str:
    """Send one object; the error, if any."""
    assert client.begin("ObjectServer.AddObjects") == ""
    encoder = gob.Encoder()
    request = AddObjectRequest(len(content), expected or hash_of(content))
    end = encoder.encode(request) + content + encoder.encode(AddObjectRequest())
    client.send(end)
    return client.receive(AddObjectResponse).error


def test_no_certificate(daemon: Daemon) -> None:
    """Without a certificate there is no unsecured endpoint, and TLS is refused."""
    with daemon.client(None) as client:
        assert client.greeting.startswith(b"HTTP/1.0 405 ")
    with pytest.raises(
        ssl.SSLError, match=r"CERTIFICATE_REQUIRED|certificate required"
    ):
        client = Client(daemon.port, Path("/nonexistent"))
        client.send(b"\n")
        client.line()
    done = daemon.imagetool("list", user="missing")
    assert done.returncode == 1
    where = f"127.0.0.1:{daemon.port}"
    said, hint = done.stderr.decode().splitlines()
    assert said == f"Error dialing: {where}: missing certificate"
    assert hint.startswith("hint: the server wants a certificate, and there is none in")


def test_foreign_authority(daemon: Daemon) -> None:
    """A certificate of another CA is refused in the handshake, and that is logged."""
    with pytest.raises(ssl.SSLError, match=r"UNKNOWN_CA|unknown ca"):
        client = Client(daemon.port, daemon.certificates.of("stranger"))
        client.send(b"\n")
        client.line()
    assert daemon.imagetool("list", user="stranger").returncode == 1


def test_method_not_listed(daemon: Daemon) -> None:
    """A method that the certificate does not list is denied; public ones are not."""
    with daemon.client("nobody") as client:
        assert client.begin("ObjectServer.AddObjects") == "access to method denied"
        assert client.begin("ImageServer.MakeDirectory") == "access to method denied"
        assert client.begin("ImageServer.ListImages") == ""
        assert client.line() == ""
    done = daemon.imagetool("mkdir", "dir", user="nobody")
    assert done.stderr.decode().splitlines() == [
        "error creating directory: access to method denied",
        "hint: nobody may not call ImageServer.MakeDirectory: the certificate permits"
        " no method; whoever has the CA can issue another one",
    ]
    assert not (daemon.images / "dir").exists()


def test_unknown_methods(daemon: Daemon) -> None:
    """Names of nothing are refused with the known texts; the connection goes on."""
    with daemon.client() as client:
        assert client.begin("Nobody.Nothing") == "unknown service: Nobody"
        unknown = "ImageServer: unknown method: Nothing"
        assert client.begin("ImageServer.Nothing") == unknown
        assert client.begin("bad") == "malformed Service.Method: bad"
        assert client.begin(".Nothing") == ": unknown method: Nothing"
        client.send(b"\r\n")
        assert client.line() == ""


_ALERT = bytes.fromhex("15030300020216")  # "record overflow"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT\n\n",
        b"CONNECT /_goSRPC_/ HTTP/1.0\nX: " + b"y" * 100_000,
        b"\x16\x03\x01" + b"\xff" * 500 + b"\n\n",
        "€".encode() * 1_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 9,
        b"GET /%ff HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
    ],
    ids=[
        "zeros",
        "version",
        "short",
        "long header",
        "tls-like",
        "text",
        "behind a bad header",
        "path",
        "host",
    ],
)
def test_garbage_before_connect(daemon: Daemon, garbage: bytes) -> None:
    """What is neither HTTP nor TLS is answered with 400 or an alert, and closed."""
    expected = (b"HTTP/1.0 400", b"HTTP/1.1 400", b"", _ALERT)
    assert daemon.exchange(garbage)[:12] in expected


def test_garbage_after_connect(daemon: Daemon) -> None:
    """Garbage in place of a handshake closes the connection."""
    connect = b"CONNECT /_go_TLS_SRPC_/ HTTP/1.0\n\n"
    answer = daemon.exchange(connect + b"garbage" * 1_000)
    accepted = b"HTTP/1.0 200 Connected to Go SRPC\n\n"
    assert answer.startswith(accepted)
    assert len(answer) < len(accepted) + 10  # a TLS alert at most


def test_endless_method_line(daemon: Daemon) -> None:
    """A method line without end closes the connection."""
    with daemon.client() as client:
        client.send(b"x" * 100_000)
        assert client.file.read() == b""


@pytest.mark.parametrize(
    ("request_bytes", "text"),
    [
        (b"\x00", "EOF"),
        (b"\xf8\x7f" + b"\xff" * 7, "invalid message length"),
        (b"\xf8\x80" + b"\x00" * 7, "invalid message length"),
        (b"\xfc\x40\x00\x00\x00", "invalid message length"),
        (b"\x80", "invalid message length"),
        (b"\x03\x04\x00\x06", "wrong type"),
        (b"\x03\xff\x80\x00", "undefined type"),
        (b"\x05\x7f\x7f\x7f\x7f\x7f", "malformed"),
    ],
)
def test_bad_messages(daemon: Daemon, request_bytes: bytes, text: str) -> None:
    """A request that is no gob, or too long, gets an error line; then it is over."""
    with daemon.client() as client:
        assert client.begin("ImageServer.CheckImage") == ""
        client.send(request_bytes)
        assert text in client.line()
        assert client.file.read() == b""


def test_truncated_message(daemon: Daemon) -> None:
    """A request that never ends is forgotten with its connection."""
    with daemon.client() as client:
        assert client.begin("ImageServer.CheckImage") == ""
        client.send(gob.Encoder().encode(CheckImageRequest("name"))[:-3])


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../b", ".hidden", "a//b", "t~", "a/.metadata", "", "a\nb", "."],
)
def test_bad_names(daemon: Daemon, name: str) -> None:
    """Names that escape, hide or break things are refused, with nothing touched."""
    root = DirectoryInode(mode=0o40755)
    request = AddImageRequest(name, Image(file_system=FileSystem(root=root)))
    audit_log = daemon.root / "images/.audit.jsonl"
    audit_log.touch()
    before = sorted(daemon.root.rglob("*"))
    with daemon.client() as client:
        error = client.call("ImageServer.AddImage", request, AddImageResponse)
        assert error.startswith("invalid name: ")
        if name not in ("", ".", "a/../b", "a//b"):  # these are only unusual spellings
            made = MakeDirectoryRequest(name, True)
            error = client.call(
                "ImageServer.MakeDirectory", made, MakeDirectoryResponse
            )
            assert error.startswith("invalid name: ")
    assert sorted(daemon.root.rglob("*")) == before
    first = json.loads(audit_log.read_text().splitlines()[0])
    assert (first["subject"], first["outcome"][:14]) == (name, "invalid name: ")


def test_bad_trees(daemon: Daemon) -> None:
    """A tree with a circle, or an entry that leads out of it, names the path."""
    circle = DirectoryInode((DirectoryEntry(b"again", 7),), 0o40755)
    for entry, inodes, text in (
        (
            DirectoryEntry(b"loop", 7),
            {7: circle},
            "directory reached twice: /loop/again",
        ),
        (DirectoryEntry(b"../../etc", 8), {}, "malformed entry name: /../../etc"),
        (DirectoryEntry(b"nothing", 9), {}, "no inode 9 for: /nothing"),
    ):
        root = DirectoryInode((entry,), 0o40755)
        image = Image(file_system=FileSystem(inodes, root=root))
        with daemon.client() as client:
            answer = client.call(
                "ImageServer.AddImage", AddImageRequest("name", image), AddImageResponse
            )
            assert answer == text


def test_wrong_hash(daemon: Daemon) -> None:
    """An object that is not what it should be is refused and not kept."""
    with daemon.client() as client:
        error = add_object(client, b"content", expected=bytes(64))
    computed = hash_of(b"content").hex()
    assert error == f"hash mismatch. Computed={computed}, expected={'00' * 64}"
    assert not (daemon.objects / computed[:2]).exists()


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 50])
def test_absurd_length(daemon: Daemon, length: int) -> None:
    """An object that cannot fit anywhere is refused before any of it is sent."""
    with daemon.client() as client:
        assert client.begin("ObjectServer.AddObjects") == ""
        client.send(gob.Encoder().encode(AddObjectRequest(length)))
        error = client.receive(AddObjectResponse).error
        limit = f"the limit is {1 << 44} (-maxObjectSize)"
        assert error == f"object of {length} bytes: {limit}"
        assert client.file.read() == b""
