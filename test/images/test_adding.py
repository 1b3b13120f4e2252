"""Images that are added: what is stored, and what is refused."""

from __future__ import annotations

import hashlib
import os
import stat
import threading

import pytest

from imageserver import gob
from imageserver.errors import (
    CorruptImage,
    ImageExists,
    RequestError,
)
from imageserver.gob import Time
from imageserver.images import canonical
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation
from imageserver.model.image_messages import GetImageResponse
from imageserver.testing import POWERFUL, make_image

A, B, LOG = b"first object", b"second", b"a build log"
FILES = {"etc/a": A, "etc/again": A, "b": B, "empty": b"", "link@": b"etc/a"}
NOW = Time.from_nanoseconds(1_700_000_000_000_000_000)


@pytest.fixture
def stores(open_stores):
    """Stores with some objects and a directory."""
    stores = open_stores()
    stores.put_objects(A, B, LOG)
    stores.images.make_directory("dir", False, POWERFUL)
    return stores


def add(stores, name="dir/x", image=None, caller=POWERFUL):
    """Add an image."""
    stores.add(name, image or make_image(FILES), caller)


def test_file(stores) -> None:
    """A file is the type definitions, one message with the image, and the SHA-512."""
    add(stores)
    data = (stores.root / "dir/x").read_bytes()
    add(stores, "y", make_image({}))
    other = (stores.root / "y").read_bytes()
    assert hashlib.sha512(data[:-64]).digest() == data[-64:]
    record = stores.index.image("dir/x")
    prefix = data[: record.value_offset]
    assert prefix[:-8] == other[: len(prefix) - 8]  # then comes the length
    assert record.value_offset + record.value_bytes + 64 == len(data)
    assert record.file_bytes == len(data)
    assert stat.S_IMODE((stores.root / "dir/x").stat().st_mode) == 0o644
    assert stores.files() == {"dir", "dir/x", "y"}


def test_totals(stores) -> None:
    """The stored image is the one that came, with totals that are right."""
    image = make_image(FILES, build_log=Annotation(hash_of(LOG)), tags={"k": "v"})
    wrong = gob.evolve(
        image,
        file_system=gob.evolve(
            image.file_system, regular_count=77, data_bytes=77, directory_count=77
        ),
    )
    add(stores, image=wrong)
    stored = stores.stored("dir/x")
    assert stored.file_system.regular_count == 4
    assert stored.file_system.data_bytes == 2 * len(A) + len(B)
    assert stored.file_system.directory_count == 2
    right = gob.evolve(
        stored,
        file_system=gob.evolve(
            stored.file_system, regular_count=0, data_bytes=0, directory_count=0
        ),
    )
    assert right == image
    record = stores.index.image("dir/x")
    assert record.file_count == 4
    assert record.data_bytes == 2 * len(A) + len(B)
    assert record.usage_bytes == 3 * 4096 + 4096 + 64
    assert record.tags == {"k": "v"}


def test_references(stores) -> None:
    """Every inode with content counts, and so do annotations."""
    notes = Annotation(hash_of(A))
    add(stores, image=make_image(FILES, release_notes=notes, build_log=notes))
    assert stores.counts() == {hash_of(A): 4, hash_of(B): 1} == stores.recount()


@pytest.mark.parametrize("expires", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_splicing(stores, expires, bare) -> None:
    """The response of GetImage is a constant head and the bytes of the file."""
    expires_at = Time(4_000_000_000) if expires else Time()
    add(stores, image=make_image(FILES, expires_at=expires_at))
    record = stores.index.image("dir/x")
    data = (stores.root / "dir/x").read_bytes()
    value = data[record.value_offset : record.value_offset + record.value_bytes]
    if bare:
        value = value[: record.file_system_offset] + canonical.VALUE_END
    end = canonical.response_end()
    response = canonical.response_head(len(value), end) + value + end
    decoded = gob.decode(response, GetImageResponse)
    assert decoded.end == len(response)
    image = stores.stored("dir/x")
    if bare:
        image = gob.evolve(image, file_system=None)
    assert decoded.value == GetImageResponse(image=image)


def test_open_image(stores) -> None:
    """An image's file is opened only if it is the one that was indexed."""
    add(stores)
    record = stores.index.image("dir/x")
    os.close(stores.images.files.open_image(record))
    path = stores.root / "dir/x"
    content = path.read_bytes()
    before = len(os.listdir("/proc/self/fd"))
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(CorruptImage, match="changed by somebody else"):
        stores.images.files.open_image(record)
    path.unlink()
    with pytest.raises(CorruptImage, match="No such file"):
        stores.images.files.open_image(record)
    path.symlink_to("/etc/passwd")
    with pytest.raises(CorruptImage):
        stores.images.files.open_image(record)
    assert len(os.listdir("/proc/self/fd")) == before


def test_twice(stores) -> None:
    """An image cannot be added twice."""
    add(stores)
    with pytest.raises(ImageExists, match=r"^image already exists$"):
        add(stores)
    assert stores.counts() == stores.recount()


def test_tombstone(stores) -> None:
    """The name of a deleted image cannot be used again."""
    add(stores)
    stores.images.delete("dir/x", POWERFUL)
    with pytest.raises(
        RequestError, match=r"^cannot add previously deleted image: dir/x$"
    ):
        add(stores)
    assert stores.files() == {"dir", "dir/x"}
    assert (stores.root / "dir/x").read_bytes() == b""
    assert stores.counts() == {}


def test_name_of_directory(stores) -> None:
    """A directory's name is taken, too."""
    with pytest.raises(
        RequestError, match=r"^cannot add previously deleted image: dir$"
    ):
        add(stores, "dir")
    assert stores.files() == {"dir"}


def test_busy(stores, monkeypatch) -> None:
    """While an image is written, nobody else can write it."""
    wrote = threading.Event()
    go_on = threading.Event()
    write_file = stores.images.disk.write_file

    def write_slowly(*args):
        wrote.set()
        go_on.wait(10)
        write_file(*args)

    monkeypatch.setattr(stores.images.disk, "write_file", write_slowly)
    thread = threading.Thread(target=add, args=(stores,))
    thread.start()
    wrote.wait(10)
    with pytest.raises(RequestError, match=r"^image: dir/x already being written$"):
        add(stores)
    go_on.set()
    thread.join()
    assert stores.index.image_names() == ["dir/x"]
