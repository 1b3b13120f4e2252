"""What differs between two trees."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from trees.random_trees import RandomTree, describe, scan

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.model.file_system import FileSystem
from imageserver.model.flat_image import FlatFileSystem, FlatImage, FlatTree
from imageserver.model.image import Image
from imageserver.model.inode import DirectoryEntry, DirectoryInode, RegularInode
from imageserver.testing import make_file_system
from imageserver.trees.differences import Change, find_differences


def flat(file_system: FileSystem) -> FlatTree:
    """A file system as it comes from a server."""
    data = gob.Encoder().encode(file_system)
    return FlatTree(gob.decode(data, FlatFileSystem).value)


@pytest.mark.parametrize("seed", range(8))
def test_any_trees(tmp_path: Path, seed: int) -> None:
    """Exactly those paths are told that are different, whatever the trees."""
    trees = []
    for name in ("left", "right"):
        tree = RandomTree(tmp_path / name, seed)
        tree.grow()
        if name == "right":
            tree.change()
        trees.append(scan(tmp_path / name).file_system)
    left, right = (describe(tree) for tree in trees)
    expected = {
        path or b"/"
        for path in left.keys() | right.keys()
        if left.get(path) != right.get(path)
    }
    for pair in ([flat(tree) for tree in trees], [FlatTree.of(t) for t in trees]):
        found = find_differences(*pair)
        # A link to a name that went is told of all other names, too.
        links = {item.path for item in found if item.aspects == ("links",)}
        assert {item.path for item in found} - links <= expected
        assert expected <= {item.path for item in found}
        for item in found:
            assert (item.left is None) == (item.change is Change.ADDED)
            assert (item.right is None) == (item.change is Change.REMOVED)
    assert find_differences(flat(trees[0]), FlatTree.of(trees[0])) == []


def changes(left: dict, right: dict) -> dict[bytes, object]:
    """What differs between two small trees, in short."""
    found = find_differences(
        flat(make_file_system(left)), flat(make_file_system(right))
    )
    return {item.path: item.aspects or item.change for item in found}


def test_kinds() -> None:
    """It is told what has happened to a path, and to what is below it."""
    assert changes({"a": b"x"}, {"a": b"y"}) == {b"/a": ("content",)}
    assert changes({"a": b"x"}, {"b": b"x"}) == {
        b"/a": Change.REMOVED,
        b"/b": Change.ADDED,
    }
    assert changes({"d/e/a": b"x"}, {"d": b"x"}) == {
        b"/d": ("type",),
        b"/d/e": Change.REMOVED,
        b"/d/e/a": Change.REMOVED,
    }
    assert changes({"a": b"x"}, {"a@": b"x"}) == {b"/a": ("type",)}


def test_directories() -> None:
    """Modes of directories count, with entries in them and without."""
    for files in ({}, {"a": b"x"}):
        left = make_file_system(files)
        right = gob.evolve(left, root=gob.evolve(left.root, mode=0o40700))
        (found,) = find_differences(flat(left), flat(right))
        assert (found.path, found.aspects) == (b"/", ("metadata",))
        outer = [
            FileSystem(
                {**(tree.inodes or {}), 99: tree.root},
                root=DirectoryInode((DirectoryEntry(b"d", 99),), 0o40755),
            )
            for tree in (left, right)
        ]
        (found,) = find_differences(*map(flat, outer))
        assert (found.path, found.aspects) == (b"/d", ("metadata",))


def test_numbers_do_not_matter() -> None:
    """Trees whose inodes have other numbers are the same."""
    tree = make_file_system({"a": b"x", "d/b": b"y"})
    shift = 1_000
    entries = {}
    for number, inode in (tree.inodes or {}).items():
        moved = inode
        if isinstance(inode, DirectoryInode):
            moved = gob.evolve(inode, entries=_shifted(inode, shift))
        entries[number + shift] = moved
    root = gob.evolve(tree.root, entries=_shifted(tree.root, shift))
    other = gob.evolve(tree, inodes=entries, root=root)
    assert find_differences(flat(tree), flat(other)) == []


def _shifted(directory: DirectoryInode, by: int) -> tuple[DirectoryEntry, ...]:
    return tuple(
        DirectoryEntry(entry.name, entry.inode_number + by)
        for entry in directory.entries
    )


def test_links() -> None:
    """Names that share an inode on one side only are told."""
    inode = RegularInode(0o100644)
    names = [DirectoryEntry(b"a", 1), DirectoryEntry(b"b", 1)]
    left = FileSystem({1: inode}, root=DirectoryInode(tuple(names), 0o40755))
    names = [DirectoryEntry(b"a", 1), DirectoryEntry(b"b", 2)]
    right = FileSystem({1: inode, 2: inode}, root=DirectoryInode(tuple(names), 0o40755))
    found = find_differences(flat(left), flat(right))
    assert [(item.path, item.aspects) for item in found] == [
        (b"/a", ("links",)),
        (b"/b", ("links",)),
    ]


def test_contradictions() -> None:
    """Trees that hang together wrongly are errors, and no endless loops."""
    circle = DirectoryInode((DirectoryEntry(b"d", 5),), 0o40755)
    tree = FileSystem({5: circle}, root=circle)
    for other in (tree, make_file_system({})):
        with pytest.raises(GobDecodeError, match="reached twice"):
            find_differences(flat(tree), flat(other))
    missing = FileSystem(root=circle)
    for other in (missing, make_file_system({})):
        with pytest.raises(GobDecodeError, match="no inode 5"):
            find_differences(flat(missing), flat(other))


def test_image_of_another_program() -> None:
    """An image that the reference has stored is read, whatever its types' ids."""
    data = (recorded.DIRECTORY / "image/image.bin").read_bytes()
    flat_image = gob.decode(data, FlatImage).value
    image = gob.decode(data, Image).value
    tree = FlatTree(flat_image.file_system)
    assert len(tree.inodes) == len(image.file_system.inodes)
    assert find_differences(tree, FlatTree.of(image.file_system)) == []
