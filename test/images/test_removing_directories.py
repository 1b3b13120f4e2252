"""Removing directories of images, and giving them to others."""

from __future__ import annotations

import pytest

from imageserver.errors import AccessDenied, RequestError
from imageserver.images.changes import Operation
from imageserver.images.metadata import read_metadata
from imageserver.testing import POWERFUL, make_caller, make_image

ADMIN = make_caller("admin", powers=True)


@pytest.fixture
def stores(owned):
    """Stores with an empty directory, owned by staff as the one above it."""
    owned.images.make_directory("dir/sub", False, POWERFUL)
    return owned


def test_remove(stores) -> None:
    """An empty directory goes, with its owner and the names of deleted images."""
    heard = []
    stores.add("dir/sub/x", make_image({}), POWERFUL)
    stores.images.delete("dir/sub/x", POWERFUL)
    stores.images.changes.listen(heard.append, lambda: None)
    stores.images.remove_directory("dir/sub")
    assert not (stores.root / "dir/sub").exists()
    assert set(stores.index.directories()) == {".", "dir"}
    assert [(c.operation, c.name) for c in heard] == [
        (Operation.DELETE_DIRECTORY, "dir/sub")
    ]
    stores.images.make_directory("dir/sub", False, POWERFUL)
    stores.add("dir/sub/x", make_image({}), POWERFUL)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dir", "directory: dir not empty"),
        ("dir/none", "directory: dir/none does not exist"),
        ("./dir/sub", "directory: ./dir/sub does not exist"),
        ("", "directory:  does not exist"),
        ("..", "directory: .. does not exist"),
        (".", "cannot remove root directory"),
        ("dir/x", "directory: dir/x does not exist"),
    ],
)
def test_not_removed(stores, name: str, text: str) -> None:
    """Nothing goes that is not an empty directory of images."""
    before = stores.files()
    with pytest.raises(RequestError, match=f"^{text}$"):
        stores.images.remove_directory(name)
    assert stores.files() == before


@pytest.mark.parametrize("content", ["sub/.hidden", "sub/foreign", "sub/deeper/x"])
def test_foreign_things_stay(stores, content: str) -> None:
    """What somebody else has put there is left alone."""
    path = stores.root / "dir" / content
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    with pytest.raises(RequestError, match="not empty"):
        stores.images.remove_directory("dir/sub")
    assert path.read_text() == "x"


def test_not_while_an_image_is_added(stores, monkeypatch) -> None:
    """A directory into which an image is being written stays."""
    write = stores.images.disk.write_file
    refused = []

    def remove_meanwhile(*arguments) -> None:
        with pytest.raises(RequestError, match="not empty") as caught:
            stores.images.remove_directory("dir/sub")
        refused.append(caught.value)
        write(*arguments)

    monkeypatch.setattr(stores.images.disk, "write_file", remove_meanwhile)
    stores.add("dir/sub/x", make_image({}), POWERFUL)
    assert len(refused) == 1
    assert "dir/sub/x" in stores.index.image_names()


def test_no_image_into_a_removed_directory(stores, monkeypatch) -> None:
    """An image that comes when its directory has just gone is refused."""
    check = stores.images.objects.missing

    def remove_meanwhile(sizes):
        stores.images.remove_directory("dir/sub")
        return check(sizes)

    monkeypatch.setattr(stores.images.objects, "missing", remove_meanwhile)
    with pytest.raises(AccessDenied, match=r'^no metadata for: "dir/sub"$'):
        stores.add("dir/sub/x", make_image({}), POWERFUL)
    assert stores.index.image_names() == ["dir/x"]


@pytest.mark.parametrize(
    ("caller", "group", "refusal"),
    [
        (ADMIN, "games", None),
        (ADMIN, "", None),
        (make_caller("eve", "staff"), "games", None),
        (make_caller("eve", "staff"), "", None),
        (make_caller("eve", "games"), "games", "no access to image"),
        (make_caller("eve"), "games", "no membership of games group"),
        (make_caller("eve"), "", "no membership of  group"),
        (make_caller(powers=True), "games", "no username: unauthenticated connection"),
        (ADMIN, "nosuchgroup", "group: unknown group nosuchgroup"),
    ],
)
def test_change_owner(stores, caller, group: str, refusal) -> None:
    """Who has power or owns the directory above may give one away to a real group."""
    heard = []
    stores.images.changes.listen(heard.append, lambda: None)
    if refusal is not None:
        with pytest.raises(RequestError, match=f"^{refusal}$"):
            stores.images.change_owner("dir/sub", group, caller)
        assert heard == []
        group = "staff"
    else:
        stores.images.change_owner("dir//sub/", group, caller)
        assert [(c.operation, c.name, c.owner_group) for c in heard] == [
            (Operation.MAKE_DIRECTORY, "dir/sub", group)
        ]
    assert stores.index.owner_group("dir/sub") == group
    assert read_metadata("dir/sub", stores.root / "dir/sub").owner_group == group


def test_owner_of_both(stores) -> None:
    """Others have to be in the old group and in the new one."""
    stores.own("dir", "")
    eve = make_caller("eve", "staff", "games")
    stores.images.change_owner("dir/sub", "games", eve)
    assert stores.index.owner_group("dir/sub") == "games"
    with pytest.raises(RequestError, match=r'^no metadata for: "dir/none"$'):
        stores.images.change_owner("dir/none", "games", eve)


def test_same_owner(stores) -> None:
    """To give a directory to whom it belongs changes nothing and is not told."""
    heard = []
    stores.images.changes.listen(heard.append, lambda: None)
    stores.images.change_owner("dir/sub", "staff", ADMIN)
    assert heard == []
