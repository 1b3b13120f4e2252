"""Follows a master for as long as the server runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from imageserver.errors import ImageServerError, ReplicationStopped
from imageserver.replication.backoff import delay_s
from imageserver.replication.cycle import Recognition, check_chain
from imageserver.replication.objects import Counters
from imageserver.replication.plan import Plan
from imageserver.replication.rate import Rate
from imageserver.replication.rests import Rests
from imageserver.replication.rules import Rules
from imageserver.replication.session import Session, Surroundings
from imageserver.replication.state import (
    FAILURES_SHOWN,
    Phase,
    ReplicationFailure,
    ReplicationState,
)
from imageserver.replication.task import Kind, Task


class Replicator:
    """See the module. All methods are to be called on the reactor's side.

    Attributes:
        recognition: how this server recognizes itself.
        plan: what is to be done.
    """

    _log = Logger()

    def __init__(self, around: Surroundings, own_name: str) -> None:
        """Follow nobody yet.

        Args:
            around: see there.
            own_name: what nobody else is called.
        """
        self.recognition = Recognition(f".{own_name}")
        self.plan = Plan(around.rules, around.random)
        self._around = around
        self._counters = Counters()
        self._rate = Rate()
        self._rests = Rests(around.clock)
        self._session: Session | None = None
        self._checking: Deferred[None] | None = None
        self._running: Deferred[None] | None = None
        self._has_ended = False
        self._is_changing = False
        self._got_something = False
        self._phase = Phase.STARTING
        self._problem = ""
        self._sessions = 0
        self._connected_at_s: float | None = None
        self._lost_at_s: float | None = None
        self._in_step_at_s: float | None = None
        self._is_complete = False
        self._repaired = 0
        self._waiting_for_all: list[Deferred[None]] = []
        self._waiting_for: dict[str, list[Deferred[None]]] = {}

    @property
    def address(self) -> str:
        """Host and port of the master."""
        return self._around.address

    def start(self) -> None:
        """Begin to follow."""
        if self._around.rules.archives:
            self._log.info("Running in archive mode: nothing is deleted")
        self._lost_at_s = self._around.clock.seconds()
        self._running = Deferred.fromCoroutine(self._run())

    def change_rules(self, rules: Rules) -> None:
        """Follow by other rules; a new session begins, in which all is looked at."""
        self._around = attrs.evolve(self._around, rules=rules)
        self.plan.change_rules(rules)
        if self._session is not None:
            self._is_changing = True
            self._session.stop()

    async def stop(self) -> None:
        """Follow no more, and wait until everything has ended."""
        self._has_ended = True
        self._rests.end()
        if self._checking is not None:
            self._checking.cancel()
        if self._session is not None:
            self._session.stop()
        if self._running is not None:
            await self._running
        self._phase = Phase.STOPPED
        waiting, self._waiting_for_all = self._waiting_for_all, []
        for deferred in waiting:
            deferred.errback(ReplicationStopped())
        for name in list(self._waiting_for):
            self._tell_waiting(name)

    async def _run(self) -> None:
        failures = 0
        while not self._has_ended:
            self._got_something = False
            try:
                await self._follow()
            except ImageServerError as error:
                self._note(str(error) or type(error).__name__)
            except Exception:  # or nobody would follow the master any more
                self._log.failure("replication failed")
                self._note("internal error")
            self._leave()
            self._is_changing = False
            failures = 1 if self._got_something else failures + 1
            try:
                await self._rests.rest(delay_s(failures, self._around.random))
            except ReplicationStopped:
                return

    async def _follow(self) -> None:
        around = self._around
        self._phase = Phase.CONNECTING
        check = check_chain(around.clock, around.dial, self.address, self.recognition)
        self._checking = Deferred.fromCoroutine(check)
        try:
            await self._checking
        except CancelledError:
            raise ReplicationStopped from None
        self._session = Session(around, self.plan, self._counters, self._progressed)
        await self._session.run(self._connected)

    def _connected(self) -> None:
        self._log.info("Image replicator: connected to: {master}", master=self.address)
        self._sessions += 1
        self._connected_at_s = self._around.clock.seconds()
        self._problem = ""
        self._phase = Phase.LISTING

    def _note(self, problem: str) -> None:
        if self._has_ended or self._is_changing:
            return
        if self._connected_at_s is not None:
            self._log.info("Connection to image replicator closed")
        if problem != self._problem:
            self._log.error(
                "Error dialing: {master} {problem}",
                master=self.address,
                problem=problem.removeprefix(f"{self.address}: "),
            )
        self._problem = problem

    def _leave(self) -> None:
        self._session = None
        if self._lost_at_s is None:
            self._lost_at_s = self._around.clock.seconds()
        self._connected_at_s = None
        self._phase = Phase.WAITING

    async def complete(self) -> None:
        """Wait until everything was here once, so that others can follow us.

        Raises:
            ReplicationStopped: it will not be.
        """
        if not self._is_complete:
            waiting: Deferred[None] = Deferred()
            self._waiting_for_all.append(waiting)
            await waiting

    async def bring_now(self, name: str, timeout_s: float) -> None:
        """Bring an image before others, if the master has it; wait for it.

        Args:
            name: the image.
            timeout_s: how long to wait.
        """
        session = self._session
        if session is None or not self.plan.hurry(name, self._around.clock.seconds()):
            return
        waiting: Deferred[None] = Deferred()
        waiting.addTimeout(timeout_s, self._around.clock)
        self._waiting_for.setdefault(name, []).append(waiting)
        session.dispatch()
        try:
            await waiting
        except TimeoutError:
            self._waiting_for[name].remove(waiting)

    def bring_again(self, name: str) -> None:
        """An image that was here is not any more."""
        if self._session is not None and self.plan.is_listed:
            self.plan.hurry(name, self._around.clock.seconds())
            self._session.dispatch()

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Leave an image alone for the time of a block: somebody is adding it."""
        self.plan.hold(name)
        try:
            yield
        finally:
            self.plan.release(name)
            self._tell_waiting(name)
            if self._session is not None:
                self._session.dispatch()

    async def repair(self, missing: Callable[[], Sequence[bytes]]) -> None:
        """Fetch objects again that are damaged or missing here.

        Args:
            missing: tells which; may block.
        """
        session = self._session
        if session is None:
            return
        try:
            hashes = await self._around.metadata.run(missing)
            self._log.warn("fetching {n} missing objects again", n=len(hashes))
            await session.fetcher.fetch(dict.fromkeys(hashes, 0))
            self._repaired += len(hashes)
            self._log.info("fetched {n} missing objects again", n=len(hashes))
        except ReplicationStopped:
            return
        except ImageServerError as error:
            self._log.error("cannot fetch missing objects again: {error}", error=error)

    def state(self) -> ReplicationState:
        """How it goes."""
        now_s = self._around.clock.seconds()
        counters, session = self._counters, self._session
        tasks = list(self.plan.todo())
        images = [task for task in tasks if task.kind is Kind.BRING]
        failures = self.plan.failures()
        rate = self._rate.sample(now_s, counters.received_bytes)
        bytes_to_go = session.fetcher.waiting_bytes if session else 0
        return ReplicationState(
            master=self.address,
            archive=self._around.rules.archives,
            phase=self._phase,
            problem=self._problem,
            connected_at_s=self._connected_at_s,
            in_step_at_s=self._in_step_at_s,
            is_complete=self._is_complete,
            images_to_go=len(images),
            other_to_go=len(tasks) - len(images),
            objects_to_go=session.fetcher.waiting_objects if session else 0,
            bytes_to_go=bytes_to_go,
            rate=rate,
            time_left_s=bytes_to_go / rate if rate else None,
            lag_s=self._lag_s(now_s, tasks),
            fetched_objects=counters.objects,
            received_bytes=counters.received_bytes,
            rejected_objects=counters.rejected_objects,
            repaired_objects=self._repaired,
            sessions=self._sessions,
            failures=tuple(_describe(task) for task in failures[:FAILURES_SHOWN]),
            failure_count=len(failures),
        )

    def _lag_s(self, now_s: float, tasks: Sequence[Task]) -> float:
        since_s = [task.since_s for task in tasks if not task.is_refused]
        if self._lost_at_s is not None:
            since_s.append(self._lost_at_s)
        return max(0.0, now_s - min(since_s, default=now_s))

    def _progressed(self, task: Task | None) -> None:
        """The master told something, or something was done."""
        if task is not None:
            self._tell_waiting(task.name)
        if not self.plan.is_listed:
            return
        self._got_something = True  # the session was worth it, however it ends
        if not self.plan.is_done:
            self._phase = Phase.COPYING
            return
        self._in_step_at_s = self._around.clock.seconds()
        self._lost_at_s = None
        if self._phase is not Phase.IN_STEP:
            self._phase = Phase.IN_STEP
            self._tell_in_step()
        self._is_complete = True
        waiting, self._waiting_for_all = self._waiting_for_all, []
        for deferred in waiting:
            deferred.callback(None)

    def _tell_in_step(self) -> None:
        failed = len(self.plan.failures())
        if failed:
            self._log.error(
                "Replicated all current images but {failed}, which the master has"
                " to repair",
                failed=failed,
            )
        elif self._connected_at_s is not None and not self._is_complete:
            took_s = self._around.clock.seconds() - self._connected_at_s
            self._log.info(
                "Replicated all current images in {s:.3f} s: {objects} objects,"
                " {received} bytes since the start",
                s=took_s,
                objects=self._counters.objects,
                received=self._counters.received_bytes,
            )

    def _tell_waiting(self, name: str) -> None:
        for deferred in self._waiting_for.pop(name, ()):
            if not deferred.called:
                deferred.callback(None)


def _describe(task: Task) -> ReplicationFailure:
    return ReplicationFailure(
        task.kind.value, task.name, task.reason, task.attempts, task.is_refused
    )
