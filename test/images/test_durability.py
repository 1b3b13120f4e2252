"""Changes when something goes wrong: all or nothing, and the index in step."""

from __future__ import annotations

import errno
import os
import shutil
from itertools import count
from pathlib import Path

import pytest
import recorded

from imageserver.disk import Disk
from imageserver.errors import StoreError
from imageserver.gob import Time
from imageserver.images.archives import Archives
from imageserver.images.metadata import read_metadata, write_metadata
from imageserver.model.hash import hash_of
from imageserver.model.image import DirectoryMetadata
from imageserver.testing import POWERFUL, Crash, Faults, make_caller, make_image

A, B = b"first object", b"second"
IMAGE = Path(recorded.DIRECTORY) / "image" / "image.bin"
EXPIRED_NS = 1_700_000_100_000_000_000


def add(stores):
    """Add an image."""
    stores.add("dir/new", make_image({"a": A, "b": B}), POWERFUL)


def delete(stores):
    """Delete one."""
    stores.images.delete("dir/old", POWERFUL)


def expire(stores):
    """Let one expire."""
    stores.now_ns = EXPIRED_NS
    stores.images.expire()


def take_over(stores):
    """Convert one that somebody else wrote."""
    stores.images.files.take_over("dir/foreign")


def make_directory(stores):
    """Make a directory with an owner group."""
    stores.images.make_directory("dir/sub", False, POWERFUL)


def make_directory_without_group(stores):
    """Make one without."""
    stores.images.make_directory("top", False, POWERFUL)


def change_expiration(stores):
    """Let one expire later."""
    later = Time(1_700_000_090, 5)
    stores.images.change_expiration("dir/expiring", later, POWERFUL)


def make_permanent(stores):
    """Let one expire never."""
    stores.images.change_expiration("dir/expiring", Time.ZERO, POWERFUL)


def change_owner(stores):
    """Give a directory to another group."""
    stores.images.change_owner("dir", "games", make_caller("root", powers=True))


def give_up_owner(stores):
    """Give a directory to nobody."""
    stores.images.change_owner("dir", "", make_caller("root", powers=True))


def restore(stores):
    """Bring a deleted image back, over the file that keeps its name."""
    data = (stores.root / ".archive").read_bytes()
    Archives(stores.images).restore(data, Time.ZERO, POWERFUL)


def remove_directory(stores):
    """Remove a directory that has an owner and the name of a deleted image."""
    stores.images.remove_directory("gone")


CHANGES = [
    add,
    change_expiration,
    make_permanent,
    restore,
    change_owner,
    give_up_owner,
    remove_directory,
    delete,
    expire,
    take_over,
    make_directory,
    make_directory_without_group,
]


@pytest.fixture
def prepared(open_stores, tmp_path):
    """A function that puts the stores back into the state before the change."""
    stores = open_stores()
    stores.put_objects(A, B)
    stores.images.make_directory("dir", False, POWERFUL)
    write_metadata(Disk(), stores.root / "dir", DirectoryMetadata("staff"))
    stores.index.add_directory("dir", "staff")
    image = make_image({"a": A, "again": A})
    stores.add("dir/old", image, POWERFUL)
    image = make_image({"b": B}, expires_at=Time(1_700_000_050))
    stores.add("dir/expiring", image, POWERFUL)
    stores.images.make_directory("gone", False, POWERFUL)
    write_metadata(Disk(), stores.root / "gone", DirectoryMetadata("staff"))
    stores.index.add_directory("gone", "staff")
    stores.add("gone/x", make_image({}), POWERFUL)
    stores.images.delete("gone/x", POWERFUL)
    stores.add("dir/deleted", make_image({"a": A}), POWERFUL)
    archive = Archives(stores.images).make("dir/deleted")
    (stores.root / ".archive").write_bytes(archive)
    stores.images.delete("dir/deleted", POWERFUL)
    stores.index.close()
    shutil.copytree(tmp_path / "images", tmp_path / "saved")

    def prepare(change):
        shutil.rmtree(tmp_path / "images")
        shutil.copytree(tmp_path / "saved", tmp_path / "images")
        for path in (tmp_path / "images").glob(".index*"):
            path.unlink()
        open_stores().index.close()  # the copies are other files
        if change is take_over:
            shutil.copy(IMAGE, tmp_path / "images" / "dir/foreign")

    return prepare


def state(stores):
    """What is visible of the stores, to compare; checks that it is consistent."""
    assert stores.counts() == stores.recount()
    expirations = {
        record.name: record.expires_at_ns for record in stores.index.images()
    }
    for name, expires_at_ns in expirations.items():
        os.close(stores.images.open_stored(name).descriptor)
        stored_ns = stores.stored(name).expires_at.to_nanoseconds()
        assert stored_ns == expires_at_ns or expires_at_ns is None
    directories = stores.index.directories()
    for name, group in directories.items():
        assert read_metadata(name, stores.root / name).owner_group == group
    assert not any(name.endswith("~") for name in stores.files())
    assert not any((stores.root / name).exists() for name in (".new", ".removed"))
    tombstones = {n for n in stores.files() if (stores.root / n).stat().st_size == 0}
    return expirations, tombstones, directories


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_crash(open_stores, prepared, change, power) -> None:
    """Whenever the process dies, the next one finds the old state or the new one."""
    prepared(change)
    stores = open_stores(load=False)
    change(stores)
    new = state(stores)
    stores.index.close()
    prepared(None)
    stores = open_stores()
    old = state(stores)
    stores.index.close()
    seen = []
    for number in count():
        prepared(change)
        faults = Faults(number)
        dying = open_stores(faults)
        finished = False
        try:
            change(dying)
            finished = True
        except Crash:
            pass
        if power:
            dying.images.disk.lose_power()
        dying.images.disk.close()
        dying.index.close()
        again = open_stores()
        seen.append(state(again))
        again.index.close()
        assert seen[-1] in ([new] if finished or change is take_over else [old, new])
        if len(faults.log) <= number:
            break
    assert seen[0] == (new if change is take_over else old)
    assert seen[-1] == new


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("change", CHANGES)
def test_fault(open_stores, prepared, change, number, lasting) -> None:
    """Whatever fails, index and files stay in step, and the change can be repeated."""
    for at in count():
        prepared(change)
        faults = Faults(at, OSError(number, os.strerror(number)), lasting)
        failing = open_stores(faults)
        try:
            change(failing)
        except (StoreError, OSError):
            pass
        length = len(faults.log)
        faults.fail_at = None
        for name in failing.index.image_names():
            os.close(failing.images.open_stored(name).descriptor)
        assert failing.counts() == failing.recount()
        failing.images.disk.close()
        failing.index.close()
        again = open_stores()
        state(again)
        again.index.close()
        if length <= at:
            break


def test_failed_index(open_stores, prepared) -> None:
    """An image that cannot be recorded is not there, and can be added again."""
    prepared(None)
    log = Faults()
    stores = open_stores(log)
    add(stores)
    assert [step for step in log.log if step[0] == "add_image"] == [log.log[-1]]
    stores.images.disk.close()
    stores.index.close()
    prepared(None)
    error = StoreError("index: database or disk is full")
    failing = open_stores(Faults(len(log.log) - 1, error))
    with pytest.raises(StoreError, match=r"^index: database or disk is full$"):
        add(failing)
    assert not (failing.root / "dir/new").exists()
    failing.images.disk.close()
    failing.images.disk.faults.fail_at = None
    add(failing)
    assert failing.counts() == failing.recount()


def test_order_of_adding(open_stores, prepared) -> None:
    """An image is on disk, then has its name, then its directory is on disk."""
    prepared(None)
    faults = Faults()
    stores = open_stores(faults)
    add(stores)
    done = [step for step in faults.log if step[0] not in ("write", "remove")]
    assert done == [
        ("create", "new~"),
        ("flush", ""),
        ("link", "new"),
        ("sync", "dir"),
        ("add_image", ""),
    ]
    assert hash_of(A) in stores.counts()


def test_order_of_rewriting(open_stores, prepared) -> None:
    """The index knows that a file may be another one before it is."""
    prepared(None)
    faults = Faults()
    change_expiration(open_stores(faults))
    done = [step for step in faults.log if step[0] not in ("write", "remove")]
    assert done == [
        ("replace_image", ""),
        ("create", "expiring~"),
        ("flush", ""),
        ("rename", "expiring"),
        ("sync", "dir"),
        ("replace_image", ""),
    ]


def test_order_of_deleting(open_stores, prepared) -> None:
    """The index forgets an image before its file goes."""
    prepared(None)
    faults = Faults()
    delete(open_stores(faults))
    done = [step for step in faults.log if step[0] != "remove"]
    assert done == [
        ("remove_image", ""),
        ("create", "old~"),
        ("flush", ""),
        ("rename", "old"),
        ("sync", "dir"),
    ]
