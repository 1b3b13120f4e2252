"""Who may send objects: many calls at a time, or one that is alone.

A call that is to be alone, for a measurement, waits until nobody sends any more;
who comes later waits behind it. Both have an end: it does not wait for slow ones
longer than :data:`PATIENCE_S`, but goes on beside them, and after :data:`ALONE_S`
others are let in beside it. When it ends, all who wait without wanting to be alone come
before the next one who does: so however many want to be alone, an ordinary call
waits for one of them at most, and for the one that it found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

PATIENCE_S = 10.0
"""How long a call waits for others to end, so that it is alone."""

ALONE_S = 60.0
"""How long it is alone at most."""


@attrs.define(eq=False)
class _Visitor:
    """A call that waits or sends."""

    alone: bool
    admitted: Deferred[None] = attrs.field(factory=Deferred)
    timer: IDelayedCall | None = None


class Slots:
    """See the module."""

    def __init__(self, clock: IReactorTime, total: int) -> None:
        """Let ``total`` calls in at a time."""
        self._clock = clock
        self._total = total
        self._used = 0
        self._alone: _Visitor | None = None
        self._waiting: deque[_Visitor] = deque()

    @property
    def used(self) -> int:
        """How many calls are in."""
        return self._used

    @asynccontextmanager
    async def enter(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and leave it at the end.

        Args:
            alone: whether nobody else is to be in.
        """
        visitor = _Visitor(alone)
        self._waiting.append(visitor)
        self._admit()
        await visitor.admitted
        try:
            yield
        finally:
            self._leave(visitor)

    def _admit(self) -> None:
        """Let in whoever may come in now."""
        while self._waiting:
            visitor = self._waiting[0]
            if visitor.alone:
                if self._used:
                    if visitor.timer is None and self._alone is None:
                        self._set_timer(visitor, PATIENCE_S)
                    return
                self._alone = visitor
                self._set_timer(visitor, ALONE_S)
            elif self._alone is not None or self._used >= self._total:
                return
            self._waiting.popleft()
            self._used += 1
            visitor.admitted.callback(None)

    def _set_timer(self, visitor: _Visitor, delay_s: float) -> None:
        self._cancel_timer(visitor)
        visitor.timer = self._clock.callLater(delay_s, self._give_up, visitor)

    def _cancel_timer(self, visitor: _Visitor) -> None:
        timer, visitor.timer = visitor.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _give_up(self, visitor: _Visitor) -> None:
        """It waited long enough, or was alone for long enough."""
        visitor.alone = False
        self._end_of_alone(visitor)
        self._admit()

    def _end_of_alone(self, visitor: _Visitor) -> None:
        if self._alone is visitor:
            self._alone = None
            self._waiting = deque(sorted(self._waiting, key=lambda v: v.alone))

    def _leave(self, visitor: _Visitor) -> None:
        self._cancel_timer(visitor)
        self._used -= 1
        self._end_of_alone(visitor)
        self._admit()
