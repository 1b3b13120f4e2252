"""An index on a fresh directory, which can be opened again."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import attrs
import pytest
from twisted.logger import globalLogPublisher

from imageserver.index.base import ImageRecord
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.model.names import directory_of


@pytest.fixture
def open_index(tmp_path):
    """A function that opens the index of two directories; closed in the end."""
    opened = []

    def open_index(objects="objects", images="images"):
        for name in (objects, images):
            (tmp_path / name).mkdir(exist_ok=True)
        index = SqliteIndex(tmp_path / "index", tmp_path / objects, tmp_path / images)
        opened.append(index)
        index.open()
        return index

    yield open_index
    for index in opened:
        index.close()


@pytest.fixture
def index(open_index):
    """A new index."""
    return open_index()


@pytest.fixture
def record():
    """A function that makes a record with given attributes."""

    def record(name, **attributes):
        known = ImageRecord(
            name=name,
            directory=directory_of(name),
            created_on_ns=100,
            expires_at_ns=None,
            created_by="joe",
            created_for="",
            build_branch="main",
            build_commit_id="12ab",
            owner_users=("ann", "bob"),
            owner_groups=("staff",),
            tags={"k": "v", "ä": "\n"},
            file_count=3,
            data_bytes=1 << 63,
            usage_bytes=1 << 64,
            value_offset=10,
            value_bytes=20,
            file_system_offset=15,
            file_bytes=94,
            file_mtime_ns=1_700_000_000_123_456_789,
            file_inode=(1 << 64) - 1,
        )
        return attrs.evolve(known, **attributes)

    return record


@pytest.fixture
def counts(tmp_path):
    """A function that gives the reference counts, straight from the file."""

    def counts():
        with closing(sqlite3.connect(tmp_path / "index")) as connection:
            return dict(connection.execute("SELECT hash, reference_count FROM objects"))

    return counts


@pytest.fixture
def warnings():
    """The formats of what is logged."""
    events = []

    def observe(event):
        events.append(event.get("log_format"))

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def filled(open_index, record):
    """A closed index with an object, an image and a directory."""
    index = open_index()
    index.add_objects({hash_of(bytes([n])): 9 for n in range(200)}, 5)
    index.add_objects({hash_of(b"a"): 1}, 5)
    index.add_directory("dir", "staff")
    index.add_image(record("dir/x"), {hash_of(b"a"): 1})
    index.add_image(record("dir/a"), {hash_of(b"a"): 1})
    index.close()
