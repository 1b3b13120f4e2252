"""What goes on, measured every ten seconds, for the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from imageserver.web.history import History, Stored
from imageserver.worker import Worker

INTERVAL_S = 10.0
_KEPT = 361


@attrs.frozen
class Sample:
    """What was counted until some time.

    Attributes:
        time_s: by the reactor's clock.
        calls: calls so far.
        sent_bytes: bytes sent for calls so far.
        received_bytes: bytes received.
        open_connections: connections for calls that are open.
        running_calls: calls that go on.
        slots_used: GetObjects calls that are being served.
        cpu_s: processor time so far.
        late_s: by how much the reactor was late with this sample.
    """

    time_s: float
    calls: int
    sent_bytes: int
    received_bytes: int
    open_connections: int
    running_calls: int
    slots_used: int
    cpu_s: float
    late_s: float = 0.0


@attrs.frozen
class Rates:
    """What goes on, in the last minute.

    Attributes:
        calls_per_minute: calls.
        sent_per_s: bytes sent for calls.
        received_per_s: bytes received.
        cpu_percent: of one processor.
        late_ms: the most by which the reactor was late.
    """

    calls_per_minute: float = 0.0
    sent_per_s: float = 0.0
    received_per_s: float = 0.0
    cpu_percent: float = 0.0
    late_ms: float = 0.0


class Sampler(Service):
    """See the module.

    Attributes:
        samples: of the last hour, oldest first.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        take: Callable[[], Sample],
        stored: Callable[[], Stored | None],
        history: History,
        worker: Worker,
    ) -> None:
        """Measure.

        Args:
            clock: for the intervals.
            take: takes a sample, on the reactor's side.
            stored: tells what is stored, if that is known already; blocks.
            history: where that is recorded.
            worker: does what blocks.
        """
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self._take = take
        self._stored = stored
        self._history = history
        self._worker = worker
        self._clock = clock
        self._loop = LoopingCall(self._sample)
        self._loop.clock = clock
        self._looping: Deferred[Any] | None = None
        self._due_s = 0.0

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._due_s = self._clock.seconds() + INTERVAL_S
        self._looping = self._loop.start(INTERVAL_S, now=False)

    async def _stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        if self._looping is not None:
            await self._looping

    def stopService(self) -> Deferred[None]:
        """End, when what was begun is done."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _sample(self) -> Deferred[None]:
        late_s = max(0.0, self._clock.seconds() - self._due_s)
        self._due_s = self._clock.seconds() + INTERVAL_S
        self.samples.append(attrs.evolve(self._take(), late_s=late_s))
        return Deferred.fromCoroutine(self._record())

    async def _record(self) -> None:
        try:
            await self._worker.run(self._record_if_due)
        except Exception:  # or nothing would be measured any more
            self._log.failure("the history cannot be written")

    def _record_if_due(self) -> None:
        if self._history.is_due():
            stored = self._stored()
            if stored is not None:
                self._history.add(stored)

    def rates(self) -> Rates:
        """What goes on, in the last minute."""
        some = list(self.samples)[-7:]
        if len(some) < 2:
            return Rates()
        first, last = some[0], some[-1]
        span_s = max(last.time_s - first.time_s, 1e-6)
        return Rates(
            (last.calls - first.calls) / span_s * 60,
            (last.sent_bytes - first.sent_bytes) / span_s,
            (last.received_bytes - first.received_bytes) / span_s,
            (last.cpu_s - first.cpu_s) / span_s * 100,
            max(sample.late_s for sample in some) * 1000,
        )
