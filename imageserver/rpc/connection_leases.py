"""Leases that last for as long as connections, and some more time."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from imageserver.objects.base import ObjectLease, ObjectLeases
from imageserver.srpc.channel import Channel
from imageserver.worker import Worker


class ConnectionLeases:
    """The leases of what connections upload."""

    def __init__(self, leases: ObjectLeases, disk: Worker) -> None:
        """Take leases out of ``leases``, which are ended by ``disk``."""
        self._leases = leases
        self._disk = disk
        self._by_connection: dict[Channel, ObjectLease] = {}

    def of(self, connection: Channel) -> ObjectLease:
        """The lease of a connection, whatever uploads it has."""
        lease = self._by_connection.get(connection)
        if lease is None:
            lease = self._by_connection[connection] = self._leases.begin()
            Deferred.fromCoroutine(self._end(connection))
        return lease

    async def _end(self, connection: Channel) -> None:
        await connection.departure()
        lease = self._by_connection.pop(connection)
        await self._disk.run(lease.end)
