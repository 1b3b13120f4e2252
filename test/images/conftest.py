"""An image database on fresh directories, which can be opened again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import attrs
import pytest

from imageserver import gob
from imageserver.disk import Disk
from imageserver.images.admission import measure
from imageserver.images.canonical import read_image_file
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.objects.store import ObjectStore
from imageserver.testing import (
    POWERFUL,
    FaultyDisk,
    faulty,
    make_image,
    scanned,
)

A, B = b"first object", b"second"
NOW_NS = 1_700_000_000_000_000_000
INDEX_CHANGES = {
    "add_image",
    "replace_image",
    "remove_image",
    "add_directory",
    "remove_directory",
}


@attrs.define
class Opened:
    """The stores as one process has them."""

    index: SqliteIndex
    objects: ObjectStore
    images: ImageDatabase
    loading: Loading
    index_path: object
    now_ns: int = NOW_NS

    @property
    def root(self):
        """Where the images are."""
        return self.images.directory

    def put_objects(self, *contents):
        """Store objects."""
        for content in contents:
            path = self.objects.path(hash_of(content))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.index.add_objects({hash_of(c): len(c) for c in contents}, 0)

    def own(self, directory, group):
        """Give a directory to a group, as far as the index knows."""
        self.index.add_directory(directory, group)

    def add(self, name, image, caller):
        """Add an image, as the server receives it."""
        self.images.add(name, image and scanned(image), caller)

    def stored(self, name):
        """The image in a file."""
        return gob.decode((self.root / name).read_bytes(), Image).value

    def counts(self):
        """The references to objects, as the index has them."""
        with closing(sqlite3.connect(self.index_path)) as connection:
            return dict(
                connection.execute(
                    "SELECT hash, reference_count FROM objects"
                    " WHERE reference_count > 0"
                )
            )

    def recount(self):
        """The references to objects, counted in all images."""
        total = Counter()
        for name in self.index.image_names():
            image = read_image_file(name, self.root / name).image
            total += measure(image).references
        return dict(total)

    def files(self):
        """The names of all visible files and of those that are left over."""
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if not path.name.startswith(".index")
        }


@pytest.fixture
def open_stores(tmp_path):
    """A function that opens and loads the stores; with faults, on a faulty disk.

    On a faulty disk nothing is loaded: the index must have been left in order.
    """
    opened = []
    for name in ("objects", "images", "backups"):
        (tmp_path / name).mkdir()

    def open_stores(faults=None, load=True):
        root = tmp_path / "images"
        path = root / ".index.sqlite3"
        index = SqliteIndex(path, tmp_path / "objects", root)
        index.open()
        opened.append(index)
        disk, seen = Disk(), index
        if faults is not None:
            disk = FaultyDisk(faults, tmp_path / "backups")
            opened.append(disk)
            seen = faulty(index, faults, INDEX_CHANGES)
        objects = ObjectStore(tmp_path / "objects", index, Disk(), lambda: 0)
        images = ImageDatabase(root, seen, objects, disk, lambda: stores.now_ns)
        stores = Opened(index, objects, images, Loading(images), path)
        if load and faults is None:
            objects.open()
            stores.loading.run()
        return stores

    yield open_stores
    for thing in opened:
        thing.close()


@pytest.fixture
def stores(open_stores):
    """New stores."""
    return open_stores()


@pytest.fixture
def owned(open_stores):
    """Stores with some objects, a directory of staff and an image of joe."""
    stores = open_stores()
    stores.put_objects(A, B)
    stores.images.make_directory("dir", False, POWERFUL)
    stores.own("dir", "staff")
    image = make_image(
        {"a": A},
        created_by="joe",
        created_for="ann",
        owner_users=("bob", ""),
        owner_groups=("admins",),
    )
    stores.add("dir/x", image, POWERFUL)
    return stores


@pytest.fixture
def filled(open_stores):
    """Closed stores with two images."""
    stores = open_stores()
    stores.put_objects(A, B)
    stores.images.make_directory("dir/sub", True, POWERFUL)
    stores.add("dir/x", make_image({"a": A}), POWERFUL)
    stores.add("dir/sub/y", make_image({"a": A, "b": B}), POWERFUL)
    stores.index.close()
    return stores
