"""Listening on real Unix sockets."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from srpc.clients import until
from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from imageserver.errors import ConfigError
from imageserver.srpc.local_socket import address_of
from imageserver.srpc.unix_port import UnixPort
from imageserver.testing import InlineWorker


class Greeter(Protocol):
    """Says something to whoever comes, and goes."""

    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Listening(TestCase):
    """A port that greets."""

    timeout = 20

    def setUp(self) -> None:
        # Paths of sockets are short; those of trial are not.
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "socket"

    async def listen(self, name: str) -> UnixPort:
        port = UnixPort(reactor, InlineWorker(), name)
        await port.listen(Factory.forProtocol(Greeter))
        self.addCleanup(port.stop)
        return port

    async def greeting(self, address: str) -> bytes:
        """What is said to somebody who comes; the system's error if nobody can."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(address)
            client.setblocking(False)
            answers: list[bytes] = []

            def ask() -> bool:
                try:
                    answers.append(client.recv(10))
                except BlockingIOError:
                    return False
                return True

            await until(ask)
            return answers[0]

    async def assertRefused(self, text: str) -> None:
        with self.assertRaisesRegex(ConfigError, text):
            await self.listen(str(self.path))

    async def test_abstract(self):
        """A name in the abstract space is no file, and is free again at the end."""
        name = f"@imageserver test {os.getpid()}"
        for _ in range(2):
            port = await self.listen(name)
            self.assertEqual(await self.greeting("\0" + name[1:]), b"hello")
            with self.assertRaises(CannotListenError):
                await self.listen(name)
            await port.stop()
            with self.assertRaises(ConnectionRefusedError):
                await self.greeting("\0" + name[1:])

    async def test_path(self):
        """A path is open to all users, and is removed at the end."""
        mask = os.umask(0o077)
        self.addCleanup(os.umask, mask)
        port = await self.listen(str(self.path))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o666)
        self.assertEqual(await self.greeting(str(self.path)), b"hello")
        await port.stop()
        self.assertFalse(self.path.exists())
        await port.stop()  # once more does no harm

    async def test_left_behind(self):
        """A socket that a dead server has left makes room."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(str(self.path))
            dead.listen()
        await self.listen(str(self.path))
        self.assertEqual(await self.greeting(str(self.path)), b"hello")

    async def test_something_else(self):
        """What is no socket is left alone, as is what leads to one."""
        for make in (
            lambda: self.path.write_text("precious"),
            self.path.mkdir,
            lambda: self.path.symlink_to("/nonexistent"),
        ):
            make()
            before = self.path.lstat()
            await self.assertRefused("^there is something else at its path$")
            self.assertEqual(self.path.lstat(), before)
            self.path.rmdir() if self.path.is_dir() else self.path.unlink()

    async def test_another_server(self):
        """The socket of a server that lives is left alone, even if it is busy."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(self.path))
            other.listen(0)
            await self.assertRefused("^another server listens on it$")
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            for client in clients:
                self.addCleanup(client.close)
                client.setblocking(False)
                try:
                    client.connect(str(self.path))
                except BlockingIOError:
                    break
            await self.assertRefused("^another server listens on it$")
        self.assertTrue(self.path.is_socket())

    async def test_replaced(self):
        """What somebody else has put at the path stays there at the end."""
        port = await self.listen(str(self.path))
        self.path.unlink()
        self.path.write_text("new")
        await port.stop()
        self.assertEqual(self.path.read_text(), "new")

    async def test_removed(self):
        """Nothing happens at the end if somebody was quicker, or forbids it."""
        port = await self.listen(str(self.path))
        self.path.unlink()
        await port.stop()
        port = await self.listen(str(self.path))

        def fail(_: Any) -> None:
            raise PermissionError

        self.patch(os, "unlink", fail)
        await port.stop()
        self.assertTrue(self.path.is_socket())

    async def test_no_directory(self):
        """Where there is no directory there is no socket."""
        with self.assertRaises(CannotListenError):
            await self.listen(str(self.path / "below"))


def test_names() -> None:
    """A name is a full path or begins with @, and the system takes it."""
    assert address_of("/run/socket") == "/run/socket"
    assert address_of("@SRPC.1") == "\0SRPC.1"
    assert address_of("/" + "x" * 106) == "/" + "x" * 106
    for name in (
        "",
        "@",
        "/",
        "relative",
        "./relative",
        "/" + "x" * 107,
        "@" + "é" * 60,
        "/null\0",
        "/\udcff",
    ):
        try:
            address_of(name)
        except ValueError as error:
            assert repr(name) in str(error)
        else:
            raise AssertionError(name)
