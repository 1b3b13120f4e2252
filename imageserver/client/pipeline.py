"""Work that a thread does while the network goes on."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from imageserver.worker import Worker

Step = Callable[[], object]

_BATCH_BYTES = 1 << 20
_BATCH_STEPS = 1_000


class Pipeline:
    """Runs small steps in order, many of them in one trip to a thread.

    While one batch is worked on, the next one is collected; no more than these two
    are in memory.
    """

    def __init__(self, worker: Worker) -> None:
        """Let ``worker`` run the steps."""
        self._worker = worker
        self._steps: list[Step] = []
        self._bytes = 0
        self._running: Deferred[None] | None = None

    async def add(self, step: Step, size: int) -> None:
        """Run ``step``, which holds ``size`` bytes, some time later.

        Raises:
            Exception: what an earlier step raised.
        """
        self._steps.append(step)
        self._bytes += size
        if self._bytes >= _BATCH_BYTES or len(self._steps) >= _BATCH_STEPS:
            await self._hand_over()

    async def finish(self) -> None:
        """Wait until all steps have been run.

        Raises:
            Exception: what one of them raised.
        """
        await self._hand_over()
        await self.settle()

    async def settle(self) -> None:
        """Wait for the batch that is being worked on.

        Raises:
            Exception: what one of its steps raised.
        """
        running, self._running = self._running, None
        if running is not None:
            await running

    async def _hand_over(self) -> None:
        await self.settle()
        steps, self._steps, self._bytes = self._steps, [], 0
        self._running = self._worker.run(_run_all, steps)


def _run_all(steps: list[Step]) -> None:
    for step in steps:
        step()
