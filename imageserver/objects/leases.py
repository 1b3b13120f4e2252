"""What must not be collected although no image refers to it yet.

An upload is a promise that the objects will be there when the image comes. So each
object of it has a *lease*: in the index, so that it outlives a restart; renewed while
the connection of the uploader lives, and then good for some more time. Whoever is
about to rely on an object, be it for less than a second, has it *in hand*: that is
known in memory only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from imageserver.errors import StoreError
from imageserver.index.base import ObjectIndex

LEASE_NS = 3_600_000_000_000
_PREFIX_BYTES = 8
_AT_ONCE = 10_000
_MOST = 4_000_000
"""For so many uploads a connection's lease takes 32 MB."""


class Leases:
    """The leases of all objects. All methods may be called from any thread.

    Attributes:
        duration_ns: how long objects are kept when nobody renews their leases.
        interval_ns: how often those of living connections are to be renewed.
        placing: see :class:`~imageserver.objects.store.ObjectStore`.
    """

    _log = Logger()

    def __init__(
        self,
        index: ObjectIndex,
        now_ns: Callable[[], int],
        placing: threading.Lock,
        duration_ns: int = LEASE_NS,
    ) -> None:
        """Begin without any.

        Args:
            index: keeps them.
            now_ns: the time.
            placing: held while objects are collected, from choosing them until they
                are gone.
            duration_ns: see above.
        """
        self.duration_ns = duration_ns
        self.interval_ns = duration_ns // 4
        self._index = index
        self._now_ns = now_ns
        self.placing = placing
        self._in_hand: list[Container[bytes]] = []
        self._living: set[Lease] = set()

    def until_ns(self) -> int:
        """When a lease ends that begins now."""
        return self._now_ns() + self.duration_ns

    def take(self, hashes: Container[bytes]) -> None:
        """Take objects in hand.

        Args:
            hashes: the objects; may change while :attr:`placing` is held.
        """
        with self.placing:
            self._in_hand.append(hashes)

    def let_go(self, hashes: Container[bytes]) -> None:
        """Let go of what was taken in hand."""
        with self.placing:
            self._in_hand = [other for other in self._in_hand if other is not hashes]

    @contextmanager
    def holding(self, hashes: Container[bytes]) -> Iterator[None]:
        """Have objects in hand for a while."""
        self.take(hashes)
        try:
            yield
        finally:
            self.let_go(hashes)

    def is_held(self, hash_: bytes) -> bool:
        """Whether somebody has an object in hand; to be asked by who collects."""
        return any(hash_ in hashes for hashes in self._in_hand)

    def begin(self) -> Lease:
        """A lease for the objects of a new connection."""
        lease = Lease(self)
        self._living.add(lease)
        return lease

    def renew(self) -> None:
        """Renew the leases of all living connections.

        What cannot be renewed is logged; there are two more times to try.
        """
        for lease in list(self._living):
            self._renew(lease)

    def _end(self, lease: Lease) -> None:
        self._living.discard(lease)
        self._renew(lease)

    def _renew(self, lease: Lease) -> None:
        try:
            for prefixes in lease.prefixes():
                self._index.renew_leases(prefixes, self.until_ns())
        except StoreError as error:
            self._log.error("cannot renew leases: {error}", error=error)


class Lease:
    """The lease of one connection's objects, of which there may be millions.

    So it remembers no more of a hash than its beginning. That another object begins in
    the same way, and is kept as well, does no harm.
    """

    _log = Logger()

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self._prefixes = bytearray()

    def keep(self, hashes: Iterable[bytes]) -> None:
        """From now on renew the leases of these objects, too; the index has them."""
        with self._lock:
            self._prefixes += b"".join([hash_[:_PREFIX_BYTES] for hash_ in hashes])
            if len(self._prefixes) > _MOST * _PREFIX_BYTES:
                self._log.warn("too many uploads on a connection to keep them all")
                del self._prefixes[: _MOST * _PREFIX_BYTES // 2]

    def prefixes(self) -> Iterator[set[bytes]]:
        """The beginnings of the hashes, some thousands at a time."""
        with self._lock:
            prefixes = bytes(self._prefixes)
        for first in range(0, len(prefixes), _AT_ONCE * _PREFIX_BYTES):
            last = min(first + _AT_ONCE * _PREFIX_BYTES, len(prefixes))
            yield {
                prefixes[at : at + _PREFIX_BYTES]
                for at in range(first, last, _PREFIX_BYTES)
            }

    def end(self) -> None:
        """The connection has ended: renew the leases once more."""
        self._leases._end(self)
