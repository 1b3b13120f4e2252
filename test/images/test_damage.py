"""What is damaged is put aside at start-up, and the rest is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import recorded

from imageserver import gob
from imageserver.errors import StoreError
from imageserver.gob import Time
from imageserver.images import files as files_module
from imageserver.images.loading import Loading
from imageserver.model.hash import hash_of
from imageserver.model.image import DirectoryMetadata, Image
from imageserver.testing import make_image

A, B = b"first object", b"second"
VECTORS = Path(recorded.DIRECTORY) / "image"


def put_recorded(root, name="web"):
    """Put an image file there that the other implementation wrote."""
    shutil.copy(VECTORS / "image.bin", root / name)
    return root / name


def recorded_image():
    """The image that the other implementation wrote."""
    notation = json.loads((VECTORS / "image.json").read_text())
    return recorded.from_notation(notation, gob.Struct(Image))


def damaged_images():
    """Contents of files that are no good images, and what is wrong."""
    good = (VECTORS / "image.bin").read_bytes()
    yield "garbage", b"garbage"
    yield "one byte", b"\x00"
    yield "truncated", good[: len(good) // 2]
    yield "short checksum", good[:-1]
    yield "wrong checksum", good[:-1] + bytes([good[-1] ^ 1])
    yield "flipped", good[:500] + bytes([good[500] ^ 0x20]) + good[501:]
    yield "another type", gob.Encoder().encode(DirectoryMetadata("staff")) + bytes(64)
    yield "no file system", gob.Encoder().encode(Image(created_by="x"))
    odd_time = bytearray(
        gob.Encoder().encode(make_image({}, created_on=Time(0, 0, 60 + 61)))
    )
    position = odd_time.index(b"\x00\x02\x01", 300)
    odd_time[position : position + 3] = b"\xff\xfe\x3c"
    yield "impossible time", bytes(odd_time)


@pytest.mark.parametrize(
    "data", [data for _, data in damaged_images()], ids=[n for n, _ in damaged_images()]
)
@pytest.mark.parametrize("name", ["bad", "dir/" + "b" * 254])
def test_damaged(open_stores, filled, data, name) -> None:
    """A damaged image is put aside; the others are there."""
    (filled.root / name).write_bytes(data)
    stores = open_stores()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert not (filled.root / name).exists()
    (aside,) = (filled.root / ".quarantine").iterdir()
    assert aside.read_bytes() == data
    assert len(stores.images.quarantine.names()) == 1
    stores.index.close()
    assert len(open_stores().images.quarantine.names()) == 1


def test_damaged_tree(open_stores, filled) -> None:
    """An image whose tree contradicts itself is damaged."""
    image = recorded_image()
    root = gob.evolve(
        image.file_system.root, entries=image.file_system.root.entries * 2
    )
    image = gob.evolve(image, file_system=gob.evolve(image.file_system, root=root))
    (filled.root / "bad").write_bytes(gob.Encoder().encode(image))
    stores = open_stores()
    assert stores.index.image_count() == 2
    assert len(stores.images.quarantine.names()) == 1


@pytest.mark.parametrize("directory", [".", "dir/sub"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"\x03\x02\x00\x00", bytes(200)])
def test_damaged_metadata(open_stores, filled, directory, data) -> None:
    """Damaged metadata is put aside: the directory has no owner group."""
    (filled.root / directory / ".metadata").write_bytes(data)
    stores = open_stores()
    assert stores.index.directories() == {".": "", "dir": "", "dir/sub": ""}
    assert stores.index.image_count() == 2
    assert len(stores.images.quarantine.names()) == 1
    assert not (filled.root / directory / ".metadata").exists()


def test_recorded_metadata(open_stores, filled) -> None:
    """Metadata that the other implementation wrote is read, also with old bytes."""
    data = (VECTORS / "directory-metadata.bin").read_bytes()
    (filled.root / "dir/.metadata").write_bytes(data + b"left over")
    group = open_stores().index.directories()["dir"]
    assert group
    assert group.encode() in data


def test_owner_group_is_not_text(open_stores, filled) -> None:
    """Metadata with an owner group that nobody can have is damaged."""
    data = gob.Encoder().encode(DirectoryMetadata("gr\udcffoup"))
    path = filled.root / "dir/.metadata"
    path.write_bytes(data + hashlib.sha512(data).digest())
    stores = open_stores()
    assert stores.index.owner_group("dir") == ""
    assert len(stores.images.quarantine.names()) == 1
    assert not path.exists()


def make_socket(path):
    """Make a socket, which cannot be opened."""
    with socket.socket(socket.AF_UNIX) as listener:
        with socket_directory(path.parent):
            listener.bind(path.name)


@contextmanager
def socket_directory(path):
    """Work in a directory: names of sockets must be short."""
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("x"), make_socket],
    ids=["directory", "fifo", "link", "socket"],
)
def test_metadata_is_no_file(open_stores, filled, make) -> None:
    """Metadata that is no regular file is damaged; nobody waits for it."""
    path = filled.root / "dir/.metadata"
    make(path)
    stores = open_stores()
    assert stores.index.owner_group("dir") == ""
    assert stores.index.image_count() == 2
    assert len(stores.images.quarantine.names()) == 1
    assert not os.path.lexists(path)


def test_nothing_can_be_put_aside(open_stores, filled) -> None:
    """What cannot be put aside does not keep the daemon from starting."""
    (filled.root / "bad").write_bytes(b"garbage")
    (filled.root / ".quarantine").write_bytes(b"no directory")
    stores = open_stores()
    assert len(stores.images.quarantine.names()) == 0
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert (filled.root / "bad").read_bytes() == b"garbage"


def test_huge_image(open_stores, filled) -> None:
    """A file that is too large to be an image is not read, and stays."""
    path = filled.root / "huge.iso"
    path.touch()
    os.truncate(path, 1 << 41)
    stores = open_stores()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert len(stores.images.quarantine.names()) == 0
    assert path.stat().st_size == 1 << 41


def damage_page(path, table):
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        )
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET details = replace(details, '{', '#')",
        "UPDATE images SET details = '{}'",
        "UPDATE images SET details = CAST(X'7bff7d' AS TEXT) WHERE name = 'dir/x'",
        "UPDATE images SET name = X'ff' || name WHERE name = 'dir/x'",
        "UPDATE directories SET owner_group = X'ff' WHERE name = 'dir'",
        "DROP TABLE images",
        "DROP TABLE directories",
        "ALTER TABLE objects DROP COLUMN reference_count",
    ],
)
def test_damaged_index(open_stores, filled, change) -> None:
    """An index that holds nonsense is rebuilt when it is loaded."""
    with closing(sqlite3.connect(filled.index_path)) as connection:
        connection.execute(change)
        connection.commit()
    check_rebuilt(open_stores())


def check_rebuilt(stores):
    """Everything is there again, and stays."""
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert stores.index.directories() == {".": "", "dir": "", "dir/sub": ""}
    assert stores.counts() == stores.recount()
    assert set(stores.objects.sizes([hash_of(A)])) == {hash_of(A)}
    assert stores.loading.progress.finished
    assert stores.loading.progress.done == stores.loading.progress.total == 2
    assert not stores.index.rebuild_if_damaged()


@pytest.mark.parametrize("table", ["images", "directories", "objects"])
@pytest.mark.parametrize("is_open", [False, True])
def test_damaged_page(open_stores, filled, table, is_open) -> None:
    """So is one that is damaged before or after it was opened."""
    put_recorded(filled.root, "new")  # so that objects are recorded
    stores = open_stores(load=False)
    if not is_open:
        stores.index.close()
    damage_page(filled.index_path, table)
    if not is_open:
        stores = open_stores(load=False)
    stores.objects.open()
    stores.loading.run()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x", "new"]
    assert stores.counts() == stores.recount()


def test_index_fails(open_stores, filled, monkeypatch) -> None:
    """An index that is good but fails is not thrown away."""
    stores = open_stores(load=False)

    def fail():
        raise StoreError("index: database is locked")

    monkeypatch.setattr(stores.index, "images", fail)
    with pytest.raises(StoreError, match="locked"):
        stores.loading.run()
    monkeypatch.undo()
    assert stores.index.image_count() == 2


def test_unreadable_image(open_stores, filled, monkeypatch) -> None:
    """An image that cannot be read now is left out now, not put aside."""
    put_recorded(filled.root, "new")

    def fail(*_):
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(files_module, "read_image_file", fail)
    stores = open_stores()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert (filled.root / "new").exists()
    monkeypatch.undo()
    Loading(stores.images).run()
    assert stores.index.image_count() == 3


@pytest.mark.parametrize("kind", ["file", "not empty"])
def test_cannot_clean_up(open_stores, filled, kind) -> None:
    """What cannot be removed does not keep the daemon from starting."""
    unfinished = filled.root / ".new"
    if kind == "file":
        unfinished.write_bytes(b"x")
    else:
        unfinished.mkdir()
        (unfinished / "x").write_bytes(b"x")
    assert open_stores().index.image_count() == 2
    assert unfinished.exists()
