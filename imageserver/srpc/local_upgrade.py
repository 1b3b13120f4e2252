"""Lets local clients move their connection to a Unix socket.

``docs/protocol.md``, "Local upgrade"::

    C TCP:  .LocalUpgradeToUnix LF
    S TCP:  LF
    C TCP:  {ClientCookie}
    S TCP:  {Error} or {ServerCookie, SocketPathname}
    C Unix: ServerCookie, 8 bytes
    S Unix: a zero byte
    C TCP:  {SentServerCookie}; false: it goes on with TCP
    S TCP:  {Error}; an error: it goes on with TCP
    S Unix: ClientCookie, 8 bytes; then calls

A cookie is good for one connection, and for a short time. Whoever comes to the socket
without one is nobody, and has to go.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IFileDescriptorReceiver,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from imageserver.errors import ConfigError, PeerTooSlow, RemoteProtocolError
from imageserver.srpc.call import Call
from imageserver.srpc.channel import Channel
from imageserver.srpc.connection_limits import Place
from imageserver.srpc.limit import Limit
from imageserver.srpc.local_socket import (
    ACKNOWLEDGED,
    COOKIE_BYTES,
    METHOD,
    is_local,
)
from imageserver.srpc.messages import (
    LocalUpgradeToUnixRequestOne,
    LocalUpgradeToUnixRequestTwo,
    LocalUpgradeToUnixResponseOne,
    LocalUpgradeToUnixResponseTwo,
)
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import Exactly
from imageserver.srpc.server import CallServer

_OFFERS = 1024
_OFFER_S = 15.0
_PEER = "the Unix socket"


class LocalPort(Protocol):
    """The socket. See :class:`~imageserver.srpc.unix_port.UnixPort`."""

    name: str

    async def listen(self, factory: IProtocolFactory) -> None:
        """Begin to listen."""

    async def stop(self) -> None:
        """End it."""


@attrs.define(eq=False)
class _Offer:
    """Room for one connection, which is found by its cookie."""

    cookie: bytes
    channel: Channel | None = None
    place: Place | None = None


@implementer(IFileDescriptorReceiver)
class _UnixChannel(Channel):
    """Takes no files: who sends some is not one of ours."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See ``IFileDescriptorReceiver``."""
        os.close(descriptor)
        self.abort()


class _Listener(Factory):
    """Lets :class:`LocalUpgrade` know who comes."""

    noisy = False

    def __init__(self, admit: Callable[[], Channel | None]) -> None:
        self._admit = admit

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:
        """See ``IProtocolFactory``; ``None`` if there are too many connections."""
        return self._admit()


class LocalUpgrade:
    """The method, and the socket that it leads to."""

    _log = Logger()

    def __init__(self, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Make cookies with ``random``: so many unpredictable bytes."""
        self._random = random
        self._port: LocalPort | None = None
        self._server: CallServer
        self._listening = DeferredLock()
        self._is_open = self._is_stopping = False
        self._offers: dict[_Offer, IDelayedCall] = {}
        self._strangers: set[Channel] = set()

    def methods(self) -> list[Method]:
        """What clients call."""
        service, _, name = METHOD.partition(".")
        return [Method(service, name, stream=self._upgrade)]

    def attach(self, server: CallServer, port: LocalPort | None) -> None:
        """Lead clients to a socket; to be called before any comes.

        Args:
            server: offers the method, and gets the calls on the socket.
            port: the socket, which is opened for the first client; ``None``: there is
                none, and clients are told so.
        """
        self._server, self._port = server, port

    async def stop(self) -> None:
        """End the socket, and the connections that nobody has claimed yet."""
        self._is_stopping = True
        for channel in list(self._strangers):
            channel.abort()
        await self._listening.acquire()
        try:
            if self._port is not None and self._is_open:
                self._is_open = False
                await self._port.stop()
        finally:
            self._listening.release()

    async def _upgrade(self, call: Call) -> None:
        request = await call.receive(LocalUpgradeToUnixRequestOne)
        offer = await self._make_offer(call, request.client_cookie)
        if offer is None:
            call.send(LocalUpgradeToUnixResponseOne("no socket"))
            return
        try:
            assert self._port is not None  # noqa: S101 - or there would be no offer
            name = self._port.name
            call.send(LocalUpgradeToUnixResponseOne("", offer.cookie, name))
            await call.drain()
            answer = await call.receive(LocalUpgradeToUnixRequestTwo)
            if answer.sent_server_cookie:
                self._move(call, offer, request.client_cookie)
        finally:
            self._withdraw(offer)

    async def _make_offer(self, call: Call, client_cookie: bytes) -> _Offer | None:
        """Room for the connection of a caller, if it can have some."""
        if (
            len(client_cookie) != COOKIE_BYTES
            or not is_local(call.channel.transport)
            or not await self._listen()
            or len(self._offers) >= _OFFERS
        ):
            return None
        offer = _Offer(self._random(COOKIE_BYTES))
        clock = self._server.clock
        self._offers[offer] = clock.callLater(_OFFER_S, self._withdraw, offer)
        return offer

    def _withdraw(self, offer: _Offer) -> None:
        """The cookie is of no more use, nor is a connection that nobody has claimed."""
        timer = self._offers.pop(offer, None)
        if timer is not None and timer.active():
            timer.cancel()
        if offer.channel is not None:
            offer.channel.abort()
            offer.channel = None

    def _move(self, call: Call, offer: _Offer, client_cookie: bytes) -> None:
        channel, place = offer.channel, offer.place
        if channel is None or place is None or channel.closed:
            call.send(LocalUpgradeToUnixResponseTwo("cookie not found"))
            return
        if not place.identify(call.caller.user):
            call.send(LocalUpgradeToUnixResponseTwo("too many connections"))
            return
        offer.channel = None
        self._strangers.discard(channel)
        call.send(LocalUpgradeToUnixResponseTwo())
        channel.write(client_cookie)
        channel.flush()
        self._server.move(call, channel)

    async def _listen(self) -> bool:
        """Open the socket if it is not; whether it is open."""
        await self._listening.acquire()
        try:
            if self._port is None or self._is_stopping:
                return False
            if not self._is_open:
                await self._port.listen(_Listener(self._admit))
                self._is_open = True
                self._log.info("listening on Unix socket {name}", name=self._port.name)
        except (ConfigError, CannotListenError, OSError) as error:
            self._server.sparing_log.warn(
                "no Unix socket",
                "no Unix socket for local clients: {error}",
                error=error,
            )
            return False
        else:
            return not self._is_stopping
        finally:
            self._listening.release()

    def _admit(self) -> Channel | None:
        """Somebody comes to the socket."""
        server = self._server
        channel = _UnixChannel(server.clock, server.deadlines)
        place = server.gate.admit("", channel.abort)
        if place is None:
            return None
        visiting = Deferred.fromCoroutine(self._visit(channel, place))
        visiting.addErrback(
            lambda failure: self._log.failure("a visit did not end well", failure)
        )
        return channel

    async def _visit(self, channel: Channel, place: Place) -> None:
        """Keep the place of a connection until it is gone."""
        server = self._server
        server.accounting.accepted += 1
        server.accounting.open_raw += 1
        self._strangers.add(channel)
        try:
            await self._meet(channel, place)
        except PeerTooSlow:
            server.exceeded(Limit.FIRST_BYTE, _PEER)
        except RemoteProtocolError as error:
            server.note(error, _PEER)
        finally:
            await channel.departure()
            self._strangers.discard(channel)
            place.leave()
            server.accounting.open_raw -= 1

    async def _meet(self, channel: Channel, place: Place) -> None:
        """Find out for whom a connection is."""
        first_byte_s = channel.deadlines.first_byte_s
        cookie = await channel.take(Exactly(COOKIE_BYTES), first_byte_s)
        found = None
        for offer in self._offers:  # all of them, so that time tells nothing
            if hmac.compare_digest(offer.cookie, cookie) and offer.channel is None:
                found = offer
        channel.write(ACKNOWLEDGED)
        channel.flush()
        if found is None:  # its client is told over TCP
            channel.close()
        else:
            found.channel, found.place = channel, place
