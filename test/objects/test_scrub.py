"""All objects are read again and again, and damaged ones are put aside."""

from __future__ import annotations

import errno
import os

import pytest

from imageserver.errors import CorruptObject, StoreError
from imageserver.model.hash import hash_of
from imageserver.objects.scrub import Scrub, ScrubPass

MIB = 1 << 20
OBJECT_BYTES = 64 << 10
WEEK_NS = 7 * 86_400 * 10**9
ALL = 1 << 40


def make_scrub(opened):
    """What reads the objects of a store, from where the last one came to."""
    scrub = Scrub(opened.store, opened.index, lambda: opened.now_ns, WEEK_NS)
    scrub.resume()
    return scrub


def fill(opened, count=5):
    """Upload small objects; their contents in the order of their hashes."""
    contents = sorted([b"object %d" % n for n in range(count)], key=hash_of)
    opened.upload(*contents)
    return contents


def aside(opened):
    """The names of objects in quarantine."""
    return set(opened.store.quarantine.names())


def flip(opened, content):
    """Change one bit of an object's file."""
    path = opened.store.path(hash_of(content))
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_good(opened) -> None:
    """Where nothing is damaged, a pass counts, and changes nothing."""
    contents = [*fill(opened), os.urandom(3 * MIB + 5)]
    opened.upload(contents[-1])
    before = opened.files()
    scrub = make_scrub(opened)
    assert scrub.due
    assert scrub.run_piece(ALL) == 3 * MIB + 5 + 5 * OBJECT_BYTES
    assert scrub.current is None
    assert scrub.last.objects == 6
    assert scrub.last.bytes_ == sum(map(len, contents))
    assert (scrub.last.damaged, scrub.last.unsteady, scrub.last.share) == (0, 0, 1)
    assert opened.files() == before
    assert opened.descriptors() == 0


def test_nothing(opened) -> None:
    """A pass over nothing is complete at once."""
    scrub = make_scrub(opened)
    assert scrub.run_piece(ALL) == 0
    assert scrub.last.objects == 0


def test_interval(opened) -> None:
    """The next pass begins an interval after the beginning of the last one."""
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    began_ns = opened.now_ns
    opened.now_ns = began_ns + WEEK_NS - 1
    assert not scrub.due
    opened.now_ns += 1
    assert scrub.due
    scrub.run_piece(ALL)
    assert scrub.last.began_ns == opened.now_ns


def damage_size(opened, content):
    """Cut a file off."""
    os.truncate(opened.store.path(hash_of(content)), 3)


def lengthen(opened, content):
    """Make it longer."""
    opened.store.path(hash_of(content)).write_bytes(content + b"!")


@pytest.mark.parametrize("damage", [flip, damage_size, lengthen])
def test_damaged(opened, damage) -> None:
    """A damaged object is put aside and not known; uploaded again, it is there."""
    contents = fill(opened)
    victim = contents[2]
    damage(opened, victim)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert scrub.last.damaged == 1
    assert aside(opened) == {hash_of(victim).hex()}
    assert opened.store.sizes(map(hash_of, contents)).keys() == {
        hash_of(c) for c in contents if c != victim
    }
    assert opened.upload(victim)[0].added
    opened.now_ns += WEEK_NS
    scrub.run_piece(ALL)
    assert scrub.last.damaged == 0
    assert opened.descriptors() == 0


def test_pieces(opened) -> None:
    """A pass goes in pieces of about the size that was asked for."""
    contents = fill(opened, 20)
    opened.upload(os.urandom(5 * MIB))
    flip(opened, contents[7])
    scrub = make_scrub(opened)
    shares = []
    while scrub.last is None:
        spent = scrub.run_piece(2 * OBJECT_BYTES)
        assert spent <= 3 * OBJECT_BYTES
        shares.append(scrub.current.share if scrub.current else 1)
    assert shares == sorted(shares)
    assert len(shares) > 40
    assert (scrub.last.objects, scrub.last.damaged) == (21, 1)


def test_resumed(opened, open_store) -> None:
    """The next process goes on where this one was, and knows the last pass."""
    fill(opened, 20)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    opened.now_ns += WEEK_NS
    scrub.run_piece(5 * OBJECT_BYTES)
    scrub.close()
    opened.index.close()
    again = open_store()
    again.now_ns = opened.now_ns + 5
    resumed = make_scrub(again)
    assert resumed.current == scrub.current
    assert resumed.last == scrub.last
    assert resumed.current.objects == 5
    resumed.run_piece(ALL)
    assert resumed.last.objects == 20
    assert resumed.last.began_ns == opened.now_ns


def test_resumed_in_an_object(opened) -> None:
    """An object that was being read is read from its beginning."""
    content = os.urandom(5 * MIB)
    opened.upload(content)
    flip(opened, content)
    scrub = make_scrub(opened)
    scrub.run_piece(2 * MIB)
    scrub.close()
    assert opened.descriptors() == 0
    resumed = make_scrub(opened)
    resumed.run_piece(ALL)
    assert resumed.last.damaged == 1


def test_saved_now_and_then(opened) -> None:
    """A process that dies loses no more than half a minute of a pass."""
    fill(opened, 5)
    scrub = make_scrub(opened)
    scrub.run_piece(2 * OBJECT_BYTES)
    opened.now_ns += 29_999_999_999
    scrub.run_piece(OBJECT_BYTES)
    assert make_scrub(opened).current.objects == 2
    opened.now_ns += 1
    scrub.run_piece(OBJECT_BYTES)
    assert make_scrub(opened).current.objects == 4


@pytest.mark.parametrize(
    "note",
    [
        *("", "x", "5", "[]", "[1, 2]", "[{}, null]", '[{"began_ns": 1}]'),
        '[{"began_ns": 1, "position": "zz"}, null]',
    ],
)
def test_strange_note(opened, note) -> None:
    """If nobody knows how far the last process was, all is read."""
    fill(opened)
    opened.index.set_note("scrub", note)
    scrub = make_scrub(opened)
    assert (scrub.current, scrub.last) == (None, None)
    scrub.run_piece(ALL)
    assert scrub.last.objects == 5


def test_unsteady(opened, monkeypatch) -> None:
    """What reads wrong once and then right stays where it is, and is reported."""
    contents = fill(opened)
    wrong = iter([True])
    read = opened.store.disk.read

    def misread(*args):
        data = read(*args)
        return bytes(len(data)) if next(wrong, False) else data

    monkeypatch.setattr(opened.store.disk, "read", misread)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert (scrub.last.damaged, scrub.last.unsteady) == (0, 1)
    assert opened.store.sizes(map(hash_of, contents)).keys() == set(
        map(hash_of, contents)
    )


@pytest.mark.parametrize(("times", "damaged"), [(1, 0), (2, 1)])
def test_read_error(opened, monkeypatch, times, damaged) -> None:
    """What cannot be read twice is damaged; once is not enough."""
    fill(opened)
    fails = iter([True] * times)
    read = opened.store.disk.read

    def fail(*args):
        if next(fails, False):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(*args)

    monkeypatch.setattr(opened.store.disk, "read", fail)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert (scrub.last.damaged, len(aside(opened))) == (damaged, damaged)
    assert scrub.last.unsteady == 1 - damaged


def test_everything_is_damaged(opened) -> None:
    """If that many are damaged in a row, it is not the objects: it gives up."""
    contents = fill(opened, 60)
    for content in contents[10:]:
        flip(opened, content)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert scrub.halted
    assert not scrub.due
    assert scrub.last is None
    assert len(aside(opened)) == 20


def test_some_are_damaged(opened) -> None:
    """Many damaged ones with good ones in between do not end a pass."""
    contents = fill(opened, 60)
    for content in contents[::2]:
        flip(opened, content)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert scrub.last.damaged == 30


def test_cannot_put_aside(opened) -> None:
    """A damaged object that cannot be moved is reported, and the pass goes on."""
    contents = fill(opened)
    flip(opened, contents[0])
    (opened.store.directory / ".quarantine").touch()
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert (scrub.last.objects, scrub.last.damaged) == (5, 1)
    assert len(opened.index.objects_after(b"", 9)) == 5


def test_repaired_meanwhile(opened, monkeypatch) -> None:
    """A good file that comes in place of the damaged one is not put aside."""
    (content,) = fill(opened, 1)
    flip(opened, content)
    read = opened.store.disk.read

    def repair(*args):
        data = read(*args)
        opened.store.path(hash_of(content)).unlink(missing_ok=True)
        assert opened.upload(content)[0].error == ""
        return data

    monkeypatch.setattr(opened.store.disk, "read", repair)
    scrub = make_scrub(opened)
    scrub.run_piece(ALL)
    assert scrub.last.damaged == 0
    assert aside(opened) == set()
    assert opened.store.is_stored(hash_of(content), len(content))


def test_gone_meanwhile(opened) -> None:
    """An object that is collected during a pass is no damage."""
    contents = fill(opened, 3)
    scrub = make_scrub(opened)
    scrub.run_piece(OBJECT_BYTES)
    opened.store.path(hash_of(contents[1])).unlink()
    scrub.run_piece(ALL)
    assert (scrub.last.objects, scrub.last.damaged) == (2, 0)
    assert len(opened.index.objects_after(b"", 9)) == 2


def test_out_of_means(opened, monkeypatch) -> None:
    """That no further file can be opened is no damage of any object."""
    fill(opened, 3)
    scrub = make_scrub(opened)
    open_object = opened.store.open_object

    def fail(hash_, _):
        cause = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        raise CorruptObject(hash_, "too many open files") from cause

    monkeypatch.setattr(opened.store, "open_object", fail)
    with pytest.raises(StoreError, match="cannot read objects"):
        scrub.run_piece(ALL)
    monkeypatch.setattr(opened.store, "open_object", open_object)
    scrub.run_piece(ALL)
    assert scrub.last.damaged == 0


def test_share() -> None:
    """How far a pass is can be told from the hash that it is at."""
    for position, share in (("", 0), ("80" * 64, 0.5), ("ff" * 64, 1)):
        assert ScrubPass(1, position=position).share == pytest.approx(share, abs=0.01)
