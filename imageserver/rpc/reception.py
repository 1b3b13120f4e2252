"""Takes in the objects of one AddObjects stream.

::

    C: AddObjectRequest {Length, ExpectedHash}, then Length raw bytes; and so on
    C: AddObjectRequest {Length: 0}
    S: AddObjectResponse for each object, in order, once its group is on disk

What has arrived is handed to the disk worker about a mebibyte at a time, while the
next bytes come in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


class Reception:
    """See the module."""

    def __init__(
        self,
        call: Call,
        intake: ObjectIntake,
        disk: Worker,
        check_length: Callable[[int], None],
    ) -> None:
        """Begin to take objects in.

        Args:
            call: the stream.
            intake: where the objects go.
            disk: does the work.
            check_length: raises ``RequestError`` for objects that cannot be taken.
        """
        self._call = call
        self._intake = intake
        self._disk = disk
        self._check_length = check_length
        self._clock: IReactorTime = call.channel.clock
        self._working: Deferred[None] = Deferred()
        self._working.callback(None)
        self._failure: Exception | None = None
        self._steps: list[Step] = []
        self._step_bytes = 0
        self._expected: list[bytes] = []
        self._unread = 0
        self._begin_group()

    async def run(self) -> None:
        """Take objects in until the end mark.

        If the client vanishes, the objects that are complete are kept.

        Raises:
            RequestError: an object cannot be taken; what follows is not looked at.
            RemoteProtocolError: the connection is lost.
            DecodeError: something else came in the place of a request.
        """
        try:
            await self._receive_all()
        finally:
            # The intake is ours until the worker has done everything.
            await self._hand_over(commit=True)
            await self._done()
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
                await self._hand_over(commit=True)
                await self._done()
                self._answer([Outcome(error=str(error))])
                raise
            if request.expected_hash is not None:
                self._expected.append(request.expected_hash)
            begin = partial(self._intake.begin, request.length, request.expected_hash)
            await self._receive_object(begin, request.length)
            self._group_objects += 1
            if self._group_is_full():
                await self._hand_over(commit=True)
                self._begin_group()

    async def _receive_object(self, begin: Step, missing: int) -> None:
        self._steps.append(begin)
        while missing:
            data = await self._call.receive_bytes(min(missing, _PIECE_BYTES))
            missing -= len(data)
            self._steps.append(partial(self._intake.write, data))
            self._step_bytes += len(data)
            self._group_bytes += len(data)
            if self._step_bytes >= _BATCH_BYTES or len(self._steps) >= _BATCH_STEPS:
                await self._hand_over(commit=False)

    def _begin_group(self) -> None:
        self._group_bytes = 0
        self._group_objects = 0
        self._group_began_s = self._clock.seconds()

    def _group_is_full(self) -> bool:
        return (
            self._group_bytes >= _GROUP_BYTES
            or self._group_objects >= _GROUP_OBJECTS
            or self._clock.seconds() - self._group_began_s >= _GROUP_S
        )

    async def _hand_over(self, *, commit: bool) -> None:
        """Let the worker go on with what has come, once it has done what it has."""
        await self._done()
        steps, self._steps, self._step_bytes = self._steps, [], 0
        if self._expected:
            steps.insert(0, partial(self._intake.expect, self._expected))
            self._expected = []
        self._working = Deferred.fromCoroutine(self._work(steps, commit=commit))

    async def _done(self) -> None:
        """Wait for the worker. If it has failed, nothing must be done after it."""
        await self._working
        if self._failure is not None:
            raise self._failure

    async def _work(self, steps: list[Step], *, commit: bool) -> None:
        try:
            self._answer(await self._disk.run(self._do, steps, commit=commit))
        except Exception as error:
            self._failure = error

    def _do(self, steps: list[Step], *, commit: bool) -> list[Outcome]:
        for step in steps:
            step()
        return self._intake.commit() if commit else []

    def _answer(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._call.send(
                AddObjectResponse(outcome.error, outcome.hash_, outcome.added)
            )
        self._call.channel.flush()
        writable = self._call.channel.writable
        self._unread = 0 if writable else self._unread + len(outcomes)
