"""All connections of one session with a master; they end together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from imageserver.errors import ConnectionFailed
from imageserver.srpc.client import Connection
from imageserver.srpc.pool import ConnectionPool, Dial, PooledServer, PoolLimits

_ENDED = "the session has ended"


class Connections:
    """See the module.

    Attributes:
        server: the master, to be called on any connection.
    """

    def __init__(
        self, clock: IReactorTime, dial: Dial, host: str, port: int, limit: int
    ) -> None:
        """Make no connection yet.

        Args:
            clock: for idle connections.
            dial: connects.
            host: the master.
            port: its port.
            limit: how many connections there may be, besides those of :meth:`dial`.
        """
        self._dial = dial
        self._dialling: set[Deferred[Connection]] = set()
        self._open: set[Connection] = set()
        self._has_ended = False
        limits = PoolLimits(total=limit, per_server=limit, waiting=10_000)
        self._pool = ConnectionPool(clock, self.dial, limits)
        self.server: PooledServer = self._pool.server(host, port)

    async def dial(self, host: str, port: int) -> Connection:
        """A connection that nobody else uses.

        Raises:
            ConnectionFailed: there is none.
        """
        if self._has_ended:
            raise ConnectionFailed(_ENDED)
        dialling = Deferred.fromCoroutine(self._dial(host, port))
        self._dialling.add(dialling)
        try:
            connection = await dialling
        except CancelledError:
            raise ConnectionFailed(_ENDED) from None
        finally:
            self._dialling.discard(dialling)
        self._open.add(connection)
        connection.departure().addCallback(lambda _: self._open.discard(connection))
        return connection

    def end(self) -> None:
        """End all connections at once; calls on them fail."""
        self._has_ended = True
        for dialling in list(self._dialling):
            dialling.cancel()
        for connection in list(self._open):
            connection.abort()
        self._pool.close()
