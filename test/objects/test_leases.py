"""What is uploaded is kept until its image comes, whatever happens meanwhile."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from itertools import count

import pytest

from imageserver.errors import StoreError
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.intake import Intake
from imageserver.objects.leases import LEASE_NS
from imageserver.objects.reconciliation import Reconciliation
from imageserver.testing import Meanwhile, interleaved

A, B, C = b"first object", b"second", b"third one"
SHORT_NS = LEASE_NS - 1
ALL = (100, 0)


def collect(opened):
    """Collect everything that can be collected; what is left."""
    opened.collection().delete(*ALL)
    return set(opened.files().values())


@pytest.mark.parametrize("content", [A, B])
def test_uploads_are_leased(opened, content) -> None:
    """An upload is kept for the time of a lease, also if it is a duplicate."""
    opened.upload(A)
    opened.end_leases()
    opened.upload(content)
    opened.now_ns += SHORT_NS
    assert collect(opened) == {content}
    opened.now_ns += 1
    assert collect(opened) == set()


def test_leases_survive_a_restart(opened, open_store) -> None:
    """A lease holds for the next process, too."""
    opened.upload(A)
    opened.index.close()
    again = open_store()
    again.now_ns += SHORT_NS
    assert collect(again) == {A}
    again.now_ns += 1
    assert collect(again) == set()


def test_leases_survive_the_index(opened, open_store, tmp_path) -> None:
    """When the index is lost, all objects are taken for new uploads."""
    opened.upload(A)
    opened.index.close()
    (tmp_path / "index").unlink()
    again = open_store()
    again.end_leases()
    reconciliation = Reconciliation(again.store, time.time() + 1000)
    for number in range(Reconciliation.PIECES):
        reconciliation.run_piece(number)
    again.now_ns += SHORT_NS
    assert collect(again) == {A}
    again.now_ns += 1
    assert collect(again) == set()


def test_strangers_are_leased(opened) -> None:
    """What another program put there is kept, from when it was found."""
    path = opened.store.path(hash_of(A))
    path.parent.mkdir(parents=True)
    path.write_bytes(A)
    assert opened.store.sizes([hash_of(A)])
    opened.now_ns += SHORT_NS
    assert collect(opened) == {A}


def upload(opened, lease, *contents):
    """Upload objects on a connection."""
    intake = Intake(opened.store, lease)
    for content in contents:
        intake.begin(len(content), None)
        intake.write(content)
    assert not any(outcome.error for outcome in intake.commit())
    intake.abandon()


def test_renewal(opened) -> None:
    """While a connection lives, its leases are renewed; then they hold once more."""
    leases = opened.store.leases
    lease = leases.begin()
    opened.upload(C)
    upload(opened, lease, A)
    opened.now_ns += SHORT_NS
    leases.renew()
    upload(opened, lease, B)
    opened.now_ns += SHORT_NS
    assert collect(opened) == {A, B}
    lease.end()
    opened.now_ns += SHORT_NS
    leases.renew()
    assert collect(opened) == {A, B}
    opened.now_ns += 1
    assert collect(opened) == set()


def test_many_renewals(opened, monkeypatch) -> None:
    """Leases are renewed some at a time, each of them."""
    monkeypatch.setattr("imageserver.objects.leases._AT_ONCE", 3)
    contents = {b"%d" % n for n in range(10)}
    lease = opened.store.leases.begin()
    upload(opened, lease, *contents)
    assert [len(some) for some in lease.prefixes()] == [3, 3, 3, 1]
    opened.now_ns += SHORT_NS
    opened.store.leases.renew()
    opened.now_ns += SHORT_NS
    assert collect(opened) == contents


def test_too_many(opened, monkeypatch) -> None:
    """A connection that uploads without end takes no more than so much memory."""
    monkeypatch.setattr("imageserver.objects.leases._MOST", 4)
    lease = opened.store.leases.begin()
    hashes = [bytes([n]) * 64 for n in range(5)]
    lease.keep(hashes)
    assert [*lease.prefixes()] == [{hash_[:8] for hash_ in hashes[2:]}]


def test_renewal_fails(opened, monkeypatch) -> None:
    """A renewal that fails spoils neither the others nor the next one."""
    leases = opened.store.leases
    for content in (A, B):
        upload(opened, leases.begin(), content)
    renew = opened.index.renew_leases
    failing = iter([True])

    def fail_once(*args):
        if next(failing, False):
            raise StoreError("index: disk I/O error")
        renew(*args)

    monkeypatch.setattr(opened.index, "renew_leases", fail_once)
    opened.now_ns += SHORT_NS
    leases.renew()
    assert len(opened.index.collectable_objects(opened.now_ns + 1, 9)) == 1
    leases.renew()
    assert opened.index.collectable_objects(opened.now_ns + SHORT_NS, 9) == []


def test_in_hand(opened) -> None:
    """What somebody has in hand is not collected, and no other object is spared."""
    opened.upload(A, B)
    opened.end_leases()
    with opened.store.leases.holding({hash_of(A)}), opened.store.leases.holding(set()):
        assert collect(opened) == {A}
    assert collect(opened) == set()


@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("state", ["unused", "file gone", "unknown", "cut off"])
def test_collected_meanwhile(opened, monkeypatch, state, expected) -> None:
    """An upload is safe from a collection at every step of it.

    That is so whether the object is there already, or the index is wrong about it.
    """
    store, disk, index = opened.store, opened.store.disk, opened.store.index
    for number in count():
        content = A + b"%d" % number
        if state != "unknown":
            opened.upload(content)
        if state == "file gone":
            store.path(hash_of(content)).unlink()
        if state == "cut off":
            os.truncate(store.path(hash_of(content)), 3)
        opened.end_leases()
        collection = opened.collection()
        meanwhile = Meanwhile(number, partial(collection.delete, *ALL))
        monkeypatch.setattr(store, "disk", interleaved(disk, meanwhile))
        monkeypatch.setattr(store, "index", interleaved(index, meanwhile))
        intake = Intake(store)
        intake.begin(len(content), hash_of(content) if expected else None)
        intake.write(content[:3])
        meanwhile.step()
        intake.write(content[3:])
        (outcome,) = intake.commit()
        intake.abandon()
        monkeypatch.setattr(store, "disk", disk)
        monkeypatch.setattr(store, "index", index)
        happened = meanwhile.finish()
        assert outcome.error == ""
        assert store.path(hash_of(content)).read_bytes() == content
        assert store.is_stored(hash_of(content), len(content))
        if not happened:
            assert number > 5
            break


def test_put_aside_meanwhile(opened) -> None:
    """A duplicate of an object that turns out to be damaged is not acknowledged."""
    opened.upload(A)
    intake = Intake(opened.store)
    for content in (A, B):
        intake.begin(len(content), hash_of(content))
        intake.write(content)
    seen = os.stat(opened.store.path(hash_of(A)))
    assert opened.store.put_aside(hash_of(A), seen, "flipped bit")
    first, second = intake.commit()
    assert first.error.startswith("cannot store: ")
    assert second.added
    assert opened.index.object_sizes([hash_of(A), hash_of(B)]) == {hash_of(B): len(B)}
    intake.begin(len(A), hash_of(A))
    intake.write(A)
    assert intake.commit()[0].added


def test_collected_while_found(opened, monkeypatch) -> None:
    """An object that is collected while somebody finds its file is not known then."""
    opened.upload(A)
    opened.end_leases()
    collection = opened.collection()
    known = opened.index.object_sizes
    monkeypatch.setattr(opened.index, "object_sizes", lambda _: {})
    sync_names = opened.store.sync_names

    def collect_first(paths):
        collection.delete(*ALL)
        with suppress(FileNotFoundError):
            sync_names(paths)

    monkeypatch.setattr(opened.store, "sync_names", collect_first)
    opened.store.sizes([hash_of(A)])
    assert opened.files() == {}
    assert known([hash_of(A)]) == {}


def test_collected_before_it_begins(opened) -> None:
    """What is expected is not collected, though it has not begun yet."""
    opened.upload(A)
    opened.end_leases()
    intake = Intake(opened.store)
    intake.expect([hash_of(A), hash_of(B)])
    opened.collection().delete(*ALL)
    intake.begin(len(A), hash_of(A))
    intake.write(A)
    [outcome] = intake.commit()
    assert (outcome.added, outcome.error) == (False, "")
    assert list(opened.files().values()) == [A]
    intake.abandon()
    opened.end_leases()
    opened.collection().delete(*ALL)
    assert opened.files() == {}


def send(opened, content, seen):
    """Upload an object, whose hash is known before."""
    seen.append(opened.upload(content, expected=True)[0].error == "")


def send_blindly(opened, content, seen):
    """Upload one whose hash comes out in the end."""
    seen.append(opened.upload(content)[0].error == "")


def rely_on(opened, content, seen):
    """Take an object in hand and look whether it is there, as AddImage does."""
    opened.store.leases.take({hash_of(content)})
    sizes = opened.store.sizes([hash_of(content)])
    seen.append(bool(sizes) and not opened.store.missing(sizes))


def ask_for(opened, content, seen):
    """Ask for an object, which is no promise that it stays."""
    opened.store.sizes([hash_of(content)])
    seen.append(None)


@pytest.mark.parametrize("use", [send, send_blindly, rely_on, ask_for])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_used_meanwhile(opened, monkeypatch, use, neighbours) -> None:
    """A collection spares what somebody uses at any step of it, once it is told to."""
    store, disk, index = opened.store, opened.store.disk, opened.index
    monkeypatch.setattr("imageserver.objects.collection._REMOVED_AT_ONCE", 1)
    outcomes = set()
    for number in count():
        contents = [b"%d %d" % (n, number) for n in range(neighbours + 1)]
        content = max(contents, key=hash_of)
        opened.upload(*contents)
        opened.end_leases()
        seen = []
        meanwhile = Meanwhile(number, partial(use, opened, content, seen))
        monkeypatch.setattr(store, "disk", interleaved(disk, meanwhile))
        watched = interleaved(index, meanwhile)
        collection = Collection(
            store, watched, CleanupLimits(), lambda: "", rest=lambda _: None
        )
        collection.delete(*ALL)
        monkeypatch.setattr(store, "disk", disk)
        happened = meanwhile.finish()
        path = store.path(hash_of(content))
        if happened:
            (used,) = seen
            assert used in (None, path.exists())
            outcomes.add(used)
        assert path.exists() == store.is_stored(hash_of(content), len(content))
        assert not any(
            store.path(hash_of(c)).exists() for c in contents if c != content
        )
        if not happened:
            break
    assert number > 8
    assert outcomes & {True, None}
