"""Objects as files: ``docs/formats.md``, "Objects".

The index says which objects there are. An object that it does not know but that is
there all the same (another program may have put it there) is found when asked for.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from twisted.logger import Logger

from imageserver.disk import Disk, Name
from imageserver.errors import ConfigError, CorruptObject, ObjectNotFound, StoreError
from imageserver.index.base import ObjectIndex, ObjectTotals
from imageserver.objects.base import ObjectLease
from imageserver.objects.intake import DIRECTORY_MODE, Intake
from imageserver.objects.leases import LEASE_NS, Leases
from imageserver.objects.object_file import ObjectFile
from imageserver.objects.room import Room
from imageserver.objects.salvage import incoming_name, parse_incoming_name
from imageserver.quarantine import Quarantine

INCOMING = ".incoming"
_RESERVE_BYTES = 64 << 20
_REST_DIGITS = 124
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HEX = frozenset("0123456789abcdef")
_RECORDED_AT_ONCE = 500
_SYNC_ONE_BY_ONE = 8
"""Up to so many objects are synced each; more are cheaper with the file system."""


class ObjectStore:
    """The objects below one directory; see :mod:`imageserver.objects.base`.

    Attributes:
        directory: where they are.
        index: what is known of them.
        disk: how files are changed.
        now_ns: the time.
        room: for uploads in progress.
        placing: held while files get or lose the names of objects, so that a good
            file that comes is not taken for the damaged one it replaces.
        leases: keep objects that images will need.
        quarantine: where damaged ones are put.
        left_over: unfinished uploads that were kept, to be salvaged.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        index: ObjectIndex,
        disk: Disk,
        now_ns: Callable[[], int],
        lease_ns: int = LEASE_NS,
        reserve_bytes: int = 0,
        *,
        keeps_unfinished: bool = False,
    ) -> None:
        """Keep objects in a directory; :meth:`open` comes next.

        Args:
            directory: where they are.
            index: what is known of them.
            disk: how files are changed.
            now_ns: the time.
            lease_ns: how long uploads are kept without an image.
            reserve_bytes: space that uploads must leave free: the index and the images
                need some, too. 0: 64 MiB, or 2 % of a small file system.
            keeps_unfinished: whether to keep what uploads left unfinished, if it can be
                told which objects they were to be.
        """
        self.directory = directory
        self._root = str(directory)
        self.index = index
        self.disk = disk
        self.now_ns = now_ns
        self.quarantine = Quarantine(directory, disk)
        self.room = Room(self.room_bytes)
        self._reserve_bytes = reserve_bytes
        self.placing = threading.Lock()
        self.leases = Leases(index, now_ns, self.placing, lease_ns)
        self._numbering = threading.Lock()
        self._next_number = 0
        self._keeps_unfinished = keeps_unfinished
        self.left_over: list[Path] = []

    def open(self) -> None:
        """Make the store ready, and remove what uploads left unfinished.

        Raises:
            ConfigError: the directory cannot be used.
        """
        incoming = self.directory / INCOMING
        try:
            self.disk.make_directory(incoming, DIRECTORY_MODE)
            left_over = list(incoming.iterdir())
            for path in left_over:
                self._look_after_left_over(path)
        except OSError as error:
            raise ConfigError(
                f"cannot use object directory {self.directory}: {error.strerror}"
            ) from error
        removed = len(left_over) - len(self.left_over)
        if removed:
            self._log.info("removed {n} unfinished uploads", n=removed)

    def _look_after_left_over(self, path: Path) -> None:
        parsed = parse_incoming_name(path.name)
        if parsed is not None and self._keeps_unfinished:
            self._next_number = max(self._next_number, parsed[0])
            self.left_over.append(path)
            return
        try:
            self.disk.remove(path)
        except OSError as error:
            self._log.warn("cannot remove {path}: {error}", path=path, error=error)

    def path(self, hash_: bytes) -> Path:
        """Where the file of an object is."""
        return Path(self.name(hash_))

    def name(self, hash_: bytes) -> str:
        """The same as text: making paths takes longer than opening small files."""
        name = hash_.hex()
        return f"{self._root}/{name[:2]}/{name[2:4]}/{name[4:]}"

    def incoming_path(self, expected_hash: bytes | None) -> str:
        """A new name for an object on its way in."""
        with self._numbering:
            self._next_number += 1
            name = incoming_name(self._next_number, expected_hash)
        return f"{self._root}/{INCOMING}/{name}"

    def sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        wanted = set(hashes)
        known = self.index.object_sizes(wanted)
        found = {}
        for hash_ in wanted - known.keys():
            size = self._size_of_stranger(hash_)
            if size:
                found[hash_] = size
        if found:
            try:
                self.record_found(found)
            except (OSError, StoreError) as error:
                self._log.error("cannot record objects: {error}", error=error)
                return known
        return known | found

    def record_found(self, sizes: Mapping[bytes, int]) -> None:
        """Record objects that somebody else put there.

        Nobody knows whether they are on disk already, so they are brought there. Nor
        what they are there for: they are leased as if they had just come.

        Raises:
            OSError: that fails.
            StoreError: the index fails.
        """
        paths = [self.name(hash_) for hash_ in sizes]
        self.sync_files(paths)
        self.sync_names(paths)
        hashes = list(sizes)
        for first in range(0, len(hashes), _RECORDED_AT_ONCE):
            some = {h: sizes[h] for h in hashes[first : first + _RECORDED_AT_ONCE]}
            self._record_some(some)

    def _record_some(self, sizes: Mapping[bytes, int]) -> None:
        with self.placing:  # what was collected meanwhile must not come back
            there = {h: size for h, size in sizes.items() if self.is_file(h, size)}
            self.index.add_objects(there, self.now_ns(), self.leases.until_ns())

    def sync_files(self, paths: Sequence[Name]) -> None:
        """Bring the content of files to disk."""
        if not self._sync_together(paths):
            self.disk.sync_all(paths)

    def sync_names(self, paths: Sequence[Name]) -> None:
        """Bring the names of objects to disk.

        That means all their directories: who made them may not have synced them yet.
        """
        if not self._sync_together(paths):
            inner = [os.path.dirname(path) for path in paths]
            outer = [os.path.dirname(path) for path in inner]
            self.disk.sync_all(dict.fromkeys([self._root, *outer, *inner]))

    def _sync_together(self, paths: Sequence[Name]) -> bool:
        """Bring everything to disk, if these are many; whether that was done."""
        one_by_one = len(paths) <= _SYNC_ONE_BY_ONE
        return not one_by_one and self.disk.sync_file_system(self.directory)

    def is_stored(self, hash_: bytes, size: int) -> bool:
        """Whether an object is there that the index knows, and its file, too.

        Then it is on disk: the index learns of objects after that.
        """
        known = self.index.object_sizes((hash_,)).get(hash_)
        return known == size and self.is_file(hash_, size)

    @property
    def quarantined(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return len(self.quarantine.names())

    def intake(self, lease: ObjectLease | None = None) -> Intake:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return Intake(self, lease)

    def reader(self, hash_: bytes, size: int) -> ObjectFile:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        descriptor = self.open_object(hash_, size)
        return ObjectFile(hash_, size, descriptor, self.put_aside)

    def read_objects(self, objects: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return [self._read_small(hash_, size) for hash_, size in objects]

    def _read_small(self, hash_: bytes, size: int) -> bytes:
        descriptor = self._open(hash_)
        try:
            try:
                content = os.read(descriptor, size + 1)  # one more, to see its end
            except IsADirectoryError:
                content = b""
            if len(content) != size:
                self._check_file(hash_, size, descriptor)
                raise CorruptObject(hash_, f"{len(content)} bytes instead of {size}")
        finally:
            os.close(descriptor)
        return content

    def open_object(self, hash_: bytes, size: int) -> int:
        """A descriptor to read an object of known size; the caller closes it.

        Raises:
            ObjectNotFound: its file is gone.
            CorruptObject: its file is not what it should be.
        """
        descriptor = self._open(hash_)
        try:
            self._check_file(hash_, size, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open(self, hash_: bytes) -> int:
        try:
            return os.open(self.name(hash_), _OPEN_FLAGS)
        except FileNotFoundError:
            self.forget_vanished((hash_,))
            raise ObjectNotFound(hash_) from None
        except OSError as error:
            raise CorruptObject(hash_, error.strerror or "unreadable") from error

    def _check_file(self, hash_: bytes, size: int, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            reason = f"{status.st_size} bytes instead of {size}"
            self.put_aside(hash_, status, reason)
            raise CorruptObject(hash_, reason)

    def forget_vanished(self, hashes: Iterable[bytes]) -> int:
        """Forget those objects whose files are gone; how many these were.

        Raises:
            StoreError: the index fails.
        """
        with self.placing:
            gone = [h for h in hashes if not os.path.lexists(self.name(h))]
            if gone:
                self.index.forget_objects(gone)
        return len(gone)

    def missing(self, sizes: Mapping[bytes, int]) -> list[bytes]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return [hash_ for hash_, size in sizes.items() if not self.is_file(hash_, size)]

    def delete(self, hashes: Sequence[bytes]) -> None:
        """See :class:`~imageserver.objects.base.ObjectStorage`.

        The index forgets them first: what it knows is there, also after a crash.
        """
        with self.placing:
            self.index.forget_objects(hashes)
            for hash_ in hashes:
                self.disk.remove(self.name(hash_))

    def walk(self, first: int) -> Iterator[tuple[bytes, int]]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        directory = self.directory / f"{first:02x}"
        for middle in _names(directory):
            for rest in _names(directory / middle):
                name = directory.name + middle + rest
                if len(rest) != _REST_DIGITS or not _HEX.issuperset(name):
                    continue
                hash_ = bytes.fromhex(name)
                if size := self._size_of_stranger(hash_):
                    yield hash_, size

    def is_file(self, hash_: bytes, size: int) -> bool:
        """Whether there is a file as an object of that size has."""
        try:
            status = os.lstat(self.name(hash_))
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def free_bytes(self) -> int:
        """How much can still be written."""
        status = os.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    def room_bytes(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        free, reserve = self.free_bytes(), self._reserve_bytes
        if not reserve:
            reserve = min(_RESERVE_BYTES, self.capacity_bytes() // 50)
        return free - reserve

    def capacity_bytes(self) -> int:
        """The size of the file system, without what is reserved for root."""
        status = os.statvfs(self.directory)
        reserved = status.f_bfree - status.f_bavail
        return (status.f_blocks - reserved) * status.f_frsize

    def totals(self) -> ObjectTotals:
        """How much is stored."""
        return self.index.object_totals()

    def put_aside(self, hash_: bytes, seen: os.stat_result, reason: str) -> bool:
        """Put the file of a damaged object into quarantine, and forget the object.

        Args:
            hash_: the object.
            seen: its file as it was when the damage was seen.
            reason: what is wrong with it.

        Returns:
            Whether that was done: not if it is gone, or a good file is in its place.

        Raises:
            OSError: the file cannot be moved.
            StoreError: the index fails.
        """
        path = self.path(hash_)
        with self.placing:
            try:
                if os.stat(path, follow_symlinks=False).st_ino != seen.st_ino:
                    return False
            except FileNotFoundError:
                return False
            # In this order a crash in between does not bring it back as a good one.
            self.quarantine.put(path, reason, separator="")
            self.index.forget_objects((hash_,))
        return True

    def _size_of_stranger(self, hash_: bytes) -> int:
        """The size of an object that the index does not know; 0: not there."""
        try:
            status = os.stat(self.name(hash_), follow_symlinks=False)
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
