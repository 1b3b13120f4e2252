"""One session with a master: its list, its changes, and the work they make.

::

    update stream -> Plan -> tasks, several at a time -> here
                              each with its own calls on a pool of connections

A session ends with its update stream. Then all its connections are ended, and what has
come whole is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from imageserver.client.image_server import ImageServerClient
from imageserver.client.image_updates import follow_images
from imageserver.errors import (
    ConnectionFailed,
    ImageNotFound,
    ImageServerError,
    InvalidName,
    PeerClosed,
    ReplicationRefused,
    ReplicationStopped,
)
from imageserver.images.replica import Inventory, ReplicaImages
from imageserver.objects.base import ObjectStorage
from imageserver.replication.bandwidth import Throttle
from imageserver.replication.connections import Connections
from imageserver.replication.images import ImageBringer
from imageserver.replication.objects import Counters, ObjectFetcher
from imageserver.replication.plan import IMAGES_AT_ONCE, Plan
from imageserver.replication.rests import Rests
from imageserver.replication.rules import Rules
from imageserver.replication.task import Kind, Task
from imageserver.srpc.client import Connection
from imageserver.srpc.pool import Dial
from imageserver.worker import Worker

_SILENT_END = "EOF"  # how TLS 1.3 looks to who is refused
_OTHER_CONNECTIONS = IMAGES_AT_ONCE + 2


@attrs.frozen
class Surroundings:
    """What sessions need.

    Attributes:
        clock: for everything that waits.
        dial: connects.
        host: the master.
        port: its port.
        images: what is followed here.
        storage: where objects go.
        disk: does the work of ``storage``.
        metadata: does that of ``images``.
        rules: what is wanted.
        streams: how many objects are fetched at a time.
        throttle: how fast.
        random: gives numbers from 0 to 1.
    """

    clock: IReactorTime
    dial: Dial
    host: str
    port: int
    images: ReplicaImages
    storage: ObjectStorage
    disk: Worker
    metadata: Worker
    rules: Rules
    streams: int
    throttle: Throttle
    random: Callable[[], float]

    @property
    def address(self) -> str:
        """Host and port of the master."""
        return f"{self.host}:{self.port}"


class Session:
    """See the module.

    Attributes:
        fetcher: fetches objects.
        master: can be asked.
    """

    _log = Logger()

    def __init__(
        self,
        around: Surroundings,
        plan: Plan,
        counters: Counters,
        progressed: Callable[[Task | None], None],
    ) -> None:
        """Connect with nobody yet.

        Args:
            around: see there.
            plan: what is to be done.
            counters: what is counted.
            progressed: told when the master has told something, and when something
                was done or has failed.
        """
        self._around = around
        self._plan = plan
        self._progressed = progressed
        self._rests = Rests(around.clock)
        self._connections = Connections(
            around.clock,
            around.dial,
            around.host,
            around.port,
            around.streams + _OTHER_CONNECTIONS,
        )
        self._lease = around.storage.leases.begin()
        self.master = ImageServerClient(self._connections.server)
        self.fetcher = ObjectFetcher(
            self._connections.server,
            around.storage,
            around.disk,
            self._lease,
            self._rests,
            around.throttle,
            around.streams,
            around.random,
            counters,
        )
        self._bringer = ImageBringer(
            self.master,
            around.images,
            around.storage,
            self.fetcher,
            around.metadata,
            ignore_expiring=around.rules.ignores_expiring,
        )
        self._running: set[Deferred[None]] = set()
        self._alarm: IDelayedCall | None = None
        self._has_heard = False
        self._has_ended = False
        self._is_dispatching = False

    async def run(self, connected: Callable[[], None]) -> None:
        """Follow the master until the connection ends.

        Args:
            connected: told when there is a connection.

        Raises:
            ImageServerError: why it has ended.
        """
        around = self._around
        try:
            connection = await self._connections.dial(around.host, around.port)
            connected()
            inventory = await around.metadata.run(around.images.inventory)
            await self._follow_on(connection, inventory)
        except (ConnectionFailed, PeerClosed) as error:
            if self._has_heard or not str(error).endswith(_SILENT_END):
                raise
            text = f"{error}: does the server accept our certificate?"
            raise ConnectionFailed(text) from error
        finally:
            await self._end()

    async def _follow_on(self, connection: Connection, inventory: Inventory) -> None:
        around = self._around
        ignore_expiring = around.rules.ignores_expiring
        async with follow_images(connection, ignore_expiring=ignore_expiring) as all_:
            self._plan.begin(inventory)
            while True:
                update = await all_.next()
                self._has_heard = True
                self._plan.hear(update, around.clock.seconds())
                self.dispatch()
                self._progressed(None)

    def stop(self) -> None:
        """End the session; :meth:`run` ends soon."""
        self._connections.end()
        self._rests.end()

    async def _end(self) -> None:
        self._has_ended = True
        self.stop()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        await self.fetcher.end()
        for running in list(self._running):
            await running
        await self._around.disk.run(self._lease.end)

    def dispatch(self) -> None:
        """Begin what can be done now."""
        if self._is_dispatching or self._has_ended:
            return
        self._is_dispatching = True
        try:
            while (task := self._plan.next(self._around.clock.seconds())) is not None:
                running = Deferred.fromCoroutine(self._run(task))
                self._running.add(running)
                running.addCallback(self._forget, running)
        finally:
            self._is_dispatching = False
        self._set_alarm()

    def _forget(self, _: None, running: Deferred[None]) -> None:
        self._running.discard(running)

    def _set_alarm(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        wake_s = self._plan.wake_s()
        if wake_s is not None:
            delay_s = max(0.0, wake_s - self._around.clock.seconds())
            self._alarm = self._around.clock.callLater(delay_s, self.dispatch)

    async def _run(self, task: Task) -> None:
        """Do something; whatever goes wrong, others go on."""
        try:
            await self._do(task)
        except ReplicationStopped:
            return
        except Exception as error:
            if self._has_ended:
                return
            if not isinstance(error, ImageServerError):
                self._log.failure("{what} failed", what=task.kind.value)
            self._fail(task, error)
        else:
            self._plan.succeed(task)
        self._progressed(task)
        self.dispatch()

    def _fail(self, task: Task, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        refused = isinstance(error, ReplicationRefused | InvalidName)
        now_s = self._around.clock.seconds()
        if reason != task.reason:
            self._log.error(
                "Replicator({name}): cannot {what}: {reason}",
                name=task.name,
                what=task.kind.value,
                reason=reason,
            )
        self._plan.fail(task, reason, now_s, refused=refused)

    async def _do(self, task: Task) -> None:
        images, run = self._around.images, self._around.metadata.run
        match task.kind:
            case Kind.MAKE:
                await run(images.put_directory, task.name, task.owner_group)
            case Kind.BRING:
                await self._bring(task)
            case Kind.DELETE:
                await self._delete(task)
            case Kind.REMOVE:
                self._log_removal(task)
                await run(images.remove_directory, task.name)

    async def _bring(self, task: Task) -> None:
        try:
            await self._bringer.bring(task.name)
        except ImageNotFound:
            self._plan.forget(task)
            if not self._around.rules.archives:
                await self._delete(task)

    async def _delete(self, task: Task) -> None:
        """Delete an image, unless the master, asked once more, has it after all.

        It is wanted no more, or gone there. Of some masters changes can come out of
        order.
        """
        if await self._around.metadata.run(self._around.images.find, task.name) is None:
            return
        is_wanted = self._around.rules.wants(task.name) or self._around.rules.on_demand
        if is_wanted and await self.master.check_image(task.name):
            return
        self._log_removal(task)
        await self._around.metadata.run(self._around.images.delete, task.name)

    def _log_removal(self, task: Task) -> None:
        what = "delete directory" if task.kind is Kind.REMOVE else "delete image"
        if task.is_unlisted:
            what = what.replace(" ", " missing ")
        self._log.info("Replicator({name}): {what}", name=task.name, what=what)
