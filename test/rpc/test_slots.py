"""Who may send, and who has to wait."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.rpc.slots import ALONE_S, PATIENCE_S, Slots


class Queue(SynchronousTestCase):
    """Calls come and go."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slots = Slots(self.clock, 3)
        self.inside: list[str] = []
        self.ends: dict[str, Deferred[None]] = {}
        self.calls: dict[str, Deferred[None]] = {}

    def come(self, *names: str) -> None:
        """Calls come; those with a capital letter want to be alone."""
        for name in names:
            self.ends[name] = Deferred()
            self.calls[name] = Deferred.fromCoroutine(self.call(name))

    async def call(self, name: str) -> None:
        async with self.slots.enter(alone=name.isupper()):
            self.inside.append(name)
            try:
                await self.ends[name]
            finally:
                self.inside.remove(name)

    def go(self, *names: str) -> None:
        """Calls end."""
        for name in names:
            self.ends[name].callback(None)
            self.successResultOf(self.calls[name])

    def assertInside(self, names: str) -> None:
        """Exactly these are in, in this order."""
        self.assertEqual("".join(self.inside), names)
        self.assertEqual(self.slots.used, len(names))

    def assertAtRest(self) -> None:
        """Nobody is in, and no timer is left."""
        self.assertInside("")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_total(self) -> None:
        """So many are in at a time; the others come in their order."""
        self.come(*"abcdef")
        self.assertInside("abc")
        self.go("b")
        self.assertInside("acd")
        self.go("a", "c", "d")
        self.assertInside("ef")
        self.go("e", "f")
        self.assertAtRest()

    def test_alone(self) -> None:
        """One who is alone waits for others, and others for it."""
        self.come("a", "b", "X", "c")
        self.assertInside("ab")
        self.go("a")
        self.assertInside("b")
        self.go("b")
        self.assertInside("X")
        self.go("X")
        self.assertInside("c")
        self.go("c")
        self.assertAtRest()

    def test_patience(self) -> None:
        """It does not wait for ever for slow ones, nor do those behind it."""
        self.come("a", "X", "b")
        self.clock.advance(PATIENCE_S - 1)
        self.assertInside("a")
        self.clock.advance(1)
        self.assertInside("aXb")
        self.go("X", "b", "a")
        self.assertAtRest()

    def test_not_for_ever(self) -> None:
        """One who is slow is not alone for ever, and does not count twice."""
        self.come("X", "b", "Y", "c")
        self.clock.advance(ALONE_S - 1)
        self.assertInside("X")
        self.clock.advance(1)
        self.assertInside("Xbc")
        self.go("X", "c", "b")
        self.assertInside("Y")
        self.go("Y")
        self.assertAtRest()

    def test_no_starvation(self) -> None:
        """Ordinary calls wait for one who is alone at most, however many there are."""
        self.come("W", "X", "Y", "a", "b", "Z", "c", "d")
        self.assertInside("W")
        self.go("W")
        self.assertInside("abc")
        self.come("e")
        self.go("a", "b", "c")
        self.assertInside("d")
        self.go("d")
        self.assertInside("X")
        self.go("X")
        self.assertInside("e")
        self.go("e")
        self.assertInside("Y")
        self.come("f")
        self.go("Y")
        self.assertInside("f")
        self.go("f")
        self.assertInside("Z")
        self.go("Z")
        self.assertAtRest()

    def test_failures(self) -> None:
        """Whoever fails leaves its place as well."""
        self.come("X", "a")
        self.ends["X"].errback(ZeroDivisionError())
        self.failureResultOf(self.calls["X"], ZeroDivisionError)
        self.assertInside("a")
        self.go("a")
        self.assertAtRest()
