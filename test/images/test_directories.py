"""Directories that are made, and refused."""

from __future__ import annotations

import stat

import pytest

from imageserver import gob
from imageserver.errors import (
    AccessDenied,
    InvalidName,
    RequestError,
)
from imageserver.images.metadata import read_metadata
from imageserver.images.permissions import check_new_directory
from imageserver.testing import POWERFUL, make_caller

A, B = b"first object", b"second"
NOW_S = 1_700_000_000


@pytest.fixture
def stores(owned):
    """Stores that belong to somebody."""
    return owned


@pytest.mark.parametrize(
    ("who", "group", "refusal"),
    [
        (make_caller(powers=True), "", None),
        (make_caller("eve", "staff"), "staff", None),
        (make_caller("eve", "users"), "staff", "no membership of staff group"),
        (make_caller("eve", "users"), "", "no access to image"),
    ],
)
def test_directory_permissions(who, group, refusal) -> None:
    """Those with power and members of the parent's group may make a directory."""
    if refusal is None:
        check_new_directory(who, group)
    else:
        with pytest.raises(AccessDenied, match=f"^{refusal}$"):
            check_new_directory(who, group)


def test_make_directory(stores) -> None:
    """A directory is made in one that is there, and inherits its group."""
    assert stores.images.make_directory("dir//sub/", False, POWERFUL) == ["dir/sub"]
    path = stores.root / "dir/sub"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert read_metadata("dir/sub", path).owner_group == "staff"
    assert stat.S_IMODE((path / ".metadata").stat().st_mode) == 0o644
    assert stores.index.owner_group("dir/sub") == "staff"
    assert stores.files() == {"dir", "dir/x", "dir/sub", "dir/sub/.metadata"}


def test_directory_without_group(stores) -> None:
    """A directory without owner group has no metadata."""
    assert stores.images.make_directory("top", False, POWERFUL) == ["top"]
    assert list((stores.root / "top").iterdir()) == []
    assert stores.index.owner_group("top") == ""


def test_make_all(stores) -> None:
    """Missing parents are made, too; what is there is accepted."""
    made = stores.images.make_directory("dir/a/b/c", True, POWERFUL)
    assert made == ["dir/a", "dir/a/b", "dir/a/b/c"]
    assert stores.index.owner_group("dir/a/b/c") == "staff"
    assert stores.images.make_directory("dir/a/b/c", True, POWERFUL) == []


@pytest.mark.parametrize(
    ("name", "make_all", "text"),
    [
        ("dir", False, "directory: dir already exists"),
        ("dir/", False, "directory: dir already exists"),
        (".", False, "directory: . already exists"),
        ("", False, "directory: . already exists"),
        ("", True, "cannot create root directory"),
        ("dir/..", True, "cannot create root directory"),
        ("no/sub", False, "no metadata for: no"),
        ("dir/x", False, "an image has this name: dir/x"),
        ("dir/x", True, "an image has this name: dir/x"),
        ("dir/x/sub", True, "an image has this name: dir/x"),
    ],
)
def test_directory_refused(stores, name, make_all, text) -> None:
    """What cannot be made is refused with the known texts."""
    before = stores.files()
    with pytest.raises(RequestError, match=f"^{text}$"):
        stores.images.make_directory(name, make_all, POWERFUL)
    assert stores.files() == before
    assert stores.index.directories() == {".": "", "dir": "staff"}


@pytest.mark.parametrize("make_all", [False, True])
@pytest.mark.parametrize(
    "name", ["../up/x", "/abs", "//abs", ".hidden", "dir/x~", "dir/\n", "\udcff", "a\0"]
)
def test_bad_directory_names(stores, name, make_all) -> None:
    """A directory cannot be outside, hidden, or have a temporary file's name."""
    with pytest.raises(InvalidName):
        stores.images.make_directory(name, make_all, POWERFUL)
    assert {path.name for path in stores.root.parent.iterdir()} == {
        "objects",
        "images",
        "backups",
    }


def test_directory_of_deleted_image(stores) -> None:
    """The name of a deleted image is not free for directories."""
    stores.images.delete("dir/x", POWERFUL)
    with pytest.raises(RequestError, match=r"^an image has this name"):
        stores.images.make_directory("dir/x", False, POWERFUL)


def test_foreign_directory(stores) -> None:
    """A directory that somebody else made meanwhile is taken over."""
    (stores.root / "dir/there").mkdir()
    (stores.root / "dir/there/file").write_text("x")
    assert stores.images.make_directory("dir/there", False, POWERFUL) == ["dir/there"]
    assert read_metadata("", stores.root / "dir/there").owner_group == "staff"


def test_directory_denied(stores) -> None:
    """Who has no power needs the parent's group, on each level."""
    with pytest.raises(AccessDenied, match=r"^no access to image$"):
        stores.images.make_directory("top/x", True, make_caller("eve", "staff"))
    made = stores.images.make_directory("dir/y/z", True, make_caller("eve", "staff"))
    assert made == ["dir/y", "dir/y/z"]


def test_metadata_is_the_known_form(stores) -> None:
    """Metadata is one gob value and its checksum, as others write it."""
    stores.images.make_directory("dir/sub", False, POWERFUL)
    data = (stores.root / "dir/sub/.metadata").read_bytes()
    decoded = gob.decode(data, None)
    assert len(data) == decoded.end + 64
