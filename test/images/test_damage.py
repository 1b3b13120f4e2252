"""What is damaged is put aside at start-up, and the rest is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import recorded

from imageserver import gob
from imageserver.errors import ConfigError
from imageserver.gob import Time
from imageserver.images import files as files_module
from imageserver.images.loading import Loading
from imageserver.model.image import DirectoryMetadata, Image
from imageserver.testing import POWERFUL, make_image

A, B = b"first object", b"second"
VECTORS = Path(recorded.DIRECTORY) / "image"


@pytest.fixture
def filled(open_stores):
    """Closed stores with two images."""
    stores = open_stores()
    stores.put_objects(A, B)
    stores.images.make_directory("dir/sub", True, POWERFUL)
    stores.images.add("dir/x", make_image({"a": A}), POWERFUL)
    stores.images.add("dir/sub/y", make_image({"a": A, "b": B}), POWERFUL)
    stores.index.close()
    return stores


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
    assert stores.images.quarantined == 1
    stores.index.close()
    assert open_stores().images.quarantined == 1


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
    assert stores.images.quarantined == 1


@pytest.mark.parametrize("directory", [".", "dir/sub"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"\x03\x02\x00\x00", bytes(200)])
def test_damaged_metadata(open_stores, filled, directory, data) -> None:
    """Damaged metadata is put aside: the directory has no owner group."""
    (filled.root / directory / ".metadata").write_bytes(data)
    stores = open_stores()
    assert stores.index.directories() == {".": "", "dir": "", "dir/sub": ""}
    assert stores.index.image_count() == 2
    assert stores.images.quarantined == 1
    assert not (filled.root / directory / ".metadata").exists()


def test_recorded_metadata(open_stores, filled) -> None:
    """Metadata that the other implementation wrote is read, also with old bytes."""
    data = (VECTORS / "directory-metadata.bin").read_bytes()
    (filled.root / "dir/.metadata").write_bytes(data + b"left over")
    group = open_stores().index.directories()["dir"]
    assert group
    assert group.encode() in data


def test_metadata_is_a_directory(open_stores, filled) -> None:
    """Metadata that cannot be read gives no owner group."""
    (filled.root / "dir/.metadata").mkdir()
    stores = open_stores()
    assert stores.index.owner_group("dir") == ""
    assert stores.index.image_count() == 2


def test_nothing_can_be_put_aside(open_stores, filled) -> None:
    """What cannot be put aside does not keep the daemon from starting."""
    (filled.root / "bad").write_bytes(b"garbage")
    (filled.root / ".quarantine").write_bytes(b"no directory")
    with pytest.raises(ConfigError):  # so much must be in order
        open_stores()
    (filled.root / ".quarantine").unlink()
    stores = open_stores(load=False)

    def fail(*_):
        raise OSError(30, os.strerror(30))

    stores.images.disk.rename = fail
    stores.loading.run()
    assert sorted(stores.index.image_names()) == ["dir/sub/y", "dir/x"]
    assert (filled.root / "bad").read_bytes() == b"garbage"


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
