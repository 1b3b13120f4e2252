"""Uploads when something goes wrong: acknowledged means on disk."""

from __future__ import annotations

import errno
import os
import time
from itertools import count

import pytest

from imageserver.errors import StoreError
from imageserver.model.hash import hash_of
from imageserver.objects import collection as collection_module
from imageserver.objects.intake import Outcome
from imageserver.objects.leases import LEASE_NS
from imageserver.objects.reconciliation import Reconciliation
from imageserver.objects.scrub import Scrub
from imageserver.testing import Crash, Faults, FaultyDisk

FEW = [b"object %d" % n for n in range(3)]
MANY = [b"object number %d" % n for n in range(20)]
NOW_NS = 10**18
SYNCS = ("sync", "sync_file_system")


def operations(open_store, contents):
    """How many operations an upload takes."""
    faults = Faults()
    assert all(o.added for o in open_store(faults).upload(*contents))
    return len(faults.log)


@pytest.mark.parametrize(
    ("contents", "sync"), [(FEW, "sync"), (MANY, "sync_file_system")]
)
def test_order(open_store, contents, sync) -> None:
    """Content is synced, then named, the names are synced, then the index knows."""
    open_store()
    faults = Faults()
    open_store(faults).upload(*contents)
    done = [operation for operation, _ in faults.log]
    syncs = [number for number, operation in enumerate(done) if operation == sync]
    renames = [number for number, operation in enumerate(done) if operation == "rename"]
    assert len(renames) == 2 * len(contents)  # the first time directories are missing
    before = [number for number in syncs if number < renames[0]]
    after = [number for number in syncs if number > renames[-1]]
    assert before + after == syncs
    assert before[0] > max(
        n for n, operation in enumerate(done) if operation == "write"
    )
    assert done[-1] == "add_objects"
    assert done.count("add_objects") == 1
    if sync == "sync":
        synced = {faults.log[number][1] for number in before}
        assert synced == {"1", "2", "3"}
        names = {hash_of(c).hex() for c in contents}
        levels = {name[:2] for name in names} | {name[2:4] for name in names}
        assert {faults.log[number][1] for number in after} == levels | {"objects"}
    else:
        assert (len(before), len(after)) == (1, 1)


@pytest.mark.parametrize(
    ("contents", "power", "has_syncfs"),
    [
        (FEW, False, True),
        (FEW, True, True),
        (MANY, False, True),
        (MANY, True, True),
        (MANY[:9], True, False),
    ],
)
def test_crash(open_store, monkeypatch, contents, power, has_syncfs) -> None:
    """Whenever the process dies, the next one finds all that was acknowledged.

    There is nothing under a wrong name or with wrong content, nothing is left over,
    and the upload can be repeated.
    """
    if not has_syncfs:
        monkeypatch.setattr("imageserver.disk._syncfs", None)
    old = b"was there before"
    open_store().upload(old)
    for number in count():
        faults = Faults(number)
        dying = open_store(faults)
        acknowledged = {old: True}
        try:
            outcomes = dying.upload(*contents)
            acknowledged |= dict.fromkeys(contents, True)
            assert all(outcome.added for outcome in outcomes)
        except Crash:
            pass
        if power:
            dying.store.disk.lose_power()
        else:
            dying.store.disk.close()
        dying.index.close()
        again = open_store()
        check_objects(again, acknowledged, contents)
        if len(faults.log) <= number:
            return
        for content in contents:  # back to the beginning
            again.store.path(hash_of(content)).unlink(missing_ok=True)
        again.index.forget_objects(map(hash_of, contents))
        again.index.close()


def check_objects(opened, acknowledged, contents) -> None:
    """Check what a process finds after another one died."""
    files = opened.files()
    assert not any(name.startswith(".incoming/") for name in files)
    for name, content in files.items():
        assert hash_of(content).hex() == name.replace("/", "")
    sizes = opened.index.object_sizes(map(hash_of, [*acknowledged, *contents]))
    for content in acknowledged:
        assert sizes[hash_of(content)] == len(content)
    for hash_, size in sizes.items():
        assert opened.store.is_stored(hash_, size)
    outcomes = opened.upload(*contents)
    assert not any(outcome.error for outcome in outcomes)
    files = set(opened.files().values())
    assert files >= {*acknowledged, *contents}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EIO, os.strerror(errno.EIO)),
    ],
    ids=["ENOSPC", "EIO"],
)
@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("contents", [FEW, MANY])
def test_fault(open_store, contents, lasting, error) -> None:
    """Whatever goes wrong is told in an outcome; what is acknowledged is there."""
    opened = open_store()
    total = operations(open_store, [b"z" + c for c in contents])
    for number in range(total):
        faults = Faults(number, error, lasting)
        failing = open_store(faults)
        outcomes = failing.upload(*contents)
        failing.store.disk.close()
        failing.index.close()
        assert [outcome.hash_ for outcome in outcomes] == [*map(hash_of, contents)]
        for content, outcome in zip(contents, outcomes, strict=True):
            path = opened.store.path(hash_of(content))
            assert bool(outcome.error) != outcome.added
            if outcome.added:
                assert path.read_bytes() == content
                assert opened.store.is_stored(hash_of(content), len(content))
            else:
                assert outcome.error.startswith("cannot store: ")
                assert "objects" not in outcome.error
            path.unlink(missing_ok=True)
        opened.index.forget_objects(map(hash_of, contents))
        if not lasting:
            left_over = list((opened.store.directory / ".incoming").iterdir())
            assert not left_over, faults.log[number:]
    assert opened.descriptors() == 0


@pytest.mark.parametrize("contents", [FEW, MANY])
def test_index_fault(open_store, contents) -> None:
    """Objects that cannot be recorded are not acknowledged."""
    open_store()
    total = operations(open_store, [b"z" + c for c in contents])
    error = StoreError("index: database or disk is full")
    failing = open_store(Faults(total - 1, error))
    outcomes = failing.upload(*contents)
    text = "cannot store: index: database or disk is full"
    assert outcomes == [Outcome(hash_of(c), error=text) for c in contents]


def test_fault_of_one(open_store) -> None:
    """An object that cannot be written does not spoil the others of its group."""
    open_store()
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    outcomes = open_store(Faults(2, error)).upload(*FEW)
    assert outcomes[1] == Outcome(
        hash_of(FEW[1]), error="cannot store: No space left on device"
    )
    assert [outcome.added for outcome in outcomes] == [True, False, True]


def test_broken_index(opened, monkeypatch) -> None:
    """An index that answers nothing makes errors, not exceptions."""

    def fail(*_):
        raise StoreError("index: disk I/O error")

    monkeypatch.setattr(opened.index._file, "query", fail)
    monkeypatch.setattr(opened.index._file, "transaction", fail)
    outcomes = opened.upload(*FEW, expected=True)
    assert [outcome.error for outcome in outcomes] == [
        "cannot store: index: disk I/O error"
    ] * 3


def test_directories_of_others(open_store) -> None:
    """A directory that somebody else made but did not sync is no trap.

    The other one died, or is just about to sync.
    """
    open_store()
    faults = Faults()
    opened = open_store(faults)
    path = opened.store.path(hash_of(FEW[0]))
    opened.store.disk.make_directory(path.parent.parent, 0o700)
    opened.store.disk.make_directory(path.parent, 0o700)
    assert opened.upload(FEW[0])[0].added
    opened.store.disk.lose_power()
    assert path.read_bytes() == FEW[0]


def fill_and_age(opened, count):
    """Upload objects and let their leases end; their contents, the oldest first."""
    contents = [b"object number %d" % n for n in range(count)]
    for content in contents:
        opened.now_ns += 1
        opened.upload(content)
    opened.end_leases()
    return contents


@pytest.mark.parametrize("power", [False, True])
def test_crash_in_a_collection(open_store, monkeypatch, power) -> None:
    """Whenever a collection dies, the next process finds what it may not lose.

    What the index knows is there, objects with leases are, and what is left over of
    the others is found again.
    """
    monkeypatch.setattr(collection_module, "_FORGOTTEN_AT_ONCE", 2)
    leased = b"leased"
    for number in count():
        opened = open_store()
        contents = fill_and_age(opened, 5)
        opened.upload(leased)
        now_ns = opened.now_ns
        opened.index.close()
        faults = Faults(number)
        dying = open_store(faults)
        dying.now_ns = now_ns
        finished = False
        try:
            dying.collection().delete(80, 0)
            finished = True
        except Crash:
            pass
        if power:
            dying.store.disk.lose_power()
        dying.store.disk.close()
        dying.index.close()
        again = open_store()
        for hash_, size in again.index.objects_after(b"", 99).items():
            assert again.store.is_stored(hash_, size)
        reconciliation = Reconciliation(again.store, time.time() + 1000)
        for piece in range(Reconciliation.PIECES):
            reconciliation.run_piece(piece)
        files = set(again.files().values())
        assert files >= {leased, contents[-1]}
        assert len(again.index.objects_after(b"", 99)) == len(files)
        if finished and not power:
            assert files == {leased, contents[-1]}
        again.now_ns = now_ns + 10 * LEASE_NS
        again.collection().delete(100, 0)
        assert again.files() == {}
        again.index.close()
        if finished:
            break
    assert number > 5


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
def test_fault_in_a_collection(open_store, monkeypatch, number, lasting) -> None:
    """What cannot be removed stays known, as old as it was; the rest goes.

    When it can be removed again, it is, without a restart.
    """
    monkeypatch.setattr(collection_module, "_FORGOTTEN_AT_ONCE", 2)
    error = OSError(number, os.strerror(number))
    for at in count():
        opened = open_store()
        contents = fill_and_age(opened, 5)
        faults = Faults(at, error, lasting)
        disk = FaultyDisk(faults, opened.store.directory.parent / "backups")
        monkeypatch.setattr(opened.store, "disk", disk)
        collected = opened.collection().delete(100, 0)
        disk.close()
        kept = {hash_of(content) for content in opened.files().values()}
        assert opened.index.objects_after(b"", 99).keys() == kept
        assert collected.objects == 5 - len(kept)
        assert len(kept) == (5 - at if lasting else at < 5)
        faults.fail_at = None
        oldest_first = [hash_of(c) for c in contents if hash_of(c) in kept]
        found = opened.index.collectable_objects(opened.now_ns, 99)
        assert [each.hash_ for each in found] == oldest_first
        opened.collection().delete(100, 0)
        assert opened.files() == {}
        opened.index.close()
        if not kept:
            break


def test_index_fault_in_a_collection(open_store) -> None:
    """If the index fails, no file is removed."""
    opened = open_store()
    contents = fill_and_age(opened, 3)
    now_ns = opened.now_ns
    failing = open_store(Faults(0, StoreError("index: database or disk is full")))
    failing.now_ns = now_ns
    with pytest.raises(StoreError, match="full"):
        failing.collection().delete(100, 0)
    assert set(opened.files().values()) == set(contents)
    assert len(opened.index.objects_after(b"", 9)) == 3


@pytest.mark.parametrize("power", [False, True])
def test_crash_in_a_scrub(open_store, power) -> None:
    """Whenever a scrub dies, damaged objects are put aside by the next, good ones stay.

    A damaged object is in quarantine or in its place, never lost, and never known
    without being there.
    """
    good, bad = b"good", b"bad object"
    for number in count():
        opened = open_store()
        opened.upload(good, bad)
        path = opened.store.path(hash_of(bad))
        path.write_bytes(b"BAD object")
        aside = opened.store.directory / ".quarantine" / hash_of(bad).hex()
        opened.index.close()
        faults = Faults(number)
        dying = open_store(faults)
        scrub = Scrub(dying.store, dying.store.index, lambda: NOW_NS, 1)
        finished = False
        try:
            scrub.run_piece(1 << 30)
            scrub.close()
            finished = True
        except Crash:
            pass
        if power:
            dying.store.disk.lose_power()
        dying.store.disk.close()
        dying.index.close()
        again = open_store()
        assert path.exists() != aside.exists()
        for piece in range(Reconciliation.PIECES):
            Reconciliation(again.store, time.time() + 1000).run_piece(piece)
        known = again.index.objects_after(b"", 9)
        assert known.keys() == {
            hash_of(good),
            *([hash_of(bad)] if path.exists() else []),
        }
        scrub = Scrub(again.store, again.index, lambda: NOW_NS, 0)
        scrub.resume()
        while scrub.current is not None or not aside.exists():
            scrub.run_piece(1 << 30)
        assert again.index.objects_after(b"", 9).keys() == {hash_of(good)}
        assert aside.read_bytes() == b"BAD object"
        assert again.upload(bad)[0].added
        for content in (good, bad):
            again.store.path(hash_of(content)).unlink()
        aside.unlink()
        again.index.forget_objects([hash_of(good), hash_of(bad)])
        again.index.close()
        if finished:
            break
    assert number > 5


@pytest.mark.parametrize("power", [False, True])
def test_delete_crash(open_store, power) -> None:
    """Whenever the process dies while it deletes, what is known is there."""
    hashes = [hash_of(content) for content in MANY]
    for number in count():
        stored = open_store()
        stored.upload(*MANY)
        stored.index.close()
        faults = Faults(number)
        dying = open_store(faults)
        try:
            dying.store.delete(hashes)
        except Crash:
            pass
        if power:
            dying.store.disk.lose_power()
        else:
            dying.store.disk.close()
        dying.index.close()
        again = open_store()
        sizes = again.index.object_sizes(hashes)
        assert all(again.store.is_stored(hash_, size) for hash_, size in sizes.items())
        for name, content in again.files().items():
            assert hash_of(content).hex() == name.replace("/", "")
        again.index.close()
        if len(faults.log) <= number:
            assert not sizes
            return


def test_delete_fault(open_store) -> None:
    """What cannot be removed is an error; it is found again when asked for."""
    open_store().upload(*FEW)
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    failing = open_store(Faults(1, error, lasting=True))
    with pytest.raises(OSError, match="Read-only"):
        failing.store.delete([hash_of(content) for content in FEW])
    assert open_store().store.sizes([hash_of(FEW[0])]) == {hash_of(FEW[0]): len(FEW[0])}
