"""Objects that are checked while they are read."""

from __future__ import annotations

import os

import pytest

from imageserver.errors import CorruptObject, LocalProtocolError
from imageserver.model.hash import hash_of
from imageserver.objects.verification import VerifiedReader, read_verified

A = os.urandom(10_000)


def damage(store) -> None:
    """Change one byte of the object, as a disk might."""
    path = store.path(hash_of(A))
    with path.open("r+b") as file:
        file.seek(5_000)
        file.write(bytes([A[5_000] ^ 0x10]))


def pieces(reader, size):
    """What can be read, in pieces."""
    offset, found = 0, b""
    try:
        while offset < reader.size:
            piece = reader.read(offset, size)
            offset += len(piece)
            found += piece
    finally:
        reader.close()
    return found


@pytest.mark.parametrize("size", [1, 999, 1000, 10_000, 20_000])
def test_good(opened, size) -> None:
    """A good object is read as ever, in pieces of any size."""
    opened.upload(A)
    reader = VerifiedReader(opened.store.reader(hash_of(A), len(A)), hash_of(A))
    assert pieces(reader, size) == A
    assert read_verified(opened.store, [(hash_of(A), len(A))] * 2) == [A, A]
    assert opened.store.quarantined == 0


@pytest.mark.parametrize("size", [1, 999, 1000, 10_000, 20_000])
def test_damaged(opened, size) -> None:
    """The last bytes of a damaged one are not to be had; it is put aside."""
    opened.upload(A)
    damage(opened.store)
    reader = VerifiedReader(opened.store.reader(hash_of(A), len(A)), hash_of(A))
    with pytest.raises(CorruptObject, match="its content is not what its name says"):
        pieces(reader, size)
    assert opened.descriptors() == 0
    assert opened.store.quarantined == 1
    assert opened.store.sizes([hash_of(A)]) == {}
    assert opened.upload(A)[0].added


def test_damaged_together(opened) -> None:
    """The same where several are read at once."""
    opened.upload(A, b"B")
    damage(opened.store)
    with pytest.raises(CorruptObject):
        read_verified(opened.store, [(hash_of(b"B"), 1), (hash_of(A), len(A))])
    assert opened.descriptors() == 0
    assert opened.store.quarantined == 1


def test_truncated(opened) -> None:
    """An object that shrinks while it is read is an error."""
    opened.upload(A)
    reader = opened.store.reader(hash_of(A), len(A))
    os.truncate(opened.store.path(hash_of(A)), 100)
    verified = VerifiedReader(reader, hash_of(A))
    assert verified.read(0, 1000) == A[:100]
    assert verified.read(100, 1000) == b""
    reader.close()


def test_order(opened) -> None:
    """Nothing can be skipped."""
    opened.upload(A)
    reader = VerifiedReader(opened.store.reader(hash_of(A), len(A)), hash_of(A))
    reader.read(0, 10)
    with pytest.raises(LocalProtocolError):
        reader.read(11, 10)
    assert reader.descriptor is None
    reader.close()
