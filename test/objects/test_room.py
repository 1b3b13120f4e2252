"""Space that is promised to uploads."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from imageserver.model.hash import hash_of
from imageserver.objects.room import Room
from imageserver.testing import Faults

A = b"first object" * 100
FREE = 1 << 30


@pytest.fixture
def crowded(opened, monkeypatch):
    """A store with room for a little more than one object, however much is written."""
    monkeypatch.setattr(opened.store, "capacity_bytes", lambda: 0)
    monkeypatch.setattr(opened.store, "free_bytes", lambda: len(A) + 10)
    return opened.store


def promised(store) -> int:
    """How much is promised."""
    return len(A) + 10 - next(n for n in range(len(A) + 10, -1, -1) if fits(store, n))


def fits(store, size) -> bool:
    """Whether so much could be promised."""
    possible = store.room.promise(size)
    if possible:
        store.room.release(size)
    return possible


def test_promise() -> None:
    """No more is promised than there is, less what others were promised."""
    disk = SimpleNamespace(free=100)
    room = Room(lambda: disk.free)
    assert not room.promise(101)
    assert room.promise(60)
    assert not room.promise(41)
    assert room.promise(40)
    room.release(60)
    disk.free = 50  # 60 bytes were written, and 10 of something else removed
    assert not room.promise(11)
    assert room.promise(10)


def test_uploads_share(crowded) -> None:
    """An upload in progress keeps its space, and gives back what it does not need."""
    first, second = crowded.intake(), crowded.intake()
    first.begin(len(A), None)
    second.begin(len(A), None)
    first.write(A[:100])
    assert promised(crowded) == len(A) - 100
    second.write(A)
    assert second.commit()[0].error.startswith("cannot store: no space for an object")
    first.write(A[100:])
    assert [outcome.added for outcome in first.commit()] == [True]
    assert promised(crowded) == 0


@pytest.mark.parametrize("written", [0, 100, len(A)])
def test_abandoned(crowded, written) -> None:
    """An upload that is given up keeps no space."""
    intake = crowded.intake()
    intake.begin(len(A), None)
    intake.write(A[:written])
    intake.abandon()
    assert promised(crowded) == 0


def test_refused(crowded) -> None:
    """Nor does one that fails, in any way."""
    intake = crowded.intake()
    intake.begin(len(A), hash_of(b"another"))
    intake.write(A)
    assert intake.commit()[0].error.startswith("hash mismatch")
    assert promised(crowded) == 0


def test_faults(open_store, monkeypatch) -> None:
    """Whatever goes wrong with the disk, no space stays promised."""
    open_store()
    for number in range(12):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store = open_store(Faults(number, error)).store
        monkeypatch.setattr(store, "capacity_bytes", lambda: 0)
        monkeypatch.setattr(store, "free_bytes", lambda: len(A) + 10)
        intake = store.intake()
        intake.begin(len(A), None)
        intake.write(A[:100])
        intake.write(A[100:])
        intake.commit()
        intake.abandon()
        assert promised(store) == 0
        store.path(hash_of(A)).unlink(missing_ok=True)
        store.disk.close()
