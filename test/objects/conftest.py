"""An object store on a fresh directory, which can be opened again."""

from __future__ import annotations

import os
from contextlib import suppress

import attrs
import pytest

from imageserver.disk import Disk
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.intake import Intake
from imageserver.objects.leases import LEASE_NS
from imageserver.objects.store import ObjectStore
from imageserver.testing import FaultyDisk, faulty

INDEX_CHANGES = {"add_objects", "forget_objects", "forget_collectable", "set_note"}
NOW_NS = 1_700_000_000_000_000_000


@attrs.define
class Opened:
    """A store and its index, as one process has them."""

    index: SqliteIndex
    store: ObjectStore
    now_ns: int = NOW_NS

    def upload(self, *contents, expected=False):
        """Upload objects in one group; their outcomes."""
        intake = Intake(self.store)
        for content in contents:
            intake.begin(len(content), hash_of(content) if expected else None)
            intake.write(content)
        outcomes = intake.commit()
        intake.abandon()
        return outcomes

    def collection(self, limits=None, **options):
        """What collects its objects, with nothing in the way."""
        obstacle = options.pop("obstacle", lambda: "")
        limits = limits or CleanupLimits()
        return Collection(self.store, self.store.index, limits, obstacle, **options)

    def end_leases(self):
        """Let time pass until no lease of before holds any more."""
        self.now_ns += LEASE_NS

    def descriptors(self):
        """How many files below the directory are open."""
        count = 0
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{number}")
                count += target.startswith(str(self.store.directory))
        return count

    def files(self):
        """The contents of all files below the directory, by relative path."""
        root = self.store.directory
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def open_store(tmp_path):
    """A function that opens the store; with faults, on a faulty disk."""
    opened = []
    root = tmp_path / "objects"
    root.mkdir()
    (tmp_path / "backups").mkdir()

    def open_store(faults=None):
        index = SqliteIndex(tmp_path / "index", root, tmp_path)
        index.open()
        opened.append(index)
        disk, seen = Disk(), index
        if faults is not None:
            disk = FaultyDisk(faults, tmp_path / "backups")
            opened.append(disk)
            seen = faulty(index, faults, INDEX_CHANGES)
        store = ObjectStore(root, seen, disk, lambda: process.now_ns)
        process = Opened(index, store)
        if faults is None:
            store.open()
        return process

    yield open_store
    for thing in opened:
        thing.close()


@pytest.fixture
def opened(open_store):
    """A new store."""
    return open_store()
