"""What is found at start-up: images of ours and of others, damage, leftovers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import recorded

from imageserver import gob
from imageserver.disk import Disk
from imageserver.errors import ConfigError
from imageserver.gob import Time
from imageserver.images import files as files_module
from imageserver.images.loading import Loading
from imageserver.images.metadata import write_metadata
from imageserver.model.hash import hash_of
from imageserver.model.image import DirectoryMetadata, Image
from imageserver.testing import POWERFUL, make_image

A, B = b"first object", b"second"
VECTORS = Path(recorded.DIRECTORY) / "image"


@pytest.fixture
def readings(monkeypatch):
    """The names of the images whose files are read."""
    names = []
    read = files_module.read_image_file

    def read_image_file(name, path):
        names.append(name)
        return read(name, path)

    monkeypatch.setattr(files_module, "read_image_file", read_image_file)
    return names


def put_recorded(root, name="web"):
    """Put an image file there that the other implementation wrote."""
    shutil.copy(VECTORS / "image.bin", root / name)
    return root / name


def recorded_image():
    """The image that the other implementation wrote."""
    notation = json.loads((VECTORS / "image.json").read_text())
    return recorded.from_notation(notation, gob.Struct(Image))


def test_restart(open_stores, filled, readings) -> None:
    """A restart finds everything, and reads no image file."""
    stores = open_stores()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert stores.index.directories() == {".": "", "dir": "", "dir/sub": ""}
    assert readings == []
    assert stores.loading.progress.finished
    assert stores.counts() == stores.recount()


def test_lost_index(open_stores, filled, readings) -> None:
    """Without an index everything is read, and nothing is written."""
    (filled.root / ".index.sqlite3").unlink()
    inodes = {name: (filled.root / name).stat().st_ino for name in filled.files()}
    stores = open_stores()
    assert sorted(readings) == ["dir/sub/y", "dir/x"]
    assert stores.counts() == stores.recount() == {hash_of(A): 2, hash_of(B): 1}
    assert {n: (filled.root / n).stat().st_ino for n in filled.files()} == inodes
    assert stores.loading.progress.total == stores.loading.progress.done == 2


def test_recorded_image(open_stores, readings, tmp_path) -> None:
    """An image that the other implementation wrote is converted, once."""
    path = put_recorded(tmp_path / "images")
    objects = json.loads((VECTORS / "objects.json").read_text())
    for entry in objects:
        target = tmp_path / "objects" / entry["path_below_object_directory"]
        target.parent.mkdir(parents=True)
        target.write_bytes(bytes.fromhex(entry["hex"]))
    before = path.stat().st_ino
    stores = open_stores()
    assert path.stat().st_ino != before
    assert stores.stored("web") == recorded_image()
    sizes = stores.objects.sizes(bytes.fromhex(entry["sha512"]) for entry in objects)
    assert sorted(sizes.values()) == sorted(entry["size"] for entry in objects)
    assert stores.counts() == stores.recount()
    assert set(stores.counts()) <= set(sizes)
    record = stores.index.image("web")
    os.close(stores.images.files.open_image(record))
    stores.index.close()
    readings.clear()
    open_stores().index.close()
    assert readings == []
    (tmp_path / "images" / ".index.sqlite3").unlink()
    inode = path.stat().st_ino
    assert open_stores().index.image("web") == record
    assert path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("change", "is_rewritten"),
    [
        (lambda data: data[:-64], True),
        (lambda data: data + b"junk", True),
        (lambda data: data, False),
    ],
)
def test_accepted(open_stores, filled, change, is_rewritten) -> None:
    """A missing checksum and bytes behind it are put right."""
    path = filled.root / "dir/x"
    good = path.read_bytes()
    path.write_bytes(change(good))
    inode = path.stat().st_ino
    stores = open_stores()
    assert path.read_bytes() == good
    assert (path.stat().st_ino != inode) == is_rewritten
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]


def test_changed_outside(open_stores, filled, readings) -> None:
    """An image that was replaced is found as it is now; references are right."""
    other = filled.root / "dir/sub/y"
    os.replace(other, filled.root / "dir/x")
    stores = open_stores()
    assert stores.index.image_names() == ["dir/x"]
    assert readings == ["dir/x"]
    assert stores.counts() == stores.recount() == {hash_of(A): 1, hash_of(B): 1}
    assert sorted(stores.index.directories()) == [".", "dir", "dir/sub"]


def test_removed_outside(open_stores, filled) -> None:
    """An image that is gone is forgotten; references are right."""
    (filled.root / "dir/x").unlink()
    stores = open_stores()
    assert stores.index.image_names() == ["dir/sub/y"]
    assert stores.counts() == stores.recount()


def test_emptied_outside(open_stores, filled) -> None:
    """An image that the other implementation deleted is gone, and its name taken."""
    (filled.root / "dir/x").write_bytes(b"")
    stores = open_stores()
    assert stores.index.image_names() == ["dir/sub/y"]
    assert (filled.root / "dir/x").exists()


def test_added_outside(open_stores, filled, readings) -> None:
    """A new image is read; the others are not."""
    put_recorded(filled.root, "dir/new")
    stores = open_stores()
    assert readings == ["dir/new"]
    assert stores.index.image_count() == 3
    assert stores.counts() == stores.recount()


def test_directories_changed_outside(open_stores, filled) -> None:
    """Directories that came, went or changed their group are known as they are."""
    (filled.root / "dir/sub/y").unlink()
    (filled.root / "dir/sub").rmdir()
    (filled.root / "new/er").mkdir(parents=True)
    write_metadata(Disk(), filled.root / "dir", DirectoryMetadata("staff"))
    stores = open_stores()
    assert stores.index.directories() == {
        ".": "",
        "dir": "staff",
        "new": "",
        "new/er": "",
    }


def test_left_over(open_stores, filled) -> None:
    """What a crash left is removed."""
    for name in ("x~", "dir/sub/y~", "dir/empty~", "dir/.metadata~"):
        (filled.root / name).write_bytes(b"" if "empty" in name else b"x")
    (filled.root / ".new").mkdir()
    (filled.root / ".new/.metadata~").write_bytes(b"x")
    (filled.root / ".new/.metadata").write_bytes(b"x")
    stores = open_stores()
    assert stores.files() == {"dir", "dir/x", "dir/sub", "dir/sub/y"}


def test_left_alone(open_stores, filled) -> None:
    """Hidden, strange and badly named files are no images, and stay."""
    root = filled.root
    (root / "dir/.hidden").write_bytes(b"x")
    (root / ".secret").write_bytes(b"x")
    (root / ".dir").mkdir()
    (root / ".dir/x").write_bytes(b"x")
    (root / "dir/link").symlink_to("x")
    (root / "dirlink").symlink_to("dir")
    os.mkfifo(root / "dir/fifo")
    (root / os.fsdecode(b"dir/\xff")).write_bytes(b"x")
    (root / "dir/tombstone").touch()
    before = filled.files()
    stores = open_stores()
    assert stores.files() == before
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert sorted(stores.index.directories()) == [".", "dir", "dir/sub"]
    assert len(stores.images.quarantine.names()) == 0


def test_odd_names(open_stores, filled) -> None:
    """What others have stored under names that we refuse can be read, and deleted."""
    names = ["dir/new\nline", "d\x01r/x", "dir~/x", "x" * 254]
    for name in names:
        (filled.root / name).parent.mkdir(exist_ok=True)
        put_recorded(filled.root, name)
    stores = open_stores()
    assert set(names) <= set(stores.index.image_names())
    assert {"d\x01r", "dir~"} <= stores.index.directories().keys()
    for name in names:
        os.close(stores.images.open_stored(name).descriptor)
        stores.images.delete(name, POWERFUL)
        assert (stores.root / name).read_bytes() == b""
    assert stores.counts() == stores.recount()
    stores.images.remove_directory("d\x01r")
    assert not (stores.root / "d\x01r").exists()


def test_expired(open_stores, filled) -> None:
    """Images whose time came while nobody watched are removed."""
    image = make_image({"a": A}, expires_at=Time(1_000_000_000))
    (filled.root / "old").write_bytes(gob.Encoder().encode(image))
    stores = open_stores()
    assert stores.index.image_count() == 2
    assert not (filled.root / "old").exists()
    assert stores.counts() == stores.recount()


def test_missing_objects(open_stores, filled) -> None:
    """An image loads although objects are missing; they are wanted."""
    shutil.rmtree(filled.objects.directory)
    filled.objects.directory.mkdir()
    (filled.root / ".index.sqlite3").unlink()
    stores = open_stores()
    assert stores.index.image_count() == 2
    assert stores.counts() == stores.recount()
    assert stores.objects.sizes([hash_of(A)]) == {}


def test_stop(open_stores, filled) -> None:
    """Loading can be stopped; the next start goes on."""
    (filled.root / ".index.sqlite3").unlink()
    stores = open_stores(load=False)
    stores.loading.stop()
    stores.loading.run()
    assert not stores.loading.progress.finished
    stores.index.close()
    assert open_stores().index.image_count() == 2


def forbid(monkeypatch, directory):
    """Let a directory be one that nobody can read, not even root."""
    scandir = os.scandir

    def scan(path):
        if path == directory:
            raise PermissionError(13, os.strerror(13), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_unreadable_directory(open_stores, filled, monkeypatch) -> None:
    """A directory that cannot be read is left out, until it can be."""
    forbid(monkeypatch, filled.root / "dir/sub")
    stores = open_stores()
    assert stores.index.image_names() == ["dir/x"]
    assert sorted(stores.index.directories()) == [".", "dir"]
    assert stores.counts() == stores.recount()
    assert stores.images.left_out == {"dir/sub"}
    monkeypatch.undo()
    Loading(stores.images).run()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]


def test_unreadable_root(open_stores, filled, monkeypatch) -> None:
    """If that is the image directory, the daemon cannot start."""
    forbid(monkeypatch, filled.root)
    with pytest.raises(ConfigError, match="Permission denied"):
        open_stores()


def test_many_directories(open_stores, filled, monkeypatch) -> None:
    """New directories are recorded together, not one by one."""
    for number in range(100):
        (filled.root / f"new{number}").mkdir()
    stores = open_stores(load=False)
    changes = []
    record = stores.index.set_directories
    monkeypatch.setattr(
        stores.index, "set_directories", lambda all_: changes.append(record(all_))
    )
    stores.loading.run()
    Loading(stores.images).run()
    assert len(changes) == 1
    assert len(stores.index.directories()) == 103


def test_no_directory(open_stores, filled) -> None:
    """Without the image directory the daemon cannot start."""
    stores = open_stores()
    shutil.rmtree(stores.root)
    with pytest.raises(ConfigError, match="No such file"):
        Loading(stores.images).run()


def test_one_by_one(open_stores, filled) -> None:
    """Images are known as soon as they are read; what is known is there at once."""
    for path in filled.root.glob(".index*"):
        path.unlink()
    stores = open_stores(load=False)
    loading = stores.loading
    loading.begin()
    assert list(loading.pending) == ["dir/sub/y", "dir/x"]
    assert set(stores.index.directories()) == {".", "dir", "dir/sub"}
    loading.load("dir/x")
    loading.load("dir/x")
    loading.load("dir/none")
    assert stores.index.image_names() == ["dir/x"]
    assert list(loading.pending) == ["dir/sub/y"]
    loading.finish()
    assert not loading.progress.finished
    assert loading.obstacle() == "the images are being loaded"
    loading.load("dir/sub/y")
    loading.finish()
    assert loading.progress.finished
    assert (loading.progress.done, loading.progress.total) == (2, 2)
    assert stores.counts() == stores.recount()
    stores.index.close()
    again = open_stores(load=False)
    again.loading.begin()
    assert not again.loading.pending
