"""Uploads when nothing goes wrong with the disk."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imageserver.model.hash import hash_of
from imageserver.objects.intake import Intake, Outcome
from imageserver.objects.reconciliation import Reconciliation

A, B, C = b"first object", b"second", b"third one"


@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("count", [1, 3, 8, 9, 20])
def test_new(opened, expected, count) -> None:
    """New objects are stored and acknowledged, in order."""
    contents = [b"object %d" % n for n in range(count)]
    outcomes = opened.upload(*contents, expected=expected)
    assert outcomes == [Outcome(hash_of(c), added=True) for c in contents]
    assert set(opened.files().values()) == set(contents)
    sizes = opened.index.object_sizes(map(hash_of, contents))
    assert sizes == {hash_of(c): len(c) for c in contents}


def test_nothing(opened) -> None:
    """A group may be empty."""
    assert opened.upload() == []
    assert opened.files() == {}


def test_groups(opened) -> None:
    """A commit tells of the objects that ended since the last one."""
    intake = Intake(opened.store)
    intake.begin(len(A), None)
    intake.write(A[:5])
    assert intake.commit() == []
    intake.write(A[5:])
    intake.begin(len(B), None)
    intake.write(B)
    assert intake.commit() == [
        Outcome(hash_of(A), added=True),
        Outcome(hash_of(B), added=True),
    ]
    assert intake.commit() == []


@pytest.mark.parametrize("expected", [False, True])
def test_duplicate(opened, expected) -> None:
    """An object that is there already is acknowledged, but not as new."""
    opened.upload(A)
    before = opened.store.path(hash_of(A)).stat()
    assert opened.upload(A, expected=expected) == [Outcome(hash_of(A))]
    assert opened.store.path(hash_of(A)).stat() == before
    assert list(opened.files().values()) == [A]


@pytest.mark.parametrize("expected", [False, True])
def test_duplicate_in_group(opened, expected) -> None:
    """Of equal objects in one group the first one is new."""
    outcomes = opened.upload(A, B, A, A, expected=expected)
    assert [outcome.added for outcome in outcomes] == [True, True, False, False]
    assert not any(outcome.error for outcome in outcomes)
    assert sorted(opened.files().values()) == [A, B]


def test_duplicate_in_another_stream(opened) -> None:
    """An object is no duplicate of one that is not on disk yet."""
    first, second = Intake(opened.store), Intake(opened.store)
    for intake in (first, second):
        intake.begin(len(A), hash_of(A))
        intake.write(A)
    assert second.commit() == [Outcome(hash_of(A), added=True)]
    first.abandon()
    assert list(opened.files().values()) == [A]


@pytest.mark.parametrize("known", [False, True])
def test_wrong_hash(opened, known) -> None:
    """An object other than the expected one is refused; the others are not."""
    if known:
        opened.upload(B)
    intake = Intake(opened.store)
    intake.begin(len(B), hash_of(B) if known else hash_of(C))
    intake.write(b"x" * len(B))
    intake.begin(len(A), None)
    intake.write(A)
    wrong = hash_of(b"x" * len(B))
    expected = hash_of(B) if known else hash_of(C)
    text = f"hash mismatch. Computed={wrong.hex()}, expected={expected.hex()}"
    assert intake.commit() == [
        Outcome(wrong, error=text),
        Outcome(hash_of(A), added=True),
    ]
    assert sorted(opened.files().values()) == [A, *([B] if known else [])]


def test_pieces(opened) -> None:
    """A large object may come in pieces of any size."""
    content = os.urandom(1 << 20) * 5 + b"!"
    intake = Intake(opened.store)
    intake.begin(len(content), None)
    position, size = 0, 1
    while position < len(content):
        intake.write(content[position : position + size])
        position, size = position + size, size * 3 + 1
    assert intake.commit() == [Outcome(hash_of(content), added=True)]
    assert opened.store.path(hash_of(content)).read_bytes() == content


def short(path):
    """Truncate a file."""
    os.truncate(path, 3)


def empty(path):
    """Empty it."""
    os.truncate(path, 0)


def gone(path):
    """Remove it."""
    path.unlink()


def symlink(path):
    """Put a link in its place."""
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("damage", [short, empty, gone, symlink])
def test_repair(opened, damage, expected) -> None:
    """A good upload takes the place of a damaged file of the same name."""
    opened.upload(A)
    damage(opened.store.path(hash_of(A)))
    assert opened.upload(A, expected=expected) == [Outcome(hash_of(A), added=True)]
    path = opened.store.path(hash_of(A))
    assert path.read_bytes() == A
    assert not path.is_symlink()


def test_directory_in_the_way(opened) -> None:
    """What cannot take its place is an error, without paths of the server."""
    opened.store.path(hash_of(A)).mkdir(parents=True)
    (outcome,) = opened.upload(A)
    assert outcome == Outcome(hash_of(A), error="cannot store: Is a directory")
    assert opened.files() == {}


@pytest.mark.parametrize("written", [0, 3, len(A)])
def test_abandon(opened, written) -> None:
    """What was not committed leaves no trace, whatever had come of it."""
    intake = Intake(opened.store)
    intake.begin(len(B), None)
    intake.write(B)
    intake.begin(len(A), None)
    intake.write(A[:written])
    intake.abandon()
    intake.abandon()
    assert opened.files() == {}
    assert opened.index.object_sizes([hash_of(A), hash_of(B)]) == {}
    assert opened.descriptors() == 0


def test_threads(opened) -> None:
    """Streams with the same objects, and a look at all files, can go on together."""
    contents = [b"object %d" % n for n in range(60)]
    reconciliation = Reconciliation(opened.store, time.time() - 1000)

    def upload(start):
        return [
            outcome
            for first in range(0, 60, 20)
            for outcome in opened.upload(
                *[contents[(start + first + n) % 60] for n in range(20)]
            )
        ]

    with ThreadPoolExecutor(5) as pool:
        uploads = [pool.submit(upload, start) for start in (0, 0, 20, 33)]
        pool.submit(lambda: [*map(reconciliation.run_piece, range(256))]).result()
        for future in uploads:
            assert not any(outcome.error for outcome in future.result())
    assert sorted(opened.files().values()) == sorted(contents)
    assert all(opened.store.is_stored(hash_of(c), len(c)) for c in contents)
