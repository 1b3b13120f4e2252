"""Measures own sizes in the background, now and then, with long rests."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from imageserver.web.space_survey import Surveyor
from imageserver.worker import Worker

_FIRST_S = 60.0
_REST = 9  # times as long as the work


class Surveys(Service):
    """See the module."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        surveyor: Surveyor,
        worker: Worker,
        interval_s: float,
    ) -> None:
        """Survey now and then.

        Args:
            clock: for rests.
            surveyor: makes the surveys.
            worker: does its work, a step at a time.
            interval_s: how often; 0: never.
        """
        self._clock = clock
        self._surveyor = surveyor
        self._worker = worker
        self._interval_s = interval_s
        self._surveying: Deferred[None] | None = None
        self._resting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        if self._interval_s:
            self._surveying = Deferred.fromCoroutine(self._repeat())

    def stopService(self) -> Deferred[None] | None:
        """End, when the step in hand is done."""
        super().stopService()
        if self._resting is not None:
            self._resting.cancel()
        return self._surveying

    async def _repeat(self) -> None:
        await self._rest(_FIRST_S)
        while self.running:
            try:
                await self._survey()
            except Exception:  # or there would be no next one
                self._log.failure("own sizes cannot be measured")
            await self._rest(self._interval_s)

    async def _survey(self) -> None:
        steps = self._surveyor.steps()
        try:
            while self.running:
                began_s = self._clock.seconds()
                if await self._worker.run(next, steps, self) is self:
                    return
                await self._rest((self._clock.seconds() - began_s) * _REST)
        finally:
            await self._worker.run(steps.close)

    async def _rest(self, seconds: float) -> None:
        if not self.running:
            return
        self._resting = deferLater(self._clock, seconds)
        try:
            await self._resting
        except CancelledError:
            pass
        finally:
            self._resting = None
