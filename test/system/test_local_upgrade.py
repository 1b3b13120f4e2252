"""Local clients move to a Unix socket of the real daemon."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import WAIT_S, Client, Daemon, wait_until

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import (
    AddObjectRequest,
    AddObjectResponse,
    GetObjectsRequest,
    GetObjectsResponse,
)
from imageserver.srpc.messages import (
    LocalUpgradeToUnixRequestOne,
    LocalUpgradeToUnixRequestTwo,
    LocalUpgradeToUnixResponseOne,
    LocalUpgradeToUnixResponseTwo,
)

pytestmark = pytest.mark.system

COOKIE = b"8 bytes."


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket can be; paths of sockets have to be short."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory) / "socket"


def ask(client: Client, encoder: gob.Encoder, decoder: gob.Decoder) -> Any:
    """Ask for the socket; the server's offer."""
    assert client.begin(".LocalUpgradeToUnix") == ""
    client.send(encoder.encode(LocalUpgradeToUnixRequestOne(COOKIE)))
    return client.receive(LocalUpgradeToUnixResponseOne, decoder)


def move(client: Client) -> str:
    """Move a client to the socket; its name."""
    encoder, decoder = gob.Encoder(), gob.Decoder()
    offer = ask(client, encoder, decoder)
    assert offer.error == ""
    name: str = offer.socket_path_name
    moved = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    moved.settimeout(WAIT_S)
    moved.connect("\0" + name[1:] if name.startswith("@") else name)
    moved.sendall(offer.server_cookie)
    assert moved.recv(1) == b"\0"
    client.send(encoder.encode(LocalUpgradeToUnixRequestTwo(True)))
    answer = client.receive(LocalUpgradeToUnixResponseTwo, decoder)
    assert answer.error == ""
    assert client.file.read() == b""  # the server ends TCP
    client.close()
    client.socket, client.file = moved, moved.makefile("rb")
    assert client.file.read(len(COOKIE)) == COOKIE
    return name


def use(client: Client) -> None:
    """Take part in everything that connections are used for."""
    client.send(b"\n\r\n")
    assert (client.line(), client.line()) == ("", "")
    content = os.urandom(3 << 20)
    encoder = gob.Encoder()
    assert client.begin("ObjectServer.AddObjects") == ""
    client.send(encoder.encode(AddObjectRequest(len(content), hash_of(content))))
    client.send(content + encoder.encode(AddObjectRequest()))
    assert client.receive(AddObjectResponse).error == ""
    assert client.begin("ObjectServer.GetObjects") == ""
    request = GetObjectsRequest(hashes=(hash_of(content),))
    client.send(gob.Encoder().encode(request))
    assert client.receive(GetObjectsResponse).object_sizes == (len(content),)
    assert client.file.read(len(content)) == content
    assert client.begin("ImageServer.ListImages") == ""
    assert client.line() == ""


def test_abstract(daemon: Daemon) -> None:
    """By itself the socket is in the abstract space, with the daemon's number."""
    assert daemon.process is not None
    with daemon.client("admin") as client:
        name = move(client)
        assert name == f"@SRPC.{daemon.process.pid}"
        use(client)
        assert daemon.stop() == 0
        assert client.file.read() == b""
    with socket.socket(socket.AF_UNIX) as other, pytest.raises(ConnectionRefusedError):
        other.connect("\0" + name[1:])


def test_rights(daemon: Daemon) -> None:
    """Who may not do something over TCP may not do it on the socket."""
    with daemon.client("nobody") as client:
        move(client)
        assert client.begin("ImageServer.MakeDirectory") == "access to method denied"
        assert client.begin("ImageServer.ListImages") == ""
        assert client.line() == ""
    wait_until(
        lambda: (
            b"MakeDirectory denied to 'nobody' from 127.0.0.1:" in daemon.log_bytes()
        )
    )


def test_path(stopped_daemon: Daemon, path: Path) -> None:
    """A path comes with the first client, for all users, and goes with the daemon."""
    daemon, flag = stopped_daemon, f"-srpcUnixSocketPath={path}"
    daemon.start(flag)
    assert not path.exists()
    with daemon.client() as client:
        assert move(client) == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        use(client)
    assert daemon.imagetool("list").returncode == 0
    assert daemon.stop() == 0
    assert not path.exists()
    daemon.start(flag)
    with daemon.client() as client:
        move(client)
        daemon.kill()
    assert path.is_socket()  # left behind
    daemon.start(flag)
    with daemon.client() as client:
        move(client)


def test_something_else_at_the_path(stopped_daemon: Daemon, path: Path) -> None:
    """What is no socket is not touched, and everything goes on over TCP."""
    path.write_text("precious")
    stopped_daemon.start(f"-srpcUnixSocketPath={path}")
    with stopped_daemon.client() as client:
        assert ask(client, gob.Encoder(), gob.Decoder()).error == "no socket"
        use(client)
    assert stopped_daemon.imagetool("list").returncode == 0
    wait_until(
        lambda: b"there is something else at its path" in stopped_daemon.log_bytes()
    )
    assert stopped_daemon.stop() == 0
    assert path.read_text() == "precious"


def test_switched_off(stopped_daemon: Daemon) -> None:
    """With an empty flag there is no socket, and that is no error."""
    stopped_daemon.start("-srpcUnixSocketPath=")
    with stopped_daemon.client() as client:
        assert ask(client, gob.Encoder(), gob.Decoder()).error == "no socket"
        use(client)
    done = stopped_daemon.imagetool("list")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Unix socket" not in stopped_daemon.log_bytes()


def test_strangers(daemon: Daemon) -> None:
    """Whoever comes to the socket with anything else is sent away, and nobody minds."""
    with daemon.client() as client:
        name = move(client)
        for said in (b"GET / HTTP/1.0\r\n\r\n", bytes(100), COOKIE):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                stranger.settimeout(WAIT_S)
                stranger.connect("\0" + name[1:])
                stranger.sendall(said)
                answer = b""
                try:
                    while piece := stranger.recv(100):
                        answer += piece
                except ConnectionResetError:
                    pass  # it did not read all we had to say
                assert answer == b"\0"
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.settimeout(WAIT_S)
            stranger.connect("\0" + name[1:])
            socket.send_fds(stranger, [b"file"], [writing])
            os.close(writing)
            assert os.read(reading, 1) == b""  # it was closed there, too
            os.close(reading)
        use(client)
    daemon.stop()
    assert b"Traceback" not in daemon.log_bytes()


def test_imagetool_moves(daemon: Daemon, tmp_path: Path) -> None:
    """Imagetool comes over the socket, and can do there all that it does."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(os.urandom(1 << 20))
    for arguments in (
        ("add", "1", str(tmp_path / "tree"), "", ""),
        ("get", "1", str(tmp_path / "out")),
        ("show", "1"),
    ):
        done = daemon.imagetool(*arguments)
        assert (done.returncode, done.stderr) == (0, b"")
    before = (tmp_path / "tree/file").read_bytes()
    assert (tmp_path / "out/file").read_bytes() == before
    moved = b".LocalUpgradeToUnix by 'admin'"
    wait_until(lambda: daemon.log_bytes().count(moved) >= 3)
    wait_until(lambda: b"listening on Unix socket @SRPC." in daemon.log_bytes())
