"""Fetching everything that is wanted."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.client.getting import fetch_wanted
from imageserver.errors import PeerClosed, RemoteProtocolError


class Fetching(SynchronousTestCase):
    """Objects that are fetched until none is wanted any more."""

    def setUp(self) -> None:
        """Three objects."""
        self.clock = Clock()
        self.wanted = [b"a", b"b", b"c"]
        self.calls = 0

    def fetch(self, *outcomes: int | Exception) -> Deferred[None]:
        """Fetch; each call brings so many objects, or fails after one of them."""

        async def fetch(*_: object) -> None:
            outcome = outcomes[self.calls]
            self.calls += 1
            if isinstance(outcome, Exception):
                del self.wanted[:1]
                raise outcome
            del self.wanted[:outcome]

        work = fetch_wanted(
            self.clock,
            fetch,
            lambda: list(self.wanted),
            lambda _: None,
            lambda *_: None,
        )
        return Deferred.fromCoroutine(work)

    def test_goes_on(self) -> None:
        """What is missing when a connection breaks is fetched after a pause."""
        done = self.fetch(PeerClosed("EOF"), 2)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.successResultOf(done)
        self.assertEqual(self.calls, 2)

    def test_nothing_comes(self) -> None:
        """A server that answers, but sends no object, is not asked for ever."""
        done = self.fetch(1, 0)
        self.failureResultOf(done, RemoteProtocolError)
        self.assertEqual(self.calls, 2)
