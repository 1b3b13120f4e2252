"""What an index promises about images and directories."""

from __future__ import annotations

from collections import Counter

import pytest

from imageserver.errors import StoreError
from imageserver.index.base import ObjectTotals
from imageserver.model.hash import hash_of

A, B, C = (hash_of(name) for name in (b"a", b"b", b"c"))


def test_unknown(index) -> None:
    """A new index knows neither images nor directories."""
    assert index.image("x") is None
    assert list(index.images()) == []
    assert index.image_names() == []
    assert index.image_count() == 0
    assert list(index.images_in(".")) == []
    assert index.expired(1 << 62) == []
    assert index.directories() == {}
    assert index.owner_group(".") is None


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"created_on_ns": None, "tags": {}, "owner_users": (), "owner_groups": ()},
        {"created_on_ns": -(1 << 63), "expires_at_ns": (1 << 63) - 1},
    ],
)
def test_add(index, record, attributes) -> None:
    """A record comes back as it went in."""
    added = record("dir/image", **attributes)
    index.add_image(added, {})
    assert index.image("dir/image") == added
    assert list(index.images()) == [added]
    assert index.image_names() == ["dir/image"]
    assert index.image_count() == 1


def test_add_twice(index, record, counts) -> None:
    """An image cannot be added twice, and its references do not count twice."""
    index.add_image(record("x"), {A: 1})
    with pytest.raises(StoreError):
        index.add_image(record("x"), {A: 1})
    assert counts() == {A: 1}


@pytest.mark.parametrize("name", ["\udcff", "x\udcffy", "", "x\0", "x" * 10_000])
def test_strange_names(index, record, name) -> None:
    """Clients may ask for whatever they like: it is not there."""
    index.add_image(record("x"), {})
    assert index.image(name) is None
    assert index.owner_group(name) is None
    assert list(index.images_in(name)) == []


def test_references(index, record, counts) -> None:
    """References add up over images, and go with them, but never below zero."""
    index.add_objects({A: 1, B: 10, C: 100}, 5)
    index.add_image(record("x"), Counter({A: 1, B: 2}))
    index.add_image(record("y"), Counter({B: 3}))
    assert counts() == {A: 1, B: 5, C: 0}
    assert index.object_totals() == ObjectTotals(3, 111, 2, 11)
    index.remove_image("x", Counter({A: 1, B: 2}), 7)
    assert counts() == {A: 0, B: 3, C: 0}
    index.remove_image("y", Counter({B: 4}), 7)
    assert counts() == {A: 0, B: 0, C: 0}
    assert index.object_sizes([A, B, C]) == {A: 1, B: 10, C: 100}


def test_remove(index, record, counts) -> None:
    """A removed image is unknown; removing it again frees nothing more."""
    index.add_objects({A: 1}, 5)
    index.add_image(record("x"), {A: 1})
    index.add_image(record("y"), {A: 1})
    for _ in range(2):
        index.remove_image("x", {A: 1}, 7)
    assert index.image_names() == ["y"]
    assert counts() == {A: 1}


def test_images_in(index, record) -> None:
    """Images directly in a directory come newest first; without a time, last."""
    index.add_image(record("dir/old", created_on_ns=1), {})
    index.add_image(record("dir/unknown", created_on_ns=None), {})
    index.add_image(record("dir/new", created_on_ns=3), {})
    index.add_image(record("dir/ancient", created_on_ns=-5), {})
    index.add_image(record("dir/sub/newer", created_on_ns=9), {})
    index.add_image(record("root", created_on_ns=9), {})
    names = [found.name for found in index.images_in("dir")]
    assert names == ["dir/new", "dir/old", "dir/ancient", "dir/unknown"]
    assert [found.name for found in index.images_in(".")] == ["root"]


@pytest.mark.parametrize(
    ("now_ns", "expired"),
    [(9, set()), (10, {"ten"}), (11, {"ten"}), (20, {"ten", "twenty"})],
)
def test_expired(index, record, now_ns, expired) -> None:
    """An image expires at its time, not before; one without a time never does."""
    index.add_image(record("ten", expires_at_ns=10), {})
    index.add_image(record("twenty", expires_at_ns=20), {})
    index.add_image(record("never"), {})
    assert {found.name for found in index.expired(now_ns)} == expired


def test_directories(index) -> None:
    """Directories have an owner group, which can change, and can be removed."""
    index.add_directory(".", "")
    index.add_directory("dir", "staff")
    assert index.directories() == {".": "", "dir": "staff"}
    assert index.owner_group("dir") == "staff"
    assert index.owner_group(".") == ""
    assert index.owner_group("dir/") is None
    index.add_directory("dir", "users")
    assert index.owner_group("dir") == "users"
    index.remove_directory("dir")
    index.remove_directory("dir")
    assert index.directories() == {".": ""}


def test_set_directories(index) -> None:
    """All directories can be recorded together; others are forgotten."""
    index.add_directory("old", "staff")
    index.add_directory("dir", "staff")
    found = {".": "", "dir": "users", "new": "staff"}
    index.set_directories(found)
    assert index.directories() == found


def test_forget_images(index, record, counts) -> None:
    """Objects stay when all images are forgotten, but without references."""
    index.add_objects({A: 1, B: 2}, 5)
    index.add_directory("dir", "staff")
    index.add_image(record("dir/x"), {A: 2, C: 1})
    index.forget_images()
    assert index.image_count() == 0
    assert index.directories() == {}
    assert counts() == {A: 0, B: 0}
    assert index.object_sizes([A, B, C]) == {A: 1, B: 2}


def test_unfinished_reading_does_not_keep_the_past(index, record) -> None:
    """Who stops reading in the middle sees later changes all the same."""
    index.add_image(record("x"), {})
    index.add_image(record("y"), {})
    assert next(iter(index.images_in("."))).name in ("x", "y")
    index.add_image(record("z"), {})
    assert index.image_count() == 3
