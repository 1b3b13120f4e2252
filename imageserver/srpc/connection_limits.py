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
        patience_s: how long one of these is safe from having to make room.
    """

    total: int = _TOTAL
    per_address: int = _TOTAL // 2
    per_user: int = _TOTAL // 2
    half_open: int = _HALF_OPEN
    patience_s: float = 5.0

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
        half = total // 2
        return cls(
            total, per_address or half, per_user or half, half_open or min(4096, half)
        )


class Gate:
    """Counts connections by address, user and state."""

    def __init__(
        self, limits: ConnectionLimits, seconds: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Count against ``limits``; ``seconds`` is the time."""
        self.limits = limits
        self.exceeded: Callable[[Limit, str], None] = lambda _limit, _who: None
        self._seconds = seconds
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

        Where too many have not said who they are, the one that takes longest has to
        go, unless it only just came.

        Args:
            host: where it comes from.
            evict: ends the connection, to make room for others.
        """
        address = _address_key(host)
        limit = self._full(address)
        if limit is not None:
            self.exceeded(limit, host)
            return None
        place = Place(self, address, evict, self._seconds())
        self._total += 1
        self._half_open[place] = None
        if address:
            self._addresses[address] += 1
        return place

    def _full(self, address: str) -> Limit | None:
        """The limit that forbids another connection from there, if one does."""
        if self._total >= self.limits.total:
            return Limit.CONNECTIONS
        if address and self._addresses[address] >= self.limits.per_address:
            return Limit.ADDRESS
        if len(self._half_open) >= self.limits.half_open:
            oldest = next(iter(self._half_open))
            if self._seconds() - oldest.entered_s < self.limits.patience_s:
                return Limit.HALF_OPEN
            del self._half_open[oldest]
            oldest.evict()
        return None

    def _identified(self, place: Place, user: str) -> bool:
        self._half_open.pop(place, None)
        if not user:
            return True
        if self._users[user] >= self.limits.per_user:
            return False
        self._users[user] += 1
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
        entered_s: when it came.
        evict: ends it.
    """

    __slots__ = ("_gate", "address", "entered_s", "evict", "user")

    def __init__(
        self, gate: Gate, address: str, evict: Callable[[], None], entered_s: float
    ) -> None:
        self._gate: Gate | None = gate
        self.address = address
        self.user = ""
        self.evict = evict
        self.entered_s = entered_s

    def identify(self, user: str) -> bool:
        """The peer has said who it is, or may be anybody; whether there is room.

        Args:
            user: empty if it may be anybody.
        """
        if self._gate is None:
            return False
        if not self._gate._identified(self, user):
            return False
        self.user = user
        return True

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
