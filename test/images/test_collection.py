"""Images and the collection of objects: what an image needs is never collected."""

from __future__ import annotations

import os
from functools import partial
from itertools import count

import pytest

from imageserver.errors import InvalidImage
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.testing import POWERFUL, Meanwhile, interleaved, make_image

A, B = b"first object", b"second"
ALL = (100, 0)


def collection(stores, obstacle=lambda: ""):
    """What collects objects."""
    return Collection(stores.objects, stores.index, CleanupLimits(), obstacle)


def files(stores):
    """The contents of all objects."""
    return {path.read_bytes() for path in stores.objects.directory.glob("??/??/*")}


def test_referenced(stores) -> None:
    """Objects of images stay, whatever their age; without images they go."""
    stores.put_objects(A, B)
    stores.add("x", make_image({"a": A}), POWERFUL)
    collection(stores).delete(*ALL)
    assert files(stores) == {A}
    stores.add("y", make_image({"a": A}), POWERFUL)
    stores.images.delete("x", POWERFUL)
    collection(stores).delete(*ALL)
    assert files(stores) == {A}
    stores.images.delete("y", POWERFUL)
    collection(stores).delete(*ALL)
    assert files(stores) == set()


def test_oldest_first(stores) -> None:
    """Objects get old from when their last image goes."""
    stores.put_objects(A, B)
    stores.add("x", make_image({"b": B}), POWERFUL)
    stores.now_ns += 1
    stores.images.delete("x", POWERFUL)
    collection(stores).delete(0, 1)
    assert files(stores) == {B}


def test_added_meanwhile(stores, monkeypatch) -> None:
    """An image that is added is safe from a collection at every step of it.

    It is refused if its objects go before anybody looks for them, and only then.
    """
    outcomes = set()
    for number in count():
        content = A + b"%d" % number
        stores.put_objects(content)
        name = f"x{number}"
        meanwhile = Meanwhile(number, partial(collection(stores).delete, *ALL))
        meanwhile.step()
        for owner in (stores.images, stores.objects, stores.images.files):
            for attribute in ("index", "disk", "_index", "_disk"):
                if hasattr(owner, attribute):
                    real = getattr(owner, attribute)
                    monkeypatch.setattr(owner, attribute, interleaved(real, meanwhile))
        added = True
        try:
            stores.add(name, make_image({"a": content}), POWERFUL)
        except InvalidImage as error:
            assert str(error) == f"object: {hash_of(content).hex()} is not available"
            added = False
        monkeypatch.undo()
        happened = meanwhile.finish()
        assert (content in files(stores)) == added
        assert (stores.index.image(name) is not None) == added
        assert stores.counts() == stores.recount()
        outcomes.add(added)
        if not happened:
            break
    assert number > 10
    assert outcomes == {True, False}


def test_images_that_are_refused(stores) -> None:
    """Who is refused has nothing in hand any more."""
    stores.put_objects(A)
    for files_ in ({"a": A, "b": B}, {"b": B}):
        with pytest.raises(InvalidImage):
            stores.add("x", make_image(files_), POWERFUL)
    collection(stores).delete(*ALL)
    assert files(stores) == set()


def damaged(path):
    """Spoil an image."""
    path.write_bytes(b"garbage")


def unreadable(path):
    """Make it something that cannot be loaded."""
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(1 << 41)


def misnamed(path):
    """Give it a name that we do not take."""
    path.rename(path.with_name(os.fsdecode(b"new\xff")))


def in_a_strange_directory(path):
    """Put it into a directory that we do not take."""
    directory = path.with_name(os.fsdecode(b"new\xff"))
    directory.mkdir()
    path.rename(directory / "x")


def untouched(path):
    """Leave it alone."""


def metadata(path):
    """Spoil the directory's metadata, not the image."""
    path.with_name(".metadata").write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "there are damaged images in quarantine"),
        (unreadable, "there are images that could not be loaded"),
        (misnamed, "there are images that could not be loaded"),
        (in_a_strange_directory, "there are images that could not be loaded"),
        (untouched, ""),
        (metadata, ""),
    ],
)
def test_obstacles(open_stores, filled, spoil, reason) -> None:
    """While an image could not be loaded, nobody knows what can be collected.

    That ends when somebody has looked after it.
    """
    path = filled.root / "dir/x"
    spoil(path)
    stores = open_stores()
    assert stores.loading.obstacle() == reason
    stores.index.close()
    again = open_stores()
    assert again.loading.obstacle() == reason
    for left in again.root.rglob("*"):
        if left.is_file() and left.name not in ("y", "x"):
            left.unlink()
        if left.name == os.fsdecode(b"new\xff") and left.is_dir():
            left.rename(left.with_name("fine"))
    if spoil is unreadable:
        path.unlink()
    assert again.loading.obstacle() == ""


def test_loading_is_an_obstacle(open_stores) -> None:
    """Before the images are loaded nobody knows what can be collected."""
    stores = open_stores(load=False)
    assert stores.loading.obstacle() == "the images are being loaded"
    stores.loading.run()
    assert stores.loading.obstacle() == ""
