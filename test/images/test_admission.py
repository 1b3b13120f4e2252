"""Images that are refused."""

from __future__ import annotations

import os

import attrs
import pytest

from imageserver import gob
from imageserver.errors import (
    AccessDenied,
    InvalidImage,
    InvalidName,
    RequestError,
)
from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation, Image
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
)
from imageserver.model.triggers import Trigger, Triggers
from imageserver.testing import POWERFUL, make_image, scanned

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


def test_nothing(stores) -> None:
    """An image must be there, and have a file system."""
    with pytest.raises(InvalidImage, match=r"^nil image$"):
        stores.add("dir/x", None, POWERFUL)
    with pytest.raises(InvalidImage, match=r"^nil file-system$"):
        add(stores, image=Image())


def test_missing_objects(stores) -> None:
    """All objects must be there, those of annotations, too."""
    image = make_image({"a": A, "x": b"x"})
    text = f"^object: {hash_of(b'x').hex()} is not available$"
    with pytest.raises(InvalidImage, match=text):
        add(stores, image=image)
    with pytest.raises(InvalidImage, match=text):
        add(
            stores,
            image=make_image({"a": A}, release_notes=Annotation(hash_of(b"x"))),
        )
    image = make_image({"x": b"x", "y": b"y", "yy": b"y", "z": b"z"})
    with pytest.raises(InvalidImage, match=r"^3 objects are not available$"):
        add(stores, image=image)
    assert stores.files() == {"dir"}


def test_objects_that_went_away(stores) -> None:
    """An object whose file is gone is missing, whatever the index says."""
    os.unlink(stores.objects.path(hash_of(B)))
    text = f"^object: {hash_of(B).hex()} is not available$"
    with pytest.raises(InvalidImage, match=text):
        add(stores)


def tree(inodes=None, **entries):
    """An image whose root has entries that stand for inode numbers."""
    root = DirectoryInode(
        tuple(DirectoryEntry(name.encode(), number) for name, number in entries.items())
    )
    return Image(file_system=FileSystem(inodes, root=root))


def directory(*entries):
    """A directory with entries."""
    return DirectoryInode(tuple(DirectoryEntry(*entry) for entry in entries))


REGULAR = RegularInode(0o100644, size=len(A), hash_=hash_of(A))
COMPUTED = ComputedRegularInode(source="x:1")


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (tree(a=5), "no inode 5 for: /a"),
        (tree({2: directory((b"x", 9))}, d=2), "no inode 9 for: /d/x"),
        (tree({2: directory((b"x", 2))}, d=2), "directory reached twice: /d/x"),
        (tree({2: directory()}, a=2, b=2), "directory reached twice: /b"),
        (
            tree({2: directory((b"x", 3), (b"x", 3)), 3: REGULAR}, d=2),
            "duplicate entry: /d/x",
        ),
        (tree({2: directory((b"..", 3)), 3: REGULAR}, d=2), "malformed entry name"),
        (tree({2: directory((b"a/b", 3)), 3: REGULAR}, d=2), "malformed entry name"),
        (tree({2: directory((b"", 3)), 3: REGULAR}, d=2), "malformed entry name: /d/"),
        (
            tree({2: directory((b"c", 3), (b"e", 3)), 3: COMPUTED}, d=2),
            "duplicate computed inode: /d/e",
        ),
        (
            tree({2: gob.evolve(REGULAR, size=len(A) + 1)}, a=2),
            f"size {len(A) + 1} != {len(A)} of object: {hash_of(A).hex()}",
        ),
        (
            tree({2: REGULAR, 3: gob.evolve(REGULAR, size=1)}, a=2, b=3),
            "two sizes for object",
        ),
    ],
)
def test_bad_tree(stores, image, text) -> None:
    """A tree that contradicts itself is refused; the text says where."""
    with pytest.raises(InvalidImage) as caught:
        add(stores, image=image)
    assert str(caught.value).startswith(text)
    assert stores.files() == {"dir"}


@pytest.mark.parametrize(
    "name",
    [
        "../esc1",
        "/abs",
        "",
        ".",
        "..",
        "dir/../y",
        "dir//y",
        "dir/",
        "./y",
        ".hidden/x",
        "dir/.h",
        "dir/t~",
        "dir/.metadata",
        ".index.sqlite3",
        "dir/new\nline",
        "dir/\x7f",
        "dir/\0",
        "dir/\udcff",
        "dir/" + "x" * 255,
        "x/" * 2000 + "x",
    ],
)
def test_bad_names(stores, name) -> None:
    """Names that would not be found again are refused before anything is written."""
    before = stores.files()
    with pytest.raises(InvalidName):
        add(stores, name)
    with pytest.raises(RequestError):
        stores.images.delete(name, POWERFUL)
    assert stores.files() == before
    assert not (stores.root.parent / "esc1").exists()


@pytest.mark.parametrize(
    "name", ["base.Debian-12", "2024-01-01:12:34:56", "ä b", "<img src=x>", "x" * 254]
)
def test_good_names(stores, open_stores, name) -> None:
    """Names that people use work, and are found again."""
    add(stores, f"dir/{name}")
    stores.index.close()
    assert open_stores().index.image_names() == [f"dir/{name}"]


def test_unknown_directory(stores) -> None:
    """An image needs its directory, whoever adds it; no paths of the server leak."""
    with pytest.raises(AccessDenied, match=r'^no metadata for: "no/dir"$'):
        add(stores, "no/dir/x")


def test_expired(stores) -> None:
    """An image that has expired already is silently left out."""
    add(stores, image=make_image(FILES, expires_at=NOW))
    assert stores.index.image("dir/x") is None
    assert stores.files() == {"dir"}
    soon = attrs.evolve(NOW, nanosecond=1)
    add(stores, image=make_image(FILES, expires_at=soon))
    assert stores.index.image("dir/x").expires


@pytest.mark.parametrize("unix_s", [1 << 40, -(1 << 40), 253_402_300_800])
def test_far_times(stores, open_stores, unix_s) -> None:
    """Times that are out of a database's range are kept as they are."""
    image = make_image(FILES, created_on=Time(unix_s), expires_at=Time(1 << 40))
    add(stores, image=image)
    assert stores.stored("dir/x").created_on == Time(unix_s)
    stores.index.close()
    assert open_stores().index.image_names() == ["dir/x"]


def test_impossible_time(stores) -> None:
    """A time that cannot be written is a fault of the image."""
    image = gob.evolve(scanned(make_image(FILES)), created_on=Time(0, 0, -60))
    with pytest.raises(InvalidImage, match="zone offset"):
        stores.images.add("dir/x", image, POWERFUL)


@pytest.mark.parametrize(
    "attributes",
    [
        {"filter": Filter(("/good", "("))},
        {"filter": Filter(("",))},
        {"filter": Filter(("\udcff",))},
        {"triggers": Triggers((Trigger(("/good",)), Trigger(("[",))))},
    ],
)
def test_bad_expressions(stores, attributes) -> None:
    """Expressions of filters and triggers must be such."""
    with pytest.raises(InvalidImage, match="expression"):
        add(stores, image=make_image(FILES, **attributes))


@pytest.mark.parametrize(
    "filter_", [None, Filter(()), Filter(("!",)), Filter(("/a.*", "!"))]
)
def test_filters(stores, filter_) -> None:
    """No filter, an empty one and others come back as they are."""
    add(stores, image=make_image(FILES, filter=filter_))
    assert stores.stored("dir/x").filter == filter_
