"""How many connections are let in."""

# ruff: noqa: D102 - rules are known by their names

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from imageserver.srpc.connection_limits import ConnectionLimits, Gate, Place
from imageserver.srpc.limit import Limit

SMALL = ConnectionLimits(total=6, per_address=3, per_user=2, half_open=4)


class Door:
    """A gate, and what it did."""

    def __init__(self, limits: ConnectionLimits = SMALL) -> None:
        self.evicted: list[str] = []
        self.exceeded: list[tuple[Limit, str]] = []
        self.gate = Gate(limits, lambda *found: self.exceeded.append(found))

    def admit(self, host: str, name: str = "") -> Place | None:
        """Somebody comes."""
        return self.gate.admit(host, lambda: self.evicted.append(name))

    def admit_known(self, host: str, user: str = "") -> Place:
        """Somebody comes, and says who it is."""
        place = self.admit(host)
        assert place is not None
        assert place.identify(user)
        return place


def host(number: int) -> str:
    """Somewhere; always another address."""
    return f"192.0.2.{number}"


def test_oldest_has_to_go() -> None:
    """Where too many have not said who they are, the newcomer takes the oldest's place.

    Whoever is quick gets in, however many come that are not.
    """
    door = Door()
    places = [door.admit(host(n), str(n)) for n in range(4)]
    assert all(places)
    assert door.evicted == []
    known = places[1]
    assert known is not None
    assert known.identify("")
    for number in (4, 5, 6):
        assert door.admit(host(number), str(number)) is not None
    assert door.evicted == ["0", "2"]
    assert (door.gate.half_open, door.gate.total) == (4, 5)
    assert door.exceeded == []


def test_evicted_connection_ends_later() -> None:
    """An evicted connection no longer counts, and its end changes nothing any more."""
    door = Door()
    first = door.admit(host(0), "first")
    assert first is not None
    for number in range(1, 5):
        door.admit(host(number))
    assert door.evicted == ["first"]
    assert not first.identify("alice")
    first.leave()
    first.leave()
    assert (door.gate.half_open, door.gate.total) == (4, 4)


def test_total() -> None:
    """Who is known does not have to go: then there is no more room."""
    door = Door(ConnectionLimits(total=2, per_address=2, per_user=2, half_open=2))
    first, _ = (door.admit_known(host(number)) for number in range(2))
    assert door.admit(host(3)) is None
    assert door.exceeded == [(Limit.CONNECTIONS, host(3))]
    first.leave()
    assert door.admit(host(3), "three") is not None
    assert door.admit(host(4)) is not None
    assert door.evicted == ["three"]
    assert door.gate.total == 2


def test_per_address() -> None:
    """One address is stopped, others are not."""
    door = Door()
    place, *_ = (door.admit(host(1)) for _ in range(3))
    assert door.admit(host(1)) is None
    assert door.exceeded == [(Limit.ADDRESS, host(1))]
    assert door.admit(host(2)) is not None
    assert place is not None
    place.leave()
    assert door.admit(host(1)) is not None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_same_address(one, other, same) -> None:
    """A network of 64 bits counts as one address: it has one owner."""
    door = Door(ConnectionLimits(total=9, per_address=1, per_user=9, half_open=9))
    assert door.admit(one) is not None
    assert (door.admit(other) is None) == same


@pytest.mark.parametrize(
    "here", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "/socket"]
)
def test_this_machine(here) -> None:
    """Connections of this machine are not counted by address."""
    door = Door()
    for _ in range(6):
        door.admit_known(here)
    assert door.exceeded == []


def test_per_user() -> None:
    """One user is stopped, others and nobody are not."""
    door = Door()
    first, _ = (door.admit_known(host(number), "alice") for number in range(2))
    third = door.admit(host(3), "third")
    assert third is not None
    assert not third.identify("alice")
    assert door.gate.half_open == 1, "it has to make room if need be"
    assert door.admit_known(host(4), "bob")
    assert door.admit_known(host(5))
    third.leave()
    first.leave()
    assert door.admit_known(host(6), "alice")


@pytest.mark.parametrize(
    ("descriptors", "asked", "expected"),
    [
        (1 << 20, (), (20_000, 10_000, 10_000, 4_096)),
        (1_024, (), (768, 384, 384, 384)),
        (256, (), (128, 64, 64, 64)),
        (100, (), (16, 8, 8, 8)),
        (1 << 20, (100_000,), (100_000, 50_000, 50_000, 4_096)),
        (20_000, (100_000,), (15_000, 7_500, 7_500, 4_096)),
        (1 << 20, (1_000, 7, 8, 9), (1_000, 7, 8, 9)),
        (1 << 20, (1,), (1, 1, 1, 1)),
    ],
)
def test_choice(descriptors, asked, expected) -> None:
    """Limits are what was asked for, but leave room for files; 0 is our choice."""
    limits = ConnectionLimits.choose(descriptors, *asked)
    found = (limits.total, limits.per_address, limits.per_user, limits.half_open)
    assert found == expected
    assert limits.total == 16 or descriptors - limits.total >= 128


class Comings(RuleBasedStateMachine):
    """Connections come, say who they are and go, in any order.

    What is counted is always what is there.
    """

    places: Bundle = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(SMALL)
        self.addresses: dict[Place, str] = {}  # the oldest one first
        self.known: dict[Place, str] = {}
        self.evicted = 0

    @property
    def unknown(self) -> list[Place]:
        return [place for place in self.addresses if place not in self.known]

    def forget(self, place: Place) -> None:
        self.addresses.pop(place, None)
        self.known.pop(place, None)

    def evict(self) -> None:
        self.forget(self.unknown[0])
        self.evicted += 1

    @rule(target=places, address=st.sampled_from(["", host(1), host(2), host(3)]))
    def admit(self, address: str) -> Place | None:
        unknown, total = len(self.unknown), len(self.addresses)
        of_address = list(self.addresses.values()).count(address) if address else 0
        place = self.gate.admit(address, self.evict)
        evicted, self.evicted = self.evicted, 0
        is_full = total == SMALL.total
        if of_address == SMALL.per_address or (is_full and not unknown):
            assert place is None
            assert not evicted
        else:
            assert place is not None
            assert evicted == (is_full or unknown == SMALL.half_open)
            self.addresses[place] = address
        return place

    @rule(place=places, user=st.sampled_from(["", "alice", "bob"]))
    def identify(self, place: Place | None, user: str) -> None:
        if place is None or place in self.known:
            return
        count = list(self.known.values()).count(user)
        has_room = place in self.addresses and (not user or count < SMALL.per_user)
        assert place.identify(user) == has_room
        if has_room:
            self.known[place] = user

    @rule(place=consumes(places), times=st.integers(1, 2))
    def leave(self, place: Place | None, times: int) -> None:
        for _ in range(times):
            if place is not None:
                place.leave()
                self.forget(place)

    @invariant()
    def counts(self) -> None:
        gate = self.gate
        assert gate.total == len(self.addresses) <= SMALL.total
        assert gate.half_open == len(self.unknown) <= SMALL.half_open
        for counted, values in (
            (gate._addresses, self.addresses.values()),
            (gate._users, self.known.values()),
        ):
            assert dict(counted) == {k: n for k, n in Counter(values).items() if k}

    def teardown(self) -> None:
        for place in list(self.addresses):
            place.leave()
        assert (self.gate.total, self.gate.half_open) == (0, 0)
        assert not self.gate._addresses
        assert not self.gate._users


Comings.TestCase.settings = settings(
    deadline=None, max_examples=100, stateful_step_count=40
)
TestComings = Comings.TestCase
