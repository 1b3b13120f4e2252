"""Listening on a Unix socket, without harm to what is there already."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from imageserver.errors import ConfigError
from imageserver.srpc.local_socket import address_of
from imageserver.worker import Worker

_BACKLOG = 128
_MODE = 0o666
"""Other users' programs come to it, too: what lets them in is a cookie."""

FileIdentity = tuple[int, int]


class _Port(unix.Port):
    """A port whose path is left to whoever made it."""

    def connectionLost(self, reason: Failure) -> None:
        """Close; Twisted would remove the path, whosever it is by now."""
        tcp.Port.connectionLost(self, reason)


class UnixPort:
    """A Unix socket that is listened on.

    Attributes:
        name: its name, as clients are told.
    """

    def __init__(self, reactor: Any, worker: Worker, name: str) -> None:
        """Prepare to listen.

        Args:
            reactor: runs it.
            worker: looks at the file system.
            name: path, or ``@`` and a name.
        """
        self.name = name
        self._reactor = reactor
        self._worker = worker
        self._port: _Port | None = None
        self._identity: FileIdentity | None = None

    async def listen(self, factory: IProtocolFactory) -> None:
        """Begin; a socket of that name that nobody listens on makes room.

        Raises:
            OSError: it cannot be made.
            CannotListenError: neither, and that is the reason.
            ConfigError: there is something else at its path.
        """
        address = address_of(self.name)
        has_path = not address.startswith("\0")
        if has_path:
            await self._worker.run(make_room, address)
        port = _Port(
            os.fsencode(address), factory, _BACKLOG, _MODE, reactor=self._reactor
        )
        port.startListening()
        self._port = port
        if has_path:
            self._identity = await self._worker.run(identify, address)

    async def stop(self) -> None:
        """End, and remove the path if it is still ours."""
        if self._port is None:
            return
        port, self._port = self._port, None
        await port.stopListening()
        if self._identity is not None:
            await self._worker.run(remove, self.name, self._identity)


def make_room(path: str) -> None:
    """Remove the socket that a server has left behind. It blocks.

    Raises:
        OSError: that is not possible.
        ConfigError: it is in use, or something else.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError("there is something else at its path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # nobody listens on it
        except BlockingIOError:
            raise ConfigError("another server listens on it") from None
        else:
            raise ConfigError("another server listens on it")


def identify(path: str) -> FileIdentity | None:
    """Which file a path stands for; ``None``: there is none. It blocks."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove(path: str, identity: FileIdentity) -> None:
    """Remove a path if it still stands for that file. It blocks."""
    if identify(path) == identity:
        with suppress(OSError):  # the next server will make room
            os.unlink(path)
