"""Collecting objects when nothing goes wrong."""

from __future__ import annotations

import os

import pytest

from imageserver.errors import RequestError
from imageserver.model.hash import hash_of
from imageserver.objects import collection as collection_module
from imageserver.objects.collection import CleanupLimits, Collected
from imageserver.objects.intake import Intake

PERCENT = 1000
"""A hundredth of the file system in these tests."""


def fill(opened, count, size=10):
    """Upload objects, one after the other; their contents, the oldest first."""
    contents = [b"%0*d" % (size, n) for n in range(count)]
    for content in contents:
        opened.now_ns += 1
        opened.upload(content)
    opened.end_leases()
    return contents


def left(opened):
    """The contents that are still there, as files and in the index."""
    contents = opened.files().values()
    assert len(opened.index.objects_after(b"", 10_000)) == len(contents)
    return set(contents)


@pytest.mark.parametrize(
    ("percentage", "bytes_", "gone"),
    [
        (0, 0, 0),
        (0, 1, 1),
        (0, 30, 3),
        (0, 31, 4),
        (30, 0, 3),
        (39, 0, 3),
        (30, 41, 5),
        (50, 41, 5),
        (0, 100, 10),
        (100, 0, 10),
        (255, 0, 10),
    ],
)
@pytest.mark.parametrize("at_once", [1, 3, 200])
def test_delete(opened, monkeypatch, percentage, bytes_, gone, at_once) -> None:
    """The oldest objects go, until both goals are reached, and no one more."""
    monkeypatch.setattr(collection_module, "_FORGOTTEN_AT_ONCE", at_once)
    monkeypatch.setattr(collection_module, "_CHOSEN_AT_ONCE", 4)
    contents = fill(opened, 10)
    collection = opened.collection()
    expected = Collected(gone, gone * 10)
    assert collection.delete(percentage, bytes_, dry_run=True) == expected
    assert left(opened) == set(contents)
    assert collection.total == Collected()
    assert collection.delete(percentage, bytes_) == expected
    assert left(opened) == set(contents[gone:])
    assert collection.total == expected


@pytest.mark.parametrize("bytes_", [101, (1 << 64) - 1])
def test_nothing_left(opened, bytes_) -> None:
    """If there is not as much as somebody wants, all goes, and they are told."""
    fill(opened, 10)
    with pytest.raises(RequestError, match=r"^no more objects to delete$"):
        opened.collection().delete(0, bytes_)
    assert left(opened) == set()


def test_nothing_at_all(opened) -> None:
    """All of nothing is easily deleted."""
    assert opened.collection().delete(100, 0) == Collected()


def test_percentage_of_what_can_go(opened) -> None:
    """Leased objects are not counted when it comes to percentages."""
    contents = fill(opened, 4)
    opened.upload(b"leased 1", b"leased 2")
    opened.collection().delete(50, 0)
    assert left(opened) == {*contents[2:], b"leased 1", b"leased 2"}


def test_used_again(opened) -> None:
    """An object that was uploaded again is the newest."""
    contents = fill(opened, 3)
    opened.now_ns += 1
    opened.upload(contents[0])
    opened.end_leases()
    opened.collection().delete(0, 1)
    assert left(opened) == {contents[0], contents[2]}


def test_readers_read_on(opened) -> None:
    """Who has opened an object gets all of it."""
    (content,) = fill(opened, 1)
    descriptor = opened.store.open_object(hash_of(content), len(content))
    try:
        opened.collection().delete(100, 0)
        assert os.read(descriptor, 100) == content
    finally:
        os.close(descriptor)


def test_obstacle(opened) -> None:
    """While it is not known what is needed, nothing goes, and the reason is told."""
    contents = fill(opened, 3)
    limits = CleanupLimits(start_bytes=1)
    collection = opened.collection(limits, obstacle=lambda: "there is a war")
    with pytest.raises(RequestError, match=r"^cannot delete objects: there is a war$"):
        collection.delete(100, 0)
    assert collection.clean_up() == Collected()
    assert left(opened) == set(contents)


def test_stopping(opened, monkeypatch) -> None:
    """When the daemon stops, the batch in hand is the last one."""
    monkeypatch.setattr(collection_module, "_FORGOTTEN_AT_ONCE", 2)
    contents = fill(opened, 6)
    collection = opened.collection()
    remove = opened.store.disk.remove

    def stop(path):
        remove(path)
        collection.stop()

    monkeypatch.setattr(opened.store.disk, "remove", stop)
    with pytest.raises(RequestError, match="the server is stopping"):
        collection.delete(100, 0)
    assert left(opened) == set(contents[2:])


def test_uploads_go_on(opened, monkeypatch) -> None:
    """Between two batches others get their turn."""
    monkeypatch.setattr(collection_module, "_FORGOTTEN_AT_ONCE", 1)
    contents = fill(opened, 3)
    candidates = opened.index.collectable_objects
    monkeypatch.setattr(collection_module, "_CHOSEN_AT_ONCE", 1)
    waiting = Intake(opened.store)

    def upload(*args):
        waiting.begin(len(contents[1]), hash_of(contents[1]))
        waiting.write(contents[1])
        return candidates(*args)

    monkeypatch.setattr(opened.index, "collectable_objects", upload)
    opened.collection().delete(100, 0)
    assert left(opened) == {contents[1]}
    assert waiting.commit()[0].error == ""


LIMITS = CleanupLimits(95, 90, 0, 0)


@pytest.mark.parametrize(
    ("limits", "used_percent", "unused", "goal"),
    [
        (LIMITS, 94.9, 10**9, 0),
        (LIMITS, 95, 0, 5 * PERCENT),
        (LIMITS, 96.9, 0, 6 * PERCENT),
        (LIMITS, 100, 0, 10 * PERCENT),
        (CleanupLimits(80, 80), 80, 0, PERCENT),
        (CleanupLimits(80, 95), 80, 0, PERCENT),
        (CleanupLimits(0, 0), 1, 0, PERCENT),
        (CleanupLimits(200, -5), 98.9, 0, 0),
        (CleanupLimits(200, -5), 99, 0, 98 * PERCENT),
        (CleanupLimits(95, 90, 1000, 200), 1, 1000, 0),
        (CleanupLimits(95, 90, 1000, 200), 1, 1001, 801),
        (CleanupLimits(95, 90, 1000, 1000), 1, 5000, 0),
        (CleanupLimits(95, 90, 1000, 200), 95, 1001, 5 * PERCENT),
        (CleanupLimits(95, 90, 1000, 200), 95, 9999, 9799),
    ],
)
def test_goal(limits, used_percent, unused, goal) -> None:
    """Both kinds of limits ask for so many bytes; the larger wish counts."""
    capacity = 100 * PERCENT
    free = round(capacity - used_percent * PERCENT)
    assert limits.goal_bytes(free, capacity, lambda: unused) == goal


def test_no_file_system(opened) -> None:
    """A file system without any size, as some are, is not full."""
    assert LIMITS.goal_bytes(0, 0, lambda: 0) == 0


def test_no_needless_look(opened) -> None:
    """Nobody adds up what is out of use if it does not matter."""
    assert LIMITS.goal_bytes(50, 100, lambda: pytest.fail("looked")) == 0


def test_clean_up(opened) -> None:
    """What is out of use is brought down from one size to the other."""
    contents = fill(opened, 10)
    collection = opened.collection(CleanupLimits(start_bytes=100, stop_bytes=45))
    assert collection.clean_up() == Collected()
    opened.upload(b"one more")
    opened.end_leases()
    assert collection.clean_up() == Collected(7, 70)
    assert left(opened) == {*contents[7:], b"one more"}
    assert collection.clean_up() == Collected()


def test_full_file_system(opened, monkeypatch) -> None:
    """When the file system is nearly full, the oldest objects go."""
    contents = fill(opened, 10)
    monkeypatch.setattr(opened.store, "capacity_bytes", lambda: 1000)
    monkeypatch.setattr(opened.store, "free_bytes", lambda: 40)
    assert opened.collection().clean_up() == Collected(6, 60)
    assert left(opened) == set(contents[6:])


def test_dry_run(opened) -> None:
    """A dry run only tells what would go, each time again."""
    contents = fill(opened, 10)
    limits = CleanupLimits(start_bytes=50)
    collection = opened.collection(limits, dry_run=True)
    for _ in range(2):
        assert collection.clean_up() == Collected(10, 100)
    assert left(opened) == set(contents)


def test_nothing_more_to_clean_up(opened, monkeypatch) -> None:
    """If all that can go is not enough, nobody looks again for a while."""
    fill(opened, 3)
    monkeypatch.setattr(opened.store, "capacity_bytes", lambda: 1000)
    monkeypatch.setattr(opened.store, "free_bytes", lambda: 0)
    collection = opened.collection()
    assert collection.clean_up() == Collected(3, 30)
    opened.index.add_objects({bytes(64): 7}, 0)
    opened.now_ns += 19_999_999_999
    assert collection.clean_up() == Collected()
    opened.now_ns += 1
    assert collection.clean_up() == Collected(1, 7)
