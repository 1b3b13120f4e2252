"""Where connections come in: a port of our own, or sockets that were handed to us."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from imageserver.errors import ConfigError

_BACKLOG = 1024


def bind(reactor: Any, number: int, address: str, factory: Factory) -> IListeningPort:
    """Listen on a port.

    Args:
        reactor: runs it.
        number: the port; 0: any.
        address: on which; empty: all.
        factory: makes the protocols of connections.

    Raises:
        ConfigError: the port is not to be had.
    """
    refusals = []
    for interface in (address,) if address else ("::", "0.0.0.0"):  # noqa: S104 - all
        try:
            port: IListeningPort = reactor.listenTCP(
                number, factory, _BACKLOG, interface
            )
        except CannotListenError as error:
            refusals.append(str(error.socketError))
        else:
            return port
    raise ConfigError(f"cannot listen on port {number}: {refusals[-1]}")


def inherited_descriptors(reactor: Any, environment: Mapping[str, str]) -> list[int]:
    """The sockets that a supervisor has opened for us: ``LISTEN_FDS``.

    By way of endpoints, because Twisted takes that variable out of the environment as
    soon as it is imported; not their names, which tell whether there are any.
    """
    found: list[int] = []
    if "LISTEN_FDNAMES" in environment:
        with suppress(IndexError):
            while True:
                description = f"systemd:domain=INET:index={len(found)}"
                found.append(serverFromString(reactor, description).fileno)
    return found


def adopt(
    reactor: Any, descriptors: Sequence[int], factory: Factory
) -> list[IListeningPort]:
    """Listen on sockets that the supervisor has opened.

    It keeps them open while we are not there: clients then wait, and are not refused.

    Raises:
        ConfigError: one of them is not for us.
    """
    ports = []
    for descriptor in descriptors:
        try:
            with socket.socket(fileno=os.dup(descriptor)) as handed:
                family, kind = handed.family, handed.type
                listens = handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ConfigError(f"socket {descriptor}: {error.strerror}") from error
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise ConfigError(f"socket {descriptor} is not an Internet socket")
        if kind != socket.SOCK_STREAM or not listens:
            raise ConfigError(f"socket {descriptor} is not one that listens")
        os.set_blocking(descriptor, False)
        ports.append(reactor.adoptStreamPort(descriptor, family, factory))
        os.close(descriptor)  # the port has its own
    return ports
