"""Proxies as tests need them: small, and without limits."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from imageserver.errors import RemoteProtocolError
from imageserver.srpc.call import Call
from imageserver.srpc.messages import ConnectRequest, ConnectResponse
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import Data


class Relay(Protocol):
    """Gives to somebody else what it gets."""

    def __init__(self, other: Any, close: Callable[[], None]) -> None:
        self.other = other
        self.close = close

    def dataReceived(self, data: bytes) -> None:
        self.other.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.close()


async def join(transport: Any, close: Callable[[], None], port: int) -> Relay:
    """Connect with a port on this machine; what it says goes to ``transport``."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    relay = await endpoint.connect(Factory.forProtocol(lambda: Relay(transport, close)))
    return relay


class SocksServer(Protocol):
    """Speaks SOCKS; believes that all hosts are this machine.

    Attributes:
        asked: version and host of each request, of all servers.
    """

    asked: list[tuple[str, str]]

    def __init__(self) -> None:
        self.data = b""
        self.step: Callable[[], bool] = self.begin
        self.target: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        while self.data and self.step():
            pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.target is not None:
            self.target.transport.loseConnection()

    def take(self, size: int) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        assert len(taken) == size
        return taken

    def begin(self) -> bool:
        if self.data[0] == 5:
            assert self.take(3) == b"\5\1\0"
            self.transport.write(b"\5\0")
            self.step = self.socks5
            return True
        version, command = self.take(2)
        port = int.from_bytes(self.take(2))
        address = self.take(4)
        user, self.data = self.data.split(b"\0", 1)
        assert (version, command, user) == (4, 1, b"")
        if address[:3] == bytes(3):
            name, self.data = self.data.split(b"\0", 1)
            self.connect("4a", name.decode(), port, b"\0\x5a" + bytes(6))
        else:
            host = socket.inet_ntoa(address)
            self.connect("4", host, port, b"\0\x5a" + bytes(6))
        return False

    def socks5(self) -> bool:
        assert self.take(3) == b"\5\1\0"
        kind = self.take(1)[0]
        if kind == 3:
            host = self.take(self.take(1)[0]).decode()
        else:
            family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[kind]
            host = socket.inet_ntop(family, self.take(size))
        port = int.from_bytes(self.take(2))
        bound = b"\3\4name\0\0" if kind == 3 else bytes((kind,)) + bytes(size + 2)
        self.connect("5", host, port, b"\5\0\0" + bound)
        return False

    def connect(self, version: str, host: str, port: int, answer: bytes) -> None:
        self.asked.append((version, host))
        self.step = self.relay

        async def work() -> None:
            self.target = await join(
                self.transport, self.transport.loseConnection, port
            )
            self.transport.write(answer)

        Deferred.fromCoroutine(work())

    def relay(self) -> bool:
        self.target.transport.write(self.take(len(self.data)))
        return False


async def _connect(call: Call) -> None:
    request = await call.receive(ConnectRequest)
    assert request.network == "tcp"
    assert request.timeout_ns > 0
    host, _, port = request.address.rpartition(":")
    if host != "127.0.0.1":
        call.send(ConnectResponse(f"no such host: {host}"))
        return
    target = await join(call.channel.transport, call.channel.close, int(port))
    call.send(ConnectResponse())
    await call.drain()
    try:
        while True:
            data = await call.channel.take(Data(65536))
            target.transport.write(data)
    except RemoteProtocolError:
        target.transport.loseConnection()
        raise


PROXY_METHOD = Method("Proxy", "Connect", stream=_connect)
"""``Proxy.Connect`` of an SRPC server; only this machine is reached."""
