"""Reaching servers by way of a proxy: ``docs/protocol.md``, "Proxies"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs
from twisted.internet.error import DNSLookupError

from imageserver.errors import ConfigError, ConnectionFailed, ImageServerError
from imageserver.srpc.carrier import Carrier, within
from imageserver.srpc.channel import Channel
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler, Proxy
from imageserver.srpc.messages import ConnectRequest, ConnectResponse
from imageserver.srpc.socks import ask_socks4, ask_socks5

Ask: TypeAlias = Callable[[Channel, str, int], Awaitable[None]]

_NANOSECONDS = 1_000_000_000


@attrs.frozen
class SocksProxy:
    """A proxy that speaks SOCKS.

    Attributes:
        host: where it is.
        port: its TCP port.
        ask: what to say to it.
        looks_up: whether it looks names up; else we do, for an IPv4 address.
    """

    host: str
    port: int
    ask: Ask
    looks_up: bool = True

    async def reach(self, dialler: Dialler, host: str, port: int) -> Carrier:
        """See ``Proxy``."""
        with _naming(self.host, self.port):
            reaching = self._reach(dialler, host, port)
            return await within(dialler.reactor, dialler.connect_timeout_s, reaching)

    async def _reach(self, dialler: Dialler, host: str, port: int) -> Carrier:
        if not self.looks_up:
            try:
                host = await dialler.reactor.resolve(host)
            except (DNSLookupError, ValueError) as error:
                raise ConnectionFailed(f"no IPv4 address of {host}") from error
        carrier = await dialler.reach(self.host, self.port)
        try:
            await self.ask(carrier.channel, host, port)
        except BaseException:
            carrier.abort()
            raise
        return carrier


@attrs.frozen
class SrpcProxy:
    """A server that connects its callers with others.

    Attributes:
        host: where it is.
        port: its TCP port.
    """

    host: str
    port: int

    async def reach(self, dialler: Dialler, host: str, port: int) -> Carrier:
        """See ``Proxy``."""
        with _naming(self.host, self.port):
            to_us = attrs.evolve(dialler, proxy=None)
            opened = await to_us.open(self.host, self.port)
            timeout_s = dialler.connect_timeout_s
            asking = _ask(to_us.connection(opened), host, port, timeout_s)
            try:
                await within(dialler.reactor, timeout_s, asking)
            except BaseException:
                opened.carrier.abort()
                raise
            return opened.carrier


async def _ask(connection: Connection, host: str, port: int, timeout_s: float) -> None:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    timeout_ns = int(timeout_s * _NANOSECONDS)
    async with connection.begin("Proxy.Connect") as call:
        call.send(ConnectRequest(where, "tcp", timeout_ns))
        await call.drain()
        response = await call.receive(ConnectResponse)
    if response.error:
        raise ConnectionFailed(response.error)


@contextmanager
def _naming(host: str, port: int) -> Iterator[None]:
    """Say in errors that it is the proxy that could not do it."""
    try:
        yield
    except ImageServerError as error:
        raise ConnectionFailed(f"proxy {host}:{port}: {error}") from error


def parse_proxy(url: str) -> Proxy | None:
    """The proxy that a URL stands for; ``None`` if it is empty.

    Raises:
        ConfigError: it stands for none.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"bad proxy: {url}: {error}") from None
    if not host or not port or parts.netloc.count("@") or parts.path.strip("/"):
        raise ConfigError(f"bad proxy: {url}: has to be SCHEME://HOST:PORT")
    match scheme:
        case "srpc":
            return SrpcProxy(host, port)
        case "socks" | "socks4a":
            return SocksProxy(host, port, ask_socks4)
        case "socks4":
            return SocksProxy(host, port, ask_socks4, looks_up=False)
        case "socks5":
            return SocksProxy(host, port, ask_socks5)
    raise ConfigError(f"unsupported proxy: {url}")
