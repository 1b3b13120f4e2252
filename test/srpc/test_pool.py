"""Connections that are used again, without any network."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from srpc.clients import REQUEST, ClientCase, until
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import CallError, ConnectionFailed, PeerClosed
from imageserver.model.image_messages import CheckImageResponse
from imageserver.srpc.client import Connection
from imageserver.srpc.dialling import Dialler
from imageserver.srpc.pool import ConnectionPool, PoolLimits
from imageserver.testing import InlineWorker

LIMITS = PoolLimits(
    total=4, per_server=2, waiting=5, wait_s=100, fresh_s=1, ping_s=5, idle_s=60
)


class FakeConnection:
    """A connection to nowhere."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.closed = False
        self.pings = 0
        self.calls: list[str] = []
        self.broken: Exception | None = None
        self.silent: Deferred[None] | None = None
        self.gone: list[Deferred[None]] = []

    async def ping(self) -> None:
        self.pings += 1
        if self.silent is not None:
            try:
                await self.silent
            except CancelledError:
                self.closed = True
                raise
        if self.broken is not None:
            raise self.broken

    async def call(self, method: str, *arguments: Any) -> Any:
        self.calls.append(method)
        if self.broken is not None:
            self.closed = True
            raise self.broken
        return arguments

    @asynccontextmanager
    async def begin(self, method: str) -> AsyncIterator[str]:
        yield method

    def close(self) -> None:
        self.closed = True

    def departure(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred(self.gone.remove)
        self.gone.append(gone)
        return gone

    def vanish(self) -> None:
        """The server ends the connection."""
        self.closed = True
        gone, self.gone = self.gone, []
        for deferred in gone:
            deferred.callback(None)


class User:
    """Somebody who uses a connection of the pool until told otherwise."""

    def __init__(self, pool: ConnectionPool, host: str) -> None:
        self.connection: Any = None
        self.enough: Deferred[None] = Deferred()
        self.ended = Deferred.fromCoroutine(self.use(pool, host))

    async def use(self, pool: ConnectionPool, host: str) -> None:
        async with pool.connection(host, 1) as connection:
            self.connection = connection
            await self.enough

    def end(self, error: Exception | None = None) -> None:
        if error is None:
            self.enough.callback(None)
        else:
            self.enough.errback(error)


class PoolCase(SynchronousTestCase):
    """A pool; at the end it is closed, and nothing is left."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialled: list[FakeConnection] = []
        self.users: list[User] = []
        self.obstacle: Exception | None = None
        self.gate: Deferred[None] | None = None
        self.pool = ConnectionPool(self.clock, self.dial, LIMITS)

    async def dial(self, host: str, port: int) -> Connection:
        if self.gate is not None:
            await self.gate
        if self.obstacle is not None:
            raise self.obstacle
        connection: Any = FakeConnection(host)
        self.dialled.append(connection)
        return connection

    def use(self, host: str = "a") -> User:
        self.users.append(User(self.pool, host))
        return self.users[-1]

    def used(self, host: str = "a") -> FakeConnection:
        """A connection that was used once."""
        user = self.use(host)
        user.end()
        self.successResultOf(user.ended)
        return user.connection

    def tearDown(self) -> None:
        self.pool.close()
        for user in self.users:
            user.ended.addErrback(lambda failure: failure.trap(ConnectionFailed))
        self.assertTrue(all(connection.closed for connection in self.dialled))
        self.assertFalse(any(connection.gone for connection in self.dialled))
        self.assertEqual(self.pool._idle, {})
        self.assertEqual(self.pool._waiting, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Reuse(PoolCase):
    """One after the other."""

    def test_used_again(self):
        """A connection is used again, by whoever wants to call the same server."""
        connection = self.used()
        self.assertIs(self.used(), connection)
        self.assertIsNot(self.used("b"), connection)
        self.assertEqual(connection.pings, 0)
        self.assertEqual(len(self.dialled), 2)

    def test_most_recently_used(self):
        """Of several the one is taken that was used last; the others may rest."""
        users = [self.use(), self.use()]
        for user in users:
            user.end()
        self.assertIs(self.used(), users[1].connection)
        self.assertIs(self.used(), users[1].connection)

    def test_ping(self):
        """A connection that was idle for a moment is asked whether it is there."""
        connection = self.used()
        self.clock.advance(0.9)
        self.assertIs(self.used(), connection)
        self.assertEqual(connection.pings, 0)
        self.clock.advance(1.1)
        self.assertIs(self.used(), connection)
        self.assertEqual(connection.pings, 1)

    def test_dead_connection(self):
        """If it is not, or talks nonsense, another one is made."""
        for error in (PeerClosed("EOF"), CallError("nonsense")):
            connection = self.used()
            connection.broken = error
            self.clock.advance(1)
            other = self.used()
            self.assertIsNot(other, connection)
            self.assertTrue(connection.closed)
            other.vanish()

    def test_silent_connection(self):
        """The same if it says nothing for too long."""
        connection = self.used()
        connection.silent = Deferred()
        self.clock.advance(1)
        user = self.use()
        self.assertIsNone(user.connection)
        self.clock.advance(5)
        self.assertTrue(connection.closed)
        self.assertIs(user.connection, self.dialled[1])
        user.end()

    def test_impatient_user(self):
        """Who does not wait for that leaves nothing behind."""
        connection = self.used()
        connection.silent = Deferred()
        self.clock.advance(1)
        user = self.use()
        user.ended.cancel()
        self.failureResultOf(user.ended, CancelledError)
        self.assertTrue(connection.closed)
        self.assertEqual(self.pool._places.total(), 0)

    def test_broken_while_used(self):
        """A connection that broke is not used again."""
        user = self.use()
        user.connection.closed = True
        user.end(PeerClosed("EOF"))
        self.failureResultOf(user.ended, PeerClosed)
        self.assertIsNot(self.used(), user.connection)

    def test_error_line(self):
        """One that carried an error of the server is good for the next call."""
        user = self.use()
        user.end(CallError("no such image"))
        self.failureResultOf(user.ended, CallError)
        self.assertIs(self.used(), user.connection)

    def test_gone_while_idle(self):
        """One that the server ended makes room at once."""
        self.used().vanish()
        self.assertEqual(self.pool._places, {})
        self.used()
        self.assertEqual(len(self.dialled), 2)

    def test_idle_for_long(self):
        """One that nobody wants is closed after a while."""
        connection = self.used()
        self.clock.advance(59)
        self.assertFalse(connection.closed)
        self.used()
        self.clock.advance(59)
        self.assertFalse(connection.closed)
        self.clock.advance(1.1)
        self.assertTrue(connection.closed)
        self.assertEqual(self.pool._places, {})

    def test_server_not_there(self):
        """If there is no connection, the user is told why, and it costs nothing."""
        self.obstacle = ConnectionFailed("a:1: connection refused")
        for _ in range(10):
            user = self.use()
            self.failureResultOf(user.ended, ConnectionFailed)
        self.obstacle = None
        self.used()


class Limiting(PoolCase):
    """Many at once."""

    def test_per_server(self):
        """There are so many connections to a server; others wait in their order."""
        users = [self.use() for _ in range(5)]
        self.assertEqual(len(self.dialled), 2)
        self.assertEqual([bool(u.connection) for u in users], [True] * 2 + [False] * 3)
        for number, user in enumerate(users):
            self.assertIsNotNone(user.connection)
            user.end()
            self.assertEqual(
                [bool(u.connection) for u in users],
                [n < number + 3 for n in range(5)],
            )
        self.assertEqual(len(self.dialled), 2)

    def test_other_servers_do_not_wait(self):
        """Who wants another server does not wait behind those."""
        users = [self.use() for _ in range(3)]
        self.assertIsNotNone(self.use("b").connection)
        self.assertIsNone(users[2].connection)

    def test_total(self):
        """There are so many connections in all; who came first is served first."""
        users = [self.use(host) for host in "aabbcd"]
        self.assertEqual([c.host for c in self.dialled], list("aabb"))
        late = self.use("a")
        users[2].end()
        self.assertIsNotNone(users[4].connection)
        self.assertTrue(self.dialled[2].closed)
        users[0].end()
        # "d" came before the late one, though it needs another's place.
        self.assertIsNotNone(users[5].connection)
        self.assertIsNone(late.connection)
        users[1].end()
        self.assertIs(late.connection, users[1].connection)

    def test_idle_ones_make_room(self):
        """An idle connection is closed if another server needs its place."""
        for host in "abcd":
            self.used(host)
        self.clock.advance(0.5)
        self.used("e")
        closed = [connection.host for connection in self.dialled if connection.closed]
        self.assertEqual(closed, ["a"])

    def test_queue_is_limited(self):
        """Who would have to wait behind too many others is told so."""
        for _ in range(2 + LIMITS.waiting):
            self.assertNoResult(self.use().ended)
        failure = self.failureResultOf(self.use().ended, ConnectionFailed)
        self.assertEqual(failure.getErrorMessage(), "all connections are in use")

    def test_waiting_is_limited(self):
        """The same for who has waited for too long."""
        users = [self.use() for _ in range(3)]
        self.clock.advance(99)
        self.assertNoResult(users[2].ended)
        self.clock.advance(2)
        failure = self.failureResultOf(users[2].ended, ConnectionFailed)
        self.assertEqual(failure.getErrorMessage(), "all connections are in use")
        users[0].end()
        self.assertIs(self.used(), users[0].connection)

    def test_cancelled_waiting(self):
        """Who gives up does not get a connection that others need."""
        users = [self.use() for _ in range(4)]
        users[2].ended.cancel()
        self.failureResultOf(users[2].ended, CancelledError)
        users[0].end()
        self.assertIs(users[3].connection, users[0].connection)

    def test_place_of_failed_dialling(self):
        """When dialling fails, who waits for the place gets it."""
        self.gate = Deferred()
        users = [self.use() for _ in range(3)]
        self.obstacle = ConnectionFailed("no")
        self.gate.callback(None)
        for user in users:
            self.failureResultOf(user.ended, ConnectionFailed)
        self.assertEqual(self.pool._places, {})


class Closing(PoolCase):
    """The end."""

    def test_close(self):
        """Everything ends: idle and lent connections, and waiting for them."""
        idle = self.used("b")
        users = [self.use() for _ in range(3)]
        self.pool.close()
        self.assertTrue(idle.closed)
        self.assertTrue(users[0].connection.closed)
        failure = self.failureResultOf(users[2].ended, ConnectionFailed)
        self.assertEqual(failure.getErrorMessage(), "the pool is closed")
        for user in users[:2]:
            user.end()
        failure = self.failureResultOf(self.use().ended, ConnectionFailed)
        self.assertEqual(failure.getErrorMessage(), "the pool is closed")
        self.assertEqual(self.pool._places, {})

    def test_close_while_dialling(self):
        """A connection that comes about too late is closed."""
        self.gate = Deferred()
        user = self.use()
        self.pool.close()
        self.gate.callback(None)
        self.failureResultOf(user.ended, ConnectionFailed)
        self.assertTrue(self.dialled[0].closed)


class Servers(PoolCase):
    """A server that is called by way of the pool."""

    def test_calls(self):
        """Calls are made on connections of the pool, which come back."""
        server = self.pool.server("a", 1)
        self.successResultOf(Deferred.fromCoroutine(server.connect()))
        answer = Deferred.fromCoroutine(server.call("A.B", 1, int, 2.0))
        self.assertEqual(self.successResultOf(answer), (1, int, 2.0))

        async def stream() -> Any:
            async with server.begin("A.C") as call:
                return call

        found = self.successResultOf(Deferred.fromCoroutine(stream()))
        self.assertEqual(found, "A.C")
        (connection,) = self.dialled
        self.assertEqual(connection.calls, ["A.B"])
        self.assertIs(self.used(), connection)

    def test_server_not_there(self):
        """Who wants to know whether the server is there is told."""
        self.obstacle = ConnectionFailed("a:1: connection refused")
        connecting = Deferred.fromCoroutine(self.pool.server("a", 1).connect())
        self.failureResultOf(connecting, ConnectionFailed)


class OverSockets(ClientCase):
    """The same with a real server."""

    async def test_restart(self):
        """A server that was restarted is called again without anybody noticing."""
        self.serve()
        number = self.port.getHost().port
        limits = PoolLimits(fresh_s=0)
        pool = ConnectionPool(reactor, Dialler(reactor, InlineWorker()).dial, limits)
        self.addCleanup(pool.close)
        server = pool.server("127.0.0.1", number)
        for _ in range(3):
            answer = await server.call("Test.Check", REQUEST, CheckImageResponse)
            self.assertTrue(answer.image_exists)
        self.assertEqual(self.server.accounting.connections, 1)
        await self.port.stopListening()
        await self.server.stop()
        await until(lambda: not pool._idle)
        with self.assertRaisesRegex(ConnectionFailed, "connection refused"):
            await server.call("Test.Check", REQUEST, CheckImageResponse)
        self.serve(number=number)
        answer = await server.call("Test.Check", REQUEST, CheckImageResponse)
        self.assertTrue(answer.image_exists)
