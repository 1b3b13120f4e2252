"""Connections that are used again: ``docs/protocol.md``, "Dialling".

A connection is lent for one call. One that has been idle for a moment is asked whether
it is still alive; if not, another one takes its place. When there are as many as there
may be, whoever came first gets the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from imageserver.errors import ConnectionFailed, ImageServerError
from imageserver.srpc.call import Call
from imageserver.srpc.carrier import within
from imageserver.srpc.client import Connection

T = TypeVar("T")

Address: TypeAlias = tuple[str, int]
Dial: TypeAlias = Callable[[str, int], Coroutine[Any, Any, Connection]]

_IN_USE = "all connections are in use"
_CLOSED = "the pool is closed"


@attrs.frozen
class PoolLimits:
    """How many connections there may be, and for how long.

    Attributes:
        total: in all.
        per_server: to one server.
        waiting: callers that wait for one.
        wait_s: how long they wait.
        fresh_s: how long an idle connection is taken for alive without a ping.
        ping_s: how long the answer to the ping may take.
        idle_s: how long a connection is kept that nobody uses.
    """

    total: int = 64
    per_server: int = 16
    waiting: int = 1_000
    wait_s: float = 900.0
    fresh_s: float = 1.0
    ping_s: float = 15.0
    idle_s: float = 60.0


@attrs.define(eq=False)
class _Idle:
    """A connection that nobody uses."""

    address: Address
    connection: Connection
    since_s: float
    timer: IDelayedCall
    departure: Deferred[None]

    def take(self) -> Connection:
        """Somebody is going to use it."""
        if self.timer.active():
            self.timer.cancel()
        self.departure.addErrback(lambda failure: failure.trap(CancelledError))
        self.departure.cancel()
        return self.connection


@attrs.define(eq=False)
class _Waiting:
    """Somebody who wants a connection; an idle one, or the right to make one."""

    address: Address
    granted: Deferred[_Idle | None]


class ConnectionPool:
    """Lends connections."""

    def __init__(
        self, clock: IReactorTime, dial: Dial, limits: PoolLimits | None = None
    ) -> None:
        """Lend connections that ``dial`` makes."""
        self._clock = clock
        self._dial = dial
        self._limits = limits or PoolLimits()
        self._places: Counter[Address] = Counter()  # all but those still to be granted
        self._idle: dict[_Idle, None] = {}  # the longest idle one first
        self._lent: set[Connection] = set()
        self._waiting: dict[_Waiting, None] = {}  # who came first, first
        self._is_closed = False

    def server(self, host: str, port: int) -> PooledServer:
        """A server by its address, to be called as if it were one connection."""
        return PooledServer(self, host, port)

    @asynccontextmanager
    async def connection(self, host: str, port: int) -> AsyncIterator[Connection]:
        """A connection, for the time of the block.

        Raises:
            ConnectionFailed: the server is not to be reached, all connections are in
                use for too long, or the pool is closed.
        """
        address = host, port
        idle = await self._wait(address)
        try:
            connection = await self._wake(idle) if idle else None
            if connection is None:
                connection = await self._dial(host, port)
        except BaseException:
            self._leave(address)
            raise
        self._lent.add(connection)
        try:
            if self._is_closed:
                raise ConnectionFailed(_CLOSED)
            yield connection
        finally:
            self._lent.discard(connection)
            self._put(address, connection)

    def close(self) -> None:
        """End all connections, and lend no more."""
        self._is_closed = True
        for idle in list(self._idle):
            self._drop(idle)
        for connection in self._lent:
            connection.close()
        for waiting in list(self._waiting):
            del self._waiting[waiting]
            waiting.granted.errback(ConnectionFailed(_CLOSED))

    async def _wait(self, address: Address) -> _Idle | None:
        """An idle connection, or leave to make one."""
        if self._is_closed:
            raise ConnectionFailed(_CLOSED)
        if len(self._waiting) >= self._limits.waiting:
            raise ConnectionFailed(_IN_USE)
        waiting = _Waiting(address, Deferred(lambda _: self._waiting.pop(waiting)))
        self._waiting[waiting] = None
        waiting.granted.addTimeout(self._limits.wait_s, self._clock)
        self._grant_all()
        try:
            return await waiting.granted
        except TimeoutError:
            raise ConnectionFailed(_IN_USE) from None

    async def _wake(self, idle: _Idle) -> Connection | None:
        """A connection that was idle, if it is still alive."""
        connection = idle.connection
        if self._clock.seconds() - idle.since_s < self._limits.fresh_s:
            return connection
        try:
            await within(self._clock, self._limits.ping_s, connection.ping())
        except ImageServerError:
            connection.close()
        except BaseException:
            connection.close()
            raise
        return None if connection.closed else connection

    def _put(self, address: Address, connection: Connection) -> None:
        """A connection is not used any more."""
        if self._is_closed or connection.closed:
            connection.close()
            self._leave(address)
            return
        departure = connection.departure()
        timer = self._clock.callLater(self._limits.idle_s, lambda: self._drop(idle))
        idle = _Idle(address, connection, self._clock.seconds(), timer, departure)
        departure.addCallback(lambda _: self._drop(idle))
        self._idle[idle] = None
        self._grant_all()

    def _drop(self, idle: _Idle) -> None:
        """Nobody is going to use it."""
        del self._idle[idle]
        idle.take().close()
        self._leave(idle.address)

    def _leave(self, address: Address) -> None:
        """There is one connection less."""
        self._decrease(address)
        self._grant_all()

    def _decrease(self, address: Address) -> None:
        self._places[address] -= 1
        if not self._places[address]:
            del self._places[address]  # or memory would grow with each new server

    def _grant_all(self) -> None:
        """Give those who wait what there is; who came first, comes first."""
        while found := self._find_grant():
            waiting, idle = found
            del self._waiting[waiting]
            waiting.granted.callback(idle)

    def _find_grant(self) -> tuple[_Waiting, _Idle | None] | None:
        is_full = self._places.total() >= self._limits.total
        if is_full and not self._idle:
            return None
        for waiting in self._waiting:
            address = waiting.address
            same = [idle for idle in self._idle if idle.address == address]
            if same:
                idle = same[-1]  # the one that is most likely alive
                del self._idle[idle]
                idle.take()
                return waiting, idle
            if self._places[address] < self._limits.per_server:
                if is_full:
                    self._make_room()
                self._places[address] += 1
                return waiting, None
        return None

    def _make_room(self) -> None:
        """End the connection that was idle for longest."""
        idle = next(iter(self._idle))
        del self._idle[idle]
        idle.take().close()
        self._decrease(idle.address)


class PooledServer:
    """A server that is called on connections of a pool. See ``Remote``."""

    def __init__(self, pool: ConnectionPool, host: str, port: int) -> None:
        """Call the server at ``host`` and ``port`` on connections of ``pool``."""
        self._pool = pool
        self._host = host
        self._port = port

    async def connect(self) -> None:
        """See to it that there is a connection.

        Raises:
            ConnectionFailed: there is none.
        """
        async with self._pool.connection(self._host, self._port):
            return

    async def call(
        self, method: str, request: Any, response: type[T], patience_s: float = 0.0
    ) -> T:
        """See ``Connection``.

        Raises:
            ConnectionFailed: the server is not to be reached.
            CallError: see ``Connection``, as others.
        """
        async with self._pool.connection(self._host, self._port) as connection:
            return await connection.call(method, request, response, patience_s)

    @asynccontextmanager
    async def begin(self, method: str) -> AsyncIterator[Call]:
        """See ``Connection``.

        Raises:
            ConnectionFailed: the server is not to be reached.
            CallError: see ``Connection``, as others.
        """
        async with (
            self._pool.connection(self._host, self._port) as connection,
            connection.begin(method) as call,
        ):
            yield call
