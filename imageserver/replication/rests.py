"""Waiting that somebody else can end."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from imageserver.errors import ReplicationStopped


class Rests:
    """All that is being waited for."""

    def __init__(self, clock: IReactorTime) -> None:
        """Wait by ``clock``."""
        self._clock = clock
        self._rests: set[Deferred[None]] = set()
        self._has_ended = False

    async def rest(self, seconds: float) -> None:
        """Wait.

        Raises:
            ReplicationStopped: there is nothing to wait for any more.
        """
        if self._has_ended:
            raise ReplicationStopped
        rest: Deferred[None] = deferLater(self._clock, seconds)
        self._rests.add(rest)
        try:
            await rest
        except CancelledError:
            raise ReplicationStopped from None
        finally:
            self._rests.discard(rest)

    def end(self) -> None:
        """Nobody waits any more."""
        self._has_ended = True
        for rest in list(self._rests):
            rest.cancel()
