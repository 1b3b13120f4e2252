"""SOCKS: what a client says to a proxy, and what the proxy answers.

::

    4   C: 4 1 <port> <IPv4 address> 0
    4a  C: 4 1 <port> 0.0.0.1 0 <name> 0
        S: 0 <code> <6 bytes>

    5   C: 5 1 0                                   only "no authentication"
        S: 5 0
        C: 5 1 0 <kind> <address> <port>
        S: 5 <code> 0 <kind> <address> <port>

Source: the SOCKS 4 and 4a memoranda; RFC 1928.
"""

from __future__ import annotations

import ipaddress

from imageserver.errors import ConnectionFailed, RemoteProtocolError
from imageserver.srpc.channel import Channel
from imageserver.srpc.protocol import Exactly

_GRANTED_4 = 0x5A
_REFUSALS_4 = {
    0x5B: "request rejected",
    0x5C: "no identd on the client",
    0x5D: "user not confirmed",
}
_REFUSALS_5 = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "no route to host",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LONGEST_NAME = 255


async def ask_socks4(channel: Channel, host: str, port: int) -> None:
    """Ask for a connection with SOCKS 4, or 4a if ``host`` is a name.

    Args:
        channel: the connection to the proxy.
        host: IPv4 address, or a name that the proxy has to look up.
        port: TCP port.

    Raises:
        ConnectionFailed: the proxy refuses, or cannot be asked for this.
        RemoteProtocolError: it broke the rules or the connection.
    """
    name = b""
    address = _parse(host)
    if address is None:
        packed, name = b"\0\0\0\1", _encode(host) + b"\0"
    elif address.version == 4:
        packed = address.packed
    else:
        raise ConnectionFailed("SOCKS 4 has no IPv6")
    channel.write(b"\4\1" + port.to_bytes(2) + packed + b"\0" + name)
    await channel.drain()
    version, code, *_ = await channel.take(Exactly(8))
    if version != 0:
        raise RemoteProtocolError("the proxy does not speak SOCKS 4")
    if code != _GRANTED_4:
        raise ConnectionFailed(_REFUSALS_4.get(code, f"refused, code {code}"))


async def ask_socks5(channel: Channel, host: str, port: int) -> None:
    """Ask for a connection with SOCKS 5.

    Args:
        channel: the connection to the proxy.
        host: address, or a name that the proxy has to look up.
        port: TCP port.

    Raises:
        ConnectionFailed: the proxy refuses, or cannot be asked for this.
        RemoteProtocolError: it broke the rules or the connection.
    """
    target = _encode_target(host)
    channel.write(b"\5\1\0")
    await channel.drain()
    version, method = await channel.take(Exactly(2))
    if version != 5:
        raise RemoteProtocolError("the proxy does not speak SOCKS 5")
    if method != 0:
        raise ConnectionFailed("the proxy wants authentication")
    channel.write(b"\5\1\0" + target + port.to_bytes(2))
    await channel.drain()
    version, code, _, kind = await channel.take(Exactly(4))
    if version != 5:
        raise RemoteProtocolError("the proxy does not speak SOCKS 5")
    if code != 0:
        raise ConnectionFailed(_REFUSALS_5.get(code, f"refused, code {code}"))
    sizes = {_IPV4: 4, _IPV6: 16}
    if kind == _NAME:
        size = (await channel.take(Exactly(1)))[0]
    elif kind in sizes:
        size = sizes[kind]
    else:
        raise RemoteProtocolError("the proxy answers with an unknown address")
    await channel.take(Exactly(size + 2))


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _encode_target(host: str) -> bytes:
    address = _parse(host)
    if address is None:
        name = _encode(host)
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _encode(host: str) -> bytes:
    """A name as bytes that cannot be taken for anything else."""
    try:
        name = host.encode("ascii")
    except UnicodeEncodeError:
        name = b""
    if not 0 < len(name) <= _LONGEST_NAME or b"\0" in name:
        raise ConnectionFailed(f"not a name: {host!r}")
    return name
