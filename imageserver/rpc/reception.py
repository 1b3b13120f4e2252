"""Takes in the objects of one AddObjects stream.

::

    C: AddObjectRequest {Length, ExpectedHash}, then Length raw bytes; and so on
    C: AddObjectRequest {Length: 0}
    S: AddObjectResponse for each object, in order, once its group is on disk

What has arrived is handed to the disk worker about a mebibyte at a time, while the
next bytes come in. While one group is brought to disk, the next one is received.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from imageserver.errors import RequestError
from imageserver.model.object_messages import AddObjectRequest, AddObjectResponse
from imageserver.objects.base import ObjectIntake, Outcome
from imageserver.srpc.call import Call
from imageserver.worker import Worker

_PIECE_BYTES = 256 << 10
_BATCH_BYTES = 1 << 20
_BATCH_STEPS = 2_000
_GROUP_BYTES = 64 << 20
_GROUP_OBJECTS = 1_000
_GROUP_S = 1.0
_UNREAD_RESPONSES = 20_000

Step = Callable[[], None]
PassOn = Callable[[list[Outcome]], Awaitable[list[Outcome]]]
"""Has the objects stored somewhere else, too; what became of them."""


@attrs.define(eq=False)
class _Group:
    """Objects that are brought to disk together.

    Attributes:
        intake: where they go.
        began_s: when the group began.
        bytes_: how much has come.
        objects: how many are complete.
    """

    intake: ObjectIntake
    began_s: float
    bytes_: int = 0
    objects: int = 0


class Reception:
    """See the module."""

    def __init__(
        self,
        call: Call,
        make_intake: Callable[[], ObjectIntake],
        disk: Worker,
        check_length: Callable[[int], None],
        pass_on: PassOn | None = None,
    ) -> None:
        """Begin to take objects in.

        Args:
            call: the stream.
            make_intake: makes what the objects of a group go to.
            disk: does the work.
            check_length: raises ``RequestError`` for objects that cannot be taken.
            pass_on: called with each group before it is answered.
        """
        self._call = call
        self._pass_on = pass_on
        self._make_intake = make_intake
        self._disk = disk
        self._check_length = check_length
        self._clock: IReactorTime = call.channel.clock
        self._working = _nothing()
        self._committing = _nothing()
        self._failure: Exception | None = None
        self._steps: list[Step] = []
        self._step_bytes = 0
        self._expected: list[bytes] = []
        self._just_added: set[bytes] = set()
        self._unread = 0
        self._group = self._begin_group()

    async def run(self) -> None:
        """Take objects in until the end mark.

        If the client vanishes, the objects that are complete are kept.

        Raises:
            RequestError: an object cannot be taken; what follows is not looked at.
            RemoteProtocolError: the connection is lost.
            DecodeError: something else came in the place of a request.
        """
        self._call.channel.expect_much()
        try:
            await self._receive_all()
        finally:
            try:
                await self._end_group()
            finally:
                await self._settle()
        self._check()
        await self._call.drain()

    async def _receive_all(self) -> None:
        while True:
            if self._unread > _UNREAD_RESPONSES:
                await self._call.drain()
            request = await self._call.receive(AddObjectRequest)
            if request.length == 0:
                return
            try:
                self._check_length(request.length)
            except RequestError as error:
                await self._end_group()
                await self._committing
                self._check()
                self._answer([Outcome(error=str(error))])
                raise
            await self._receive_object(request.length, request.expected_hash)
            self._group.objects += 1
            if self._group_is_full():
                await self._end_group()

    async def _receive_object(self, missing: int, expected_hash: bytes | None) -> None:
        intake = self._group.intake
        if expected_hash is not None:
            self._expected.append(expected_hash)
        self._steps.append(partial(intake.begin, missing, expected_hash))
        while missing:
            data = await self._call.receive_bytes(min(missing, _PIECE_BYTES))
            missing -= len(data)
            self._steps.append(partial(intake.write, data))
            self._step_bytes += len(data)
            self._group.bytes_ += len(data)
            if self._step_bytes >= _BATCH_BYTES or len(self._steps) >= _BATCH_STEPS:
                await self._hand_over()

    def _begin_group(self) -> _Group:
        return _Group(self._make_intake(), self._clock.seconds())

    def _group_is_full(self) -> bool:
        return (
            self._group.bytes_ >= _GROUP_BYTES
            or self._group.objects >= _GROUP_OBJECTS
            or self._clock.seconds() - self._group.began_s >= _GROUP_S
        )

    async def _hand_over(self) -> None:
        """Let the worker go on with what has come, once it has done what it has."""
        await self._working
        self._check()
        steps, self._steps, self._step_bytes = self._steps, [], 0
        if self._expected:
            steps.insert(0, partial(self._group.intake.expect, self._expected))
            self._expected = []
        self._working = Deferred.fromCoroutine(self._work(steps))

    async def _work(self, steps: list[Step]) -> None:
        try:
            await self._disk.run(_do_all, steps)
        except Exception as error:
            self._failure = error

    async def _end_group(self) -> None:
        """Let the group be brought to disk, once the one before is there."""
        await self._hand_over()
        await self._committing
        self._check()
        group, self._group = self._group, self._begin_group()
        self._committing = Deferred.fromCoroutine(
            self._commit(group.intake, self._working)
        )

    async def _commit(self, intake: ObjectIntake, working: Deferred[None]) -> None:
        await working
        if self._failure is not None:
            await self._disk.run(intake.abandon)
            return
        try:
            outcomes = await self._disk.run(_commit_all, intake)
            if self._pass_on is not None:
                outcomes = await self._pass_on(outcomes)
            self._answer(outcomes)
        except Exception as error:
            self._failure = error

    async def _settle(self) -> None:
        """Wait until the worker has done everything: till then the intakes are its."""
        await self._working
        await self._disk.run(self._group.intake.abandon)
        await self._committing  # last, since the client may go once it has its answers

    def _check(self) -> None:
        """If the worker has failed, nothing must be done after it."""
        if self._failure is not None:
            raise self._failure

    def _answer(self, outcomes: list[Outcome]) -> None:
        just_added = set()
        for outcome in outcomes:
            # The group before was not on disk yet when an object came again.
            is_new = outcome.added and outcome.hash_ not in self._just_added
            if outcome.added:
                just_added.add(outcome.hash_)
            self._call.send(AddObjectResponse(outcome.error, outcome.hash_, is_new))
        self._just_added = just_added
        self._call.channel.flush()
        writable = self._call.channel.writable
        self._unread = 0 if writable else self._unread + len(outcomes)


def _do_all(steps: list[Step]) -> None:
    for step in steps:
        step()


def _commit_all(intake: ObjectIntake) -> list[Outcome]:
    try:
        return intake.commit()
    finally:
        intake.abandon()


def _nothing() -> Deferred[None]:
    """Nothing to wait for."""
    done: Deferred[None] = Deferred()
    done.callback(None)
    return done
