"""Objects in memory: for tests, and as the smallest example of a storage."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs

from imageserver.errors import CorruptObject, ObjectNotFound
from imageserver.index.base import ObjectTotals
from imageserver.objects.base import ObjectLease, Outcome, mismatch


class MemoryStorage:
    """See :class:`~imageserver.objects.base.ObjectStorage`.

    Attributes:
        contents: the objects.
        quarantined: how many were put aside.
        limit_bytes: how much may be put in.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.quarantined = 0
        self.limit_bytes = limit_bytes

    @property
    def leases(self) -> _Leases:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return _Leases()

    def intake(self, lease: ObjectLease | None = None) -> _Intake:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return _Intake(self)

    def sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return {
            hash_: len(content)
            for hash_ in hashes
            if (content := self.contents.get(hash_)) is not None
        }

    def reader(self, hash_: bytes, size: int) -> _Reader:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        content = self.contents.get(hash_)
        if content is None:
            raise ObjectNotFound(hash_)
        if len(content) != size:
            raise CorruptObject(hash_, f"{len(content)} bytes instead of {size}")
        return _Reader(self, hash_, content)

    def read_objects(self, objects: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return [self.reader(hash_, size).read(0, size) for hash_, size in objects]

    def missing(self, sizes: Mapping[bytes, int]) -> list[bytes]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        there = self.sizes(sizes)
        return [hash_ for hash_, size in sizes.items() if there.get(hash_) != size]

    def delete(self, hashes: Sequence[bytes]) -> None:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        for hash_ in hashes:
            self.contents.pop(hash_, None)

    def walk(self, first: int) -> Iterator[tuple[bytes, int]]:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        for hash_, content in list(self.contents.items()):
            if hash_[0] == first:
                yield hash_, len(content)

    def totals(self) -> ObjectTotals:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return ObjectTotals(len(self.contents), self._bytes)

    def room_bytes(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return self.free_bytes()

    def free_bytes(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return self.limit_bytes - self._bytes

    def capacity_bytes(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectStorage`."""
        return self.limit_bytes

    @property
    def _bytes(self) -> int:
        return sum(map(len, self.contents.values()))


class _Leases:
    """See :class:`~imageserver.objects.base.ObjectLeases`: nothing is collected."""

    def begin(self) -> _Lease:
        return _Lease()

    def holding(self, hashes: Container[bytes]) -> AbstractContextManager[None]:
        return nullcontext()


class _Lease:
    """See :class:`~imageserver.objects.base.ObjectLease`."""

    def keep(self, hashes: Iterable[bytes]) -> None:
        pass

    def end(self) -> None:
        pass


@attrs.frozen
class _Reader:
    """See :class:`~imageserver.objects.base.ObjectReader`."""

    storage: MemoryStorage
    hash_: bytes
    content: bytes
    descriptor: None = None

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + size]

    def put_aside(self, reason: str) -> None:
        if self.storage.contents.get(self.hash_) is self.content:
            del self.storage.contents[self.hash_]
            self.storage.quarantined += 1

    def close(self) -> None:
        pass


class _Intake:
    """See :class:`~imageserver.objects.base.ObjectIntake`."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._contents = storage.contents
        self._missing = 0
        self._is_refused = False
        self._length = 0
        self._expected_hash: bytes | None = None
        self._data = bytearray()
        self._outcomes: list[Outcome] = []
        self._new: dict[bytes, bytes] = {}

    def expect(self, hashes: Sequence[bytes]) -> None:
        pass

    def begin(self, length: int, expected_hash: bytes | None) -> None:
        self._length = self._missing = length
        self._expected_hash = expected_hash
        self._is_refused = length > self._storage.room_bytes()
        self._data.clear()

    def write(self, data: bytes) -> None:
        self._missing -= len(data)
        if not self._is_refused:
            self._data += data
        if self._missing:
            return
        if self._is_refused:
            error = f"cannot store: no space for an object of {self._length} bytes"
            self._outcomes.append(Outcome(error=error))
            return
        hash_, expected = hashlib.sha512(self._data).digest(), self._expected_hash
        if expected is not None and hash_ != expected:
            self._outcomes.append(Outcome(hash_, error=mismatch(hash_, expected)))
            return
        is_new = hash_ not in self._contents and hash_ not in self._new
        self._new[hash_] = bytes(self._data)
        self._outcomes.append(Outcome(hash_, added=is_new))

    def commit(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        self._contents.update(self._new)
        self._new.clear()
        return outcomes

    def abandon(self) -> None:
        self._new.clear()
        self._data.clear()
