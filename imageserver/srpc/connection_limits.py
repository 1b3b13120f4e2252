"""How many connections there may be: ``docs/security.md``, "Too many connections".

No reactor here, and no sockets: a :class:`Gate` counts, and says which connection is
one too many.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

import attrs

from imageserver.srpc.limit import Limit

_RESERVE = 128
_TOTAL = 20_000
_HALF_OPEN = 4_096
_LEAST = 16
_NETWORK_BITS = 64


@attrs.frozen
class ConnectionLimits:
    """How many connections there may be.

    Attributes:
        total: of all kinds.
        per_address: from one address; those of this machine do not count.
        per_user: by one user.
        half_open: of peers that have not said who they are: before and in the
            handshake, and for pages.
    """

    total: int = _TOTAL
    per_address: int = _TOTAL // 2
    per_user: int = _TOTAL // 2
    half_open: int = _HALF_OPEN

    @classmethod
    def choose(
        cls,
        descriptors: int,
        total: int = 0,
        per_address: int = 0,
        per_user: int = 0,
        half_open: int = 0,
    ) -> ConnectionLimits:
        """The limits asked for, as far as the system allows; 0 leaves it to us.

        A quarter of the descriptors, at least 128, is kept for files.

        Args:
            descriptors: how many files and connections the process may have open.
            total: see above; by itself 20,000.
            per_address: by itself half of the total.
            per_user: by itself half of the total.
            half_open: by itself 4,096, or half of the total if that is less.
        """
        possible = max(_LEAST, descriptors - max(_RESERVE, descriptors // 4))
        total = min(total or _TOTAL, possible)
        half = max(1, total // 2)
        return cls(
            total,
            per_address or half,
            per_user or half,
            half_open or min(_HALF_OPEN, half),
        )


class Gate:
    """Counts connections by address, user and state."""

    def __init__(
        self,
        limits: ConnectionLimits,
        exceeded: Callable[[Limit, str], None] = lambda _limit, _host: None,
    ) -> None:
        """Count against ``limits``; ``exceeded`` is told what kept which host out."""
        self.limits = limits
        self._exceeded = exceeded
        self._total = 0
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._half_open: dict[Place, None] = {}  # the oldest one first

    @property
    def total(self) -> int:
        """How many there are."""
        return self._total

    @property
    def half_open(self) -> int:
        """How many of them have not said who they are."""
        return len(self._half_open)

    def admit(self, host: str, evict: Callable[[], None]) -> Place | None:
        """Let a connection in, if there is room.

        Where there are too many, the one that has taken longest to say who it is has
        to go. So a flood does not keep out those who are quick about it.

        Args:
            host: where it comes from.
            evict: ends the connection, to make room for others.
        """
        address = _address_key(host)
        if address and self._addresses[address] >= self.limits.per_address:
            self._exceeded(Limit.ADDRESS, host)
            return None
        is_full = self._total >= self.limits.total
        if is_full and not self._half_open:
            self._exceeded(Limit.CONNECTIONS, host)
            return None
        if is_full or len(self._half_open) >= self.limits.half_open:
            oldest = next(iter(self._half_open))
            oldest.leave()  # at once: its end takes a moment
            oldest.evict()
        place = Place(self, address, evict)
        self._total += 1
        self._half_open[place] = None
        if address:
            self._addresses[address] += 1
        return place

    def _identified(self, place: Place, user: str) -> bool:
        if user:
            if self._users[user] >= self.limits.per_user:
                return False  # still one of those that have to make room
            self._users[user] += 1
            place.user = user
        self._half_open.pop(place, None)
        return True

    def _leave(self, place: Place) -> None:
        self._total -= 1
        self._half_open.pop(place, None)
        _decrease(self._addresses, place.address)
        _decrease(self._users, place.user)


class Place:
    """One connection that was let in.

    Attributes:
        address: by which it is counted; empty if it is not.
        user: whose it is; empty if nobody's, or not known yet.
        evict: ends it.
    """

    __slots__ = ("_gate", "address", "evict", "user")

    def __init__(self, gate: Gate, address: str, evict: Callable[[], None]) -> None:
        self._gate: Gate | None = gate
        self.address = address
        self.user = ""
        self.evict = evict

    def identify(self, user: str) -> bool:
        """The peer has said who it is, or may be anybody; whether there is room.

        To be called once.

        Args:
            user: empty if it may be anybody.
        """
        return self._gate is not None and self._gate._identified(self, user)

    def leave(self) -> None:
        """It has ended."""
        if self._gate is not None:
            gate, self._gate = self._gate, None
            gate._leave(self)


def _decrease(counter: Counter[str], key: str) -> None:
    if key:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]  # or memory would grow with each new peer


def _address_key(host: str) -> str:
    """By what to count: a network of 64 bits has one owner; empty: not at all."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""  # a Unix socket
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            if address.is_loopback:
                return ""
            network = int(address) >> _NETWORK_BITS << _NETWORK_BITS
            return str(ipaddress.IPv6Address(network))
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)
