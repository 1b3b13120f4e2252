"""What every storage of objects has to do."""

from __future__ import annotations

import os

import pytest

from imageserver.errors import CorruptObject, ObjectNotFound
from imageserver.model.hash import hash_of
from imageserver.objects.base import ObjectStorage, Outcome
from imageserver.objects.memory import MemoryStorage

A, B, C = b"first object", b"second", b"third one"
LARGE = os.urandom(3 << 20)


@pytest.fixture(params=["files", "memory"])
def storage(request) -> ObjectStorage:
    """A storage that is empty."""
    if request.param == "memory":
        return MemoryStorage()
    return request.getfixturevalue("opened").store


def put(storage: ObjectStorage, *contents: bytes, expected=None) -> list[Outcome]:
    """Put objects in, in one group."""
    intake = storage.intake()
    for content in contents:
        intake.begin(len(content), expected)
        intake.write(content[: len(content) // 2])
        intake.write(content[len(content) // 2 :])
    return intake.commit()


def read(storage: ObjectStorage, content: bytes) -> bytes:
    """Read an object that is there."""
    reader = storage.reader(hash_of(content), len(content))
    try:
        return reader.read(0, len(content))
    finally:
        reader.close()


def test_put(storage) -> None:
    """What was put in is there, under its hash, with its size and content."""
    assert put(storage, A, B, LARGE) == [
        Outcome(hash_of(content), added=True) for content in (A, B, LARGE)
    ]
    sizes = {hash_of(content): len(content) for content in (A, B, LARGE)}
    assert storage.sizes([*sizes, hash_of(C)]) == sizes
    assert storage.missing(sizes) == []
    assert [read(storage, content) for content in (A, B, LARGE)] == [A, B, LARGE]


def test_put_again(storage) -> None:
    """What is there, or came just before, is taken but not new."""
    assert [o.added for o in put(storage, A, A)] == [True, False]
    assert put(storage, B, A) == [Outcome(hash_of(B), added=True), Outcome(hash_of(A))]
    assert storage.totals().objects == 2


def test_put_another(storage) -> None:
    """What is not the expected object is refused, with both hashes; others are not."""
    text = f"hash mismatch. Computed={hash_of(B).hex()}, expected={hash_of(A).hex()}"
    assert put(storage, B, A, expected=hash_of(A)) == [
        Outcome(hash_of(B), error=text),
        Outcome(hash_of(A), added=True),
    ]
    assert storage.sizes([hash_of(A), hash_of(B)]) == {hash_of(A): len(A)}


@pytest.mark.parametrize("count", [0, 1, len(B)])
def test_abandon(storage, count) -> None:
    """Nothing is there before it is committed, and nothing stays of what never is."""
    intake = storage.intake()
    intake.begin(len(A), None)
    intake.write(A)
    intake.begin(len(B), None)
    intake.write(B[:count])
    assert storage.sizes([hash_of(A), hash_of(B)]) == {}
    intake.abandon()
    assert storage.sizes([hash_of(A), hash_of(B)]) == {}
    assert storage.totals().objects == 0


def test_ranges(storage) -> None:
    """Any part of an object can be read; behind its end there is nothing."""
    put(storage, LARGE)
    reader = storage.reader(hash_of(LARGE), len(LARGE))
    assert reader.size == len(LARGE)
    for offset, size in ((0, 10), (1 << 20, 1 << 20), (len(LARGE) - 3, 100)):
        assert reader.read(offset, size) == LARGE[offset : offset + size]
    assert reader.read(len(LARGE), 10) == b""
    if reader.descriptor is not None:
        assert os.pread(reader.descriptor, 100, 7) == LARGE[7:107]
    reader.close()


def test_read_together(storage) -> None:
    """Several objects are read in the order asked for, the same one twice, too."""
    put(storage, A, B)
    wanted = [(hash_of(content), len(content)) for content in (B, A, B)]
    assert storage.read_objects(wanted) == [B, A, B]
    assert storage.read_objects([]) == []


def test_unknown(storage) -> None:
    """What is not there cannot be read."""
    put(storage, A)
    assert storage.missing({hash_of(A): len(A), hash_of(B): len(B)}) == [hash_of(B)]
    with pytest.raises(ObjectNotFound):
        storage.reader(hash_of(B), len(B))
    with pytest.raises(ObjectNotFound):
        storage.read_objects([(hash_of(A), len(A)), (hash_of(B), len(B))])


def test_other_size(storage) -> None:
    """An object is not read as one of another size."""
    put(storage, A)
    assert storage.missing({hash_of(A): len(A) + 1}) == [hash_of(A)]
    with pytest.raises(CorruptObject):
        storage.reader(hash_of(A), len(A) + 1)


def test_put_aside(storage) -> None:
    """What was put aside is gone and counted; it can be put in again."""
    put(storage, A)
    reader = storage.reader(hash_of(A), len(A))
    reader.put_aside("to see what happens")
    assert reader.read(0, 100) == A
    reader.close()
    assert storage.sizes([hash_of(A)]) == {}
    assert storage.quarantined == 1
    assert put(storage, A) == [Outcome(hash_of(A), added=True)]
    assert read(storage, A) == A


def test_put_aside_too_late(storage) -> None:
    """What came in the place of something damaged is not put aside with it."""
    put(storage, A)
    reader = storage.reader(hash_of(A), len(A))
    reader.put_aside("it is damaged")
    put(storage, A)
    reader.put_aside("it is damaged")
    reader.close()
    assert read(storage, A) == A
    assert storage.quarantined == 1


def test_delete(storage) -> None:
    """What was deleted is gone, also if it never was; who reads it reads on."""
    put(storage, A, B)
    reader = storage.reader(hash_of(A), len(A))
    storage.delete([hash_of(A), hash_of(C)])
    assert storage.sizes([hash_of(A), hash_of(B)]) == {hash_of(B): len(B)}
    assert reader.read(0, len(A)) == A
    reader.put_aside("too late")
    reader.close()
    assert storage.quarantined == 0
    assert put(storage, A) == [Outcome(hash_of(A), added=True)]


def test_walk(storage) -> None:
    """Each object is met in the walk of its first byte, and nowhere else."""
    contents = [b"%d" % number for number in range(300)]
    put(storage, *contents)
    met = {first: list(storage.walk(first)) for first in range(256)}
    for first, found in met.items():
        assert all(hash_[0] == first for hash_, _ in found)
    assert sorted(entry for found in met.values() for entry in found) == sorted(
        (hash_of(content), len(content)) for content in contents
    )


def test_room(storage) -> None:
    """Space is told of."""
    put(storage, A)
    assert storage.totals().bytes_ == len(A)
    assert 0 < storage.room_bytes() <= storage.free_bytes() <= storage.capacity_bytes()


def test_no_room(storage, monkeypatch) -> None:
    """What does not fit is refused, with its size; what fits is not."""
    limit = len(A) + len(B)
    if isinstance(storage, MemoryStorage):
        storage.limit_bytes = limit
    else:
        monkeypatch.setattr(storage, "capacity_bytes", lambda: 0)
        monkeypatch.setattr(storage, "free_bytes", lambda: limit)
    small, large, another = put(storage, A, LARGE, B)
    assert (small, another) == (
        Outcome(hash_of(A), added=True),
        Outcome(hash_of(B), added=True),
    )
    text = f"cannot store: no space for an object of {len(LARGE)} bytes"
    assert (large.error, large.added) == (text, False)
    assert storage.sizes([hash_of(LARGE)]) == {}
