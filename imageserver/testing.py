"""Fakes for tests; they ship, so that other projects can use them, too.

A test of durability lets something happen on a :class:`FaultyDisk` whose process
dies at the n-th operation, throws everything away, and looks at what the next process
finds in the same directory. With :meth:`FaultyDisk.lose_power` it finds only what had
been brought to disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred, execute

from imageserver import gob
from imageserver.disk import Disk, Name
from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.hash import NO_HASH, hash_of
from imageserver.model.image import Image, ScannedImage
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SymlinkInode,
)
from imageserver.srpc.access import Caller, Identity

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

POWERFUL = Caller(Identity("root"), has_method_access=True)
"""A caller who may do everything."""


def make_caller(user: str = "", *groups: str, powers: bool = False) -> Caller:
    """Somebody, with groups, and perhaps with power over the method."""
    return Caller(Identity(user, frozenset(groups)), powers)


class Crash(BaseException):
    """The process dies here: nothing else happens, not even tidying up."""


@attrs.define
class Faults:
    """Counts operations, and lets one of them go wrong.

    Attributes:
        fail_at: the number of the operation that goes wrong, counted from 0.
        error: what it raises: a :class:`Crash`, or an ``OSError``.
        lasting: whether all operations after it go wrong, too; always so after a
            :class:`Crash`.
        log: what was done: the operation and its last argument's name.
    """

    fail_at: int | None = None
    error: BaseException = attrs.field(factory=Crash)
    lasting: bool = False
    log: list[tuple[str, str]] = attrs.field(factory=list)

    def step(self, operation: str, subject: str) -> bool:
        """Count an operation; whether it goes wrong."""
        number = len(self.log)
        self.log.append((operation, subject))
        if self.fail_at is None or number < self.fail_at:
            return False
        lasting = self.lasting or isinstance(self.error, Crash)
        return number == self.fail_at or lasting

    def check(self, operation: str, subject: str) -> None:
        """Count an operation, and raise the error if it goes wrong."""
        if self.step(operation, subject):
            raise self.error


class FaultyDisk(Disk):
    """A disk on which the n-th operation goes wrong.

    Writes that go wrong write half of their data first. The disk remembers how to
    undo what was not brought to disk.
    """

    def __init__(self, faults: Faults, backups: Path) -> None:
        """Make a disk.

        Args:
            faults: what goes wrong.
            backups: a scratch directory on the same file system.
        """
        self.faults = faults
        self._backups = Path(tempfile.mkdtemp(dir=backups))
        self._next_backup = 0
        self._undo: list[tuple[Path, Callable[[], object]]] = []
        self._unsynced: dict[tuple[int, int], int] = {}

    def lose_power(self) -> None:
        """Undo everything that was not brought to disk, as badly as can be."""
        for descriptor in self._unsynced.values():
            os.ftruncate(descriptor, 0)
        for _, undo in reversed(self._undo):
            with suppress(OSError):
                undo()
        self._undo.clear()
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        for descriptor in self._unsynced.values():
            os.close(descriptor)
        self._unsynced.clear()

    def create(self, path: Name, mode: int) -> int:
        """See :class:`~imageserver.disk.Disk`."""
        path = Path(path)
        self.faults.check("create", path.name)
        descriptor = super().create(path, mode)
        self._unsynced[_identity(descriptor)] = os.dup(descriptor)
        self._undo.append((path.parent, path.unlink))
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        if self.faults.step("write", ""):
            if len(self.faults.log) - 1 == self.faults.fail_at:
                super().write(descriptor, memoryview(data)[: len(data) // 2])
            raise self.faults.error
        super().write(descriptor, data)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("read", "")
        return super().read(descriptor, size, offset)

    def flush(self, descriptor: int) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("flush", "")
        super().flush(descriptor)
        self._forget_content(descriptor)

    def sync(self, path: Name) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        path = Path(path)
        self.faults.check("sync", path.name)
        super().sync(path)
        self._undo = [entry for entry in self._undo if entry[0] != path]
        if path.is_file():
            self._forget_content(path)

    def sync_file_system(self, path: Path) -> bool:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("sync_file_system", path.name)
        done = super().sync_file_system(path)
        if done:
            self._undo.clear()
            self.close()
        return done

    def rename(self, source: Name, target: Name) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        source, target = Path(source), Path(target)
        self.faults.check("rename", target.name)
        backup = self._back_up(target)
        super().rename(source, target)

        def undo() -> None:
            os.rename(target, source)
            if backup:
                os.rename(backup, target)

        self._undo.append((target.parent, undo))

    def link(self, source: Path, target: Path) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("link", target.name)
        super().link(source, target)
        self._undo.append((target.parent, target.unlink))

    def remove(self, path: Name) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        path = Path(path)
        self.faults.check("remove", path.name)
        backup = self._back_up(path)
        super().remove(path)
        if backup:
            restored = backup
            self._undo.append((path.parent, lambda: os.rename(restored, path)))

    def truncate(self, path: Path) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("truncate", path.name)
        super().truncate(path)

    def make_directory(self, path: Name, mode: int) -> bool:
        """See :class:`~imageserver.disk.Disk`."""
        path = Path(path)
        self.faults.check("make_directory", path.name)
        made = super().make_directory(path, mode)
        if made:
            self._undo.append((path.parent, lambda: shutil.rmtree(path)))
        return made

    def remove_directory(self, path: Path) -> None:
        """See :class:`~imageserver.disk.Disk`."""
        self.faults.check("remove_directory", path.name)
        super().remove_directory(path)
        self._undo.append((path.parent, path.mkdir))

    def _back_up(self, path: Path) -> Path | None:
        if not path.is_file():
            return None
        self._next_backup += 1
        backup = self._backups / str(self._next_backup)
        os.link(path, backup)
        return backup

    def _forget_content(self, file: int | Path) -> None:
        descriptor = self._unsynced.pop(_identity(file), None)
        if descriptor is not None:
            os.close(descriptor)


def faulty(target: T, faults: Faults, methods: Iterable[str]) -> T:
    """A stand-in for ``target`` some of whose methods are operations, too."""

    class _Faulty:
        def __getattr__(self, name: str) -> Any:
            attribute = getattr(target, name)
            if name not in methods:
                return attribute

            def operation(*args: Any) -> Any:
                faults.check(name, "")
                return attribute(*args)

            return operation

    return cast(T, _Faulty())


class Meanwhile:
    """Something that happens at the n-th step of something else.

    It happens in a thread of its own: if it has to wait for a lock, the other one goes
    on.

    Attributes:
        steps: how many steps there were so far.
    """

    def __init__(
        self, at: int, happen: Callable[[], object], patience_s: float = 0.05
    ) -> None:
        """Let ``happen`` be called.

        Args:
            at: the number of the step, counted from 0.
            happen: what happens.
            patience_s: after which time it is taken to wait for a lock.
        """
        self.steps = 0
        self._at = at
        self._patience_s = patience_s
        self._thread = threading.Thread(target=happen)

    def step(self) -> None:
        """The other one makes a step."""
        if threading.current_thread() is self._thread:
            return
        if self.steps == self._at:
            self._thread.start()
            self._thread.join(self._patience_s)
        self.steps += 1

    def finish(self) -> bool:
        """Wait until it has happened; whether it has."""
        if self.steps <= self._at:
            return False
        self._thread.join()
        return True


def interleaved(target: T, meanwhile: Meanwhile) -> T:
    """A stand-in for ``target``: there is a step before and after each call."""

    class _Interleaved:
        def __getattr__(self, name: str) -> Any:
            attribute = getattr(target, name)
            if not callable(attribute):
                return attribute

            def operation(*args: Any) -> Any:
                meanwhile.step()
                try:
                    return attribute(*args)
                finally:
                    meanwhile.step()

            return operation

    return cast(T, _Interleaved())


def make_file_system(files: Mapping[str, bytes]) -> FileSystem:
    """A tree of files, given by their paths relative to the root.

    Directories come as they are needed; a path that ends in ``@`` stands for a
    symbolic link to its content.
    """
    inodes: dict[int, Inode] = {}

    def add(inode: Inode) -> int:
        inodes[len(inodes) + 2] = inode
        return len(inodes) + 1

    def make(names: dict[str, Any]) -> DirectoryInode:
        entries = []
        for name, content in sorted(names.items()):
            inode: Inode
            if isinstance(content, dict):
                inode = make(content)
            elif name.endswith("@"):
                inode = SymlinkInode(target=content)
            else:
                hash_ = hash_of(content) if content else NO_HASH
                inode = RegularInode(0o100644, size=len(content), hash_=hash_)
            entries.append(DirectoryEntry(name.rstrip("@").encode(), add(inode)))
        return DirectoryInode(tuple(entries), 0o40755)

    tree: dict[str, Any] = {}
    for path, content in files.items():
        *parents, name = path.split("/")
        directory = tree
        for parent in parents:
            directory = directory.setdefault(parent, {})
        directory[name] = content
    return FileSystem(inodes, root=make(tree))


def make_image(files: Mapping[str, bytes], **attributes: Any) -> Image:
    """An image with a tree of :func:`make_file_system`; the totals are not set."""
    image = Image(
        filter=Filter(("/tmp/.*",)),  # noqa: S108 - an expression
        created_on=Time.from_nanoseconds(1_700_000_000_000_000_000),
        file_system=make_file_system(files),
    )
    return gob.evolve(image, **attributes)


def scanned(image: Image) -> ScannedImage:
    """The image as a server receives it."""
    received: ScannedImage = gob.decode(gob.Encoder().encode(image), ScannedImage).value
    return received


def _identity(file: int | Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


class InlineWorker:
    """A worker that does everything at once, for tests and small tools."""

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        """See :class:`~imageserver.worker.Worker`."""
        return execute(function, *args, **kwargs)
