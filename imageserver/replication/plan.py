"""What is to be done, from what the master tells: a state machine without I/O.

A session with the master begins with :meth:`Plan.begin`; then everything the master
tells goes to :meth:`Plan.hear`. Whoever does the work asks :meth:`Plan.next` for it and
says how it went. The rules:

* Of one image or directory the last thing that was told counts.
* One thing at a time is done to an image or directory.
* Directories are made before images are brought, and removed when what was in them is
  gone, from the deepest.
* Nothing goes away because the master did not mention it, unless its list is complete.
* What fails is tried again later; everything else goes on.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

import attrs

from imageserver.images.changes import Operation
from imageserver.images.replica import Inventory
from imageserver.model.image_messages import ImageUpdate
from imageserver.model.names import ROOT
from imageserver.replication.backoff import delay_s
from imageserver.replication.rules import Rules
from imageserver.replication.task import Key, Kind, Task

IMAGES_AT_ONCE = 4
_DELETIONS_AT_ONCE = 2
_LONGEST_WAIT_S = 300.0
_AT_ONCE = {
    Kind.MAKE: 1,
    Kind.BRING: IMAGES_AT_ONCE,
    Kind.DELETE: _DELETIONS_AT_ONCE,
    Kind.REMOVE: 1,
}


@attrs.define(eq=False)
class Plan:
    """See the module.

    Attributes:
        is_listed: whether the master's list is complete.
    """

    _rules: Rules
    _random: Callable[[], float]
    is_listed: bool = attrs.field(init=False, default=False)
    _inventory: Inventory = attrs.field(init=False, factory=lambda: Inventory({}, {}))
    _directories: set[str] = attrs.field(init=False, factory=set)
    _images: set[str] = attrs.field(init=False, factory=set)
    _ready: dict[Kind, dict[Key, Task]] = attrs.field(init=False)
    _delayed: dict[Key, Task] = attrs.field(init=False, factory=dict)
    _alarms: list[tuple[float, int, Task]] = attrs.field(init=False, factory=list)
    _running: dict[Key, Task] = attrs.field(init=False, factory=dict)
    _after: dict[Key, Task] = attrs.field(init=False, factory=dict)
    _held: dict[str, Task | None] = attrs.field(init=False, factory=dict)
    _pulled: set[str] = attrs.field(init=False, factory=set)
    _past: dict[Key, Task] = attrs.field(init=False, factory=dict)
    _numbers: Iterator[int] = attrs.field(init=False, factory=itertools.count)

    def __attrs_post_init__(self) -> None:
        self._ready = {kind: {} for kind in Kind}

    def change_rules(self, rules: Rules) -> None:
        """Want other images, from the next list on."""
        self._rules = rules

    def begin(self, inventory: Inventory) -> None:
        """A new list begins; what was to be done is forgotten.

        Args:
            inventory: what is here.
        """
        past = self._past | {task.key: task for task in self.todo()}
        self.is_listed = False
        self._inventory = inventory
        self._directories.clear()
        self._images.clear()
        for ready in self._ready.values():
            ready.clear()
        self._delayed.clear()
        self._alarms.clear()
        self._running.clear()
        self._after.clear()
        self._held = dict.fromkeys(self._held)
        self._pulled.clear()
        self._past = past

    def hear(self, update: ImageUpdate, now_s: float) -> None:
        """The master tells something."""
        name, operation = update.name, update.operation
        if update.directory is not None:
            directory = update.directory
            self._hear_directory(directory.name, directory.metadata.owner_group, now_s)
        elif operation == Operation.DELETE_IMAGE:
            self._forget_image(name, now_s, is_unlisted=False)
        elif operation == Operation.DELETE_DIRECTORY:
            self._directories.discard(name)
            if not self._rules.archives:
                self._add(Task(Kind.REMOVE, name, now_s))
        elif operation == Operation.ADD_IMAGE and name:
            self._hear_image(name, now_s)
        elif operation == Operation.ADD_IMAGE and not self.is_listed:
            self._end_list(now_s)

    def _hear_directory(self, name: str, owner_group: str, now_s: float) -> None:
        self._directories.add(name)
        is_same = self._inventory.directories.get(name) == owner_group
        if not is_same or self.is_listed:
            self._add(Task(Kind.MAKE, name, now_s, owner_group))

    def _hear_image(self, name: str, now_s: float) -> None:
        expires = self._inventory.images.get(name)
        is_wanted = self._rules.wants(name)
        if not (is_wanted or self._rules.on_demand):
            return
        self._images.add(name)
        is_known = expires is not None or name in self._pulled
        if (is_wanted or is_known) and (expires is not False or self.is_listed):
            self._add(Task(Kind.BRING, name, now_s))

    def _forget_image(self, name: str, now_s: float, *, is_unlisted: bool) -> None:
        self._images.discard(name)
        if not self._rules.archives:
            task = Task(Kind.DELETE, name, now_s, is_unlisted=is_unlisted)
            self._add(task)
        else:
            self._withdraw((True, name))

    def _end_list(self, now_s: float) -> None:
        self.is_listed = True
        self._past.clear()
        if self._rules.archives:
            return
        for name in self._inventory.images.keys() - self._images:
            self._forget_image(name, now_s, is_unlisted=True)
        for name in self._inventory.directories.keys() - self._directories - {ROOT}:
            self._add(Task(Kind.REMOVE, name, now_s, is_unlisted=True))

    def _add(self, task: Task) -> None:
        """Let something be done, in place of what was to be done there."""
        past = self._past.pop(task.key, None)
        if past is not None and past.kind is task.kind:
            task.since_s = past.since_s
            task.attempts, task.reason = past.attempts, past.reason
            task.is_refused, task.not_before_s = past.is_refused, past.not_before_s
        self._withdraw(task.key)
        if task.kind.is_of_image and task.name in self._held:
            self._held[task.name] = task
        elif task.key in self._running:
            self._after[task.key] = task
        elif task.not_before_s:
            self._delay(task)
        else:
            self._ready[task.kind][task.key] = task

    def _withdraw(self, key: Key) -> None:
        self._after.pop(key, None)
        self._delayed.pop(key, None)
        for ready in self._ready.values():
            ready.pop(key, None)

    def _delay(self, task: Task) -> None:
        self._delayed[task.key] = task
        alarm = (task.not_before_s, next(self._numbers), task)
        heapq.heappush(self._alarms, alarm)

    def next(self, now_s: float) -> Task | None:
        """Something that can be done now; ``None``: there is nothing."""
        self._wake(now_s)
        for kind in Kind:
            if self._may_begin(kind):
                task = self._choose(kind)
                del self._ready[kind][task.key]
                self._running[task.key] = task
                return task
        return None

    def wake_s(self) -> float | None:
        """When to ask again if nothing happens until then; ``None``: never."""
        while self._alarms and not self._is_delayed(self._alarms[0][2]):
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def _wake(self, now_s: float) -> None:
        while self._alarms and self._alarms[0][0] <= now_s:
            task = heapq.heappop(self._alarms)[2]
            if self._is_delayed(task):
                del self._delayed[task.key]
                self._ready[task.kind][task.key] = task

    def _is_delayed(self, task: Task) -> bool:
        return self._delayed.get(task.key) is task

    def _may_begin(self, kind: Kind) -> bool:
        running = [task.kind for task in self._running.values()]
        if not self._ready[kind] or running.count(kind) >= _AT_ONCE[kind]:
            return False
        if kind is Kind.BRING:
            return not self._ready[Kind.MAKE] and Kind.MAKE not in running
        if kind is Kind.REMOVE:
            return not self._ready[Kind.DELETE] and Kind.DELETE not in running
        return True

    def _choose(self, kind: Kind) -> Task:
        ready = self._ready[kind].values()
        if kind is Kind.REMOVE:
            return max(ready, key=lambda task: task.name.count("/"))
        return next(iter(ready))

    def succeed(self, task: Task) -> None:
        """Something was done."""
        if self._running.pop(task.key, None) is task:
            self._go_on(task.key)

    def forget(self, task: Task) -> None:
        """The master does not have an image after all.

        It may have told of the deletion first, or the image has expired.
        """
        if self._running.get(task.key) is task and task.key not in self._after:
            self._images.discard(task.name)

    def fail(self, task: Task, reason: str, now_s: float, *, refused: bool) -> None:
        """Something could not be done.

        Args:
            task: what.
            reason: why.
            now_s: the time.
            refused: whether trying again does not help unless the master changes
                something.
        """
        if self._running.pop(task.key, None) is not task:
            return  # that was in another session
        is_gone = task.kind is Kind.BRING and task.name not in self._images
        if is_gone or task.key in self._after:
            self._go_on(task.key)
            return
        task.attempts += 1
        task.reason, task.is_refused = reason, refused
        wait_s = delay_s(task.attempts, self._random, longest_s=_LONGEST_WAIT_S)
        task.not_before_s = now_s + wait_s
        self._delay(task)

    def _go_on(self, key: Key) -> None:
        after = self._after.pop(key, None)
        if after is not None:
            self._ready[after.kind][key] = after

    def hurry(self, name: str, now_s: float) -> bool:
        """Bring an image before others; whether the master has it."""
        key = (True, name)
        if name not in self._images:
            return False
        if key in self._running or name in self._held:
            return True
        self._withdraw(key)
        self._pulled.add(name)
        brings = self._ready[Kind.BRING]
        self._ready[Kind.BRING] = {key: Task(Kind.BRING, name, now_s), **brings}
        return True

    def hold(self, name: str) -> None:
        """Leave an image alone: somebody else is adding it."""
        key = (True, name)
        waiting = self._ready[Kind.BRING].get(key) or self._delayed.get(key)
        self._withdraw(key)
        self._held[name] = waiting

    def release(self, name: str) -> None:
        """That has ended."""
        task = self._held.pop(name, None)
        if task is not None:
            self._add(task)

    def todo(self) -> Iterator[Task]:
        """Everything that is to be done, or being done."""
        for ready in self._ready.values():
            yield from ready.values()
        yield from self._delayed.values()
        yield from self._running.values()
        yield from self._after.values()
        yield from (task for task in self._held.values() if task is not None)

    def failures(self) -> list[Task]:
        """What has failed, and will be tried again."""
        tasks = (*self._past.values(), *self.todo())
        return [task for task in tasks if task.reason]

    @property
    def is_done(self) -> bool:
        """Whether everything is here, but for what the master itself has spoilt."""
        if not self.is_listed or self._running or any(self._ready.values()):
            return False
        return all(task.is_refused for task in self.todo())
