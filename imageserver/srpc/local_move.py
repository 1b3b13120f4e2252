"""Moves a connection to a server on this machine to a Unix socket.

``docs/protocol.md``, "Local upgrade". Whatever is in the way, calls go on over TCP,
unless nobody could tell any more where the next one begins.
"""

from __future__ import annotations

import hmac
from typing import Any

from imageserver.errors import CallError, ConnectionFailed, RemoteProtocolError
from imageserver.srpc.call import Call
from imageserver.srpc.carrier import Carrier, connect_unix
from imageserver.srpc.client import Connection
from imageserver.srpc.local_socket import (
    ACKNOWLEDGED,
    COOKIE_BYTES,
    METHOD,
    address_of,
)
from imageserver.srpc.messages import (
    LocalUpgradeToUnixRequestOne,
    LocalUpgradeToUnixRequestTwo,
    LocalUpgradeToUnixResponseOne,
    LocalUpgradeToUnixResponseTwo,
)
from imageserver.srpc.protocol import Exactly


async def move_to_unix(
    reactor: Any, connection: Connection, cookie: bytes, arrival_s: float
) -> None:
    """Make the calls of a connection over a Unix socket, if the server agrees.

    Args:
        reactor: for the new connection.
        connection: one that no call was made on yet.
        cookie: 8 random bytes; who knows them is the server.
        arrival_s: how long the socket may take.

    Raises:
        ConnectionFailed: the socket is somebody else's.
        ProtocolError: the connection broke.
        ImageServerError: an answer is none.
    """
    try:
        async with connection.begin(METHOD) as call:
            carrier = await _agree(reactor, call, cookie, arrival_s)
    except CallError:
        return  # it does not know the method, or does not want to
    if carrier is not None:
        connection.move_to(carrier.channel)


async def _agree(
    reactor: Any, call: Call, cookie: bytes, arrival_s: float
) -> Carrier | None:
    """The new connection, if there is one."""
    call.send(LocalUpgradeToUnixRequestOne(cookie))
    await call.drain()
    offer = await call.receive(LocalUpgradeToUnixResponseOne)
    if offer.error:
        return None
    carrier = await _arrive(reactor, call, offer, arrival_s)
    try:
        call.send(LocalUpgradeToUnixRequestTwo(carrier is not None))
        await call.drain()
        if carrier is None:
            return None
        answer = await call.receive(LocalUpgradeToUnixResponseTwo)
        if answer.error:
            carrier.abort()
            return None
        returned = await carrier.channel.take(Exactly(COOKIE_BYTES), arrival_s)
        if not hmac.compare_digest(returned, cookie):
            raise ConnectionFailed("the Unix socket is not the server's")
    except BaseException:
        if carrier is not None:
            carrier.abort()
        raise
    return carrier


async def _arrive(
    reactor: Any, call: Call, offer: LocalUpgradeToUnixResponseOne, arrival_s: float
) -> Carrier | None:
    """Go to the socket that is offered, and say what we were told to say there."""
    if len(offer.server_cookie) != COOKIE_BYTES:
        return None  # who knows what we would be saying to whom
    try:
        address = address_of(offer.socket_path_name)
        deadlines = call.channel.deadlines
        carrier = await connect_unix(reactor, address, deadlines, arrival_s)
    except (ValueError, ConnectionFailed):
        return None
    try:
        carrier.channel.write(offer.server_cookie)
        await carrier.channel.drain()
        answer = await carrier.channel.take(Exactly(len(ACKNOWLEDGED)), arrival_s)
    except RemoteProtocolError:
        carrier.abort()
        return None
    except BaseException:
        carrier.abort()
        raise
    if answer != ACKNOWLEDGED:
        carrier.abort()
        return None
    return carrier
