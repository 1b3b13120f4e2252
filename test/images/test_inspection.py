"""Looking into stored images."""

from __future__ import annotations

import pytest

from imageserver.errors import CorruptImage, RequestError
from imageserver.gob import evolve
from imageserver.images.inspection import (
    computed_files,
    find_inodes,
    measure_objects,
    read_file_system,
    walk,
)
from imageserver.model.file_system import FileSystem
from imageserver.model.image import ComputedFile, Image
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SymlinkInode,
)
from imageserver.testing import POWERFUL, make_image

A, B = b"first object", b"second"
FILE, LINK = RegularInode(mode=0o100644), SymlinkInode(target=b"f")
COMPUTED = ComputedRegularInode(0o100600, 1, 2, "host:1234")
DIRECTORY = DirectoryInode(
    (DirectoryEntry(b"second", 2), DirectoryEntry(b"c\xff", 4)), 0o40755
)
TREE = FileSystem(
    {2: FILE, 3: LINK, 4: COMPUTED, 5: DIRECTORY},
    root=DirectoryInode(
        (
            DirectoryEntry(b"first", 2),
            DirectoryEntry(b"d", 5),
            DirectoryEntry(b"l", 3),
        )
    ),
)


def test_walk() -> None:
    """Everything below the root comes in the order of the tree, directories first."""
    assert [(path, number) for path, number, _ in walk(TREE)] == [
        (b"/first", 2),
        (b"/d", 5),
        (b"/d/second", 2),
        (b"/d/c\xff", 4),
        (b"/l", 3),
    ]
    assert list(walk(FileSystem())) == []


def test_walk_deep() -> None:
    """A tree may be as deep as it likes."""
    inodes = {
        number: DirectoryInode((DirectoryEntry(b"d", number + 1),))
        for number in range(5_000)
    } | {5_000: FILE}
    tree = FileSystem(inodes, root=DirectoryInode((DirectoryEntry(b"d", 0),)))
    assert sum(1 for _ in walk(tree)) == 5_001


def test_computed_files() -> None:
    """Computed files are found with their source, whatever their name."""
    assert computed_files(TREE) == (ComputedFile("/d/c\udcff", "host:1234"),)


def test_find_inodes() -> None:
    """Names of all the tree count as links; unknown names are left out."""
    found = find_inodes(TREE, [b"/first", b"/d", b"/none", b"first", b"/d/second/"])
    assert found.numbers == {b"/first": 2, b"/d": 5}
    assert found.inodes == {2: FILE, 5: DIRECTORY}
    assert found.link_counts == {2: 2, 5: 1}


@pytest.fixture
def stores(owned):
    """Stores with three images that share objects."""
    owned.add("dir/y", make_image({"a": A, "b": B, "c": B, "e": b""}), POWERFUL)
    owned.add("dir/z", Image(file_system=evolve(TREE, inodes=TREE.inodes)), POWERFUL)
    return owned


def test_stored(stores) -> None:
    """A stored file system comes back as it was; there may be no such image."""
    tree = read_file_system(stores.images.files, "dir/z")
    assert tree.inodes == TREE.inodes
    assert tree.root == TREE.root
    assert read_file_system(stores.images.files, "dir/none") is None


def test_statistics(stores) -> None:
    """Inodes are counted with repetition, contents once."""
    files, index = stores.images.files, stores.index
    names = ["dir/x", "dir/y", "dir/none", "dir/x"]
    found = measure_objects(files, index, names, ignore_missing=True)
    assert (found.images, found.objects) == (3, 2)
    assert found.object_bytes == len(A) + len(B)
    assert found.file_inodes == 1 + 4 + 1
    assert found.file_inode_bytes == 3 * len(A) + 2 * len(B)
    with pytest.raises(RequestError, match=r"^unknown image: dir/none$"):
        measure_objects(files, index, names, ignore_missing=False)
    nothing = measure_objects(files, index, [], ignore_missing=False)
    assert (nothing.images, nothing.objects, nothing.object_bytes) == (0, 0, 0)


def test_damaged(stores) -> None:
    """Nothing is made of a file that is not the one that was stored."""
    path = stores.root / "dir/y"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptImage, match="changed by somebody else"):
        read_file_system(stores.images.files, "dir/y")
    with pytest.raises(CorruptImage, match="checksum mismatch"):
        measure_objects(
            stores.images.files, stores.index, ["dir/y"], ignore_missing=False
        )
