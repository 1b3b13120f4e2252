"""Stored file systems are looked into without decoding all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.images.admission import measure
from imageserver.images.canonical import CHECKSUM_BYTES, make_image_file
from imageserver.images.inspection import walk
from imageserver.model.comparison import changed_attributes, compare
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.stored_tree import ROOT, StoredTree
from imageserver.testing import make_file_system, scanned


def stored(file_system: FileSystem) -> StoredTree:
    """The tree as it lies in an image file."""
    made = make_image_file(measure(scanned(Image(file_system=file_system))))
    data = b"".join(bytes(piece) for piece in made.pieces)
    start = made.value_offset + made.file_system_offset + 1
    return StoredTree(data[start:-CHECKSUM_BYTES])


_NAMES = st.binary(min_size=1, max_size=5).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in (b".", b"..")
)
_SMALL = st.integers(0, 2**32 - 1)
_LEAVES = st.one_of(
    st.builds(
        RegularInode,
        _SMALL,
        _SMALL,
        _SMALL,
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**62), 2**62),
        st.integers(1, 2**40),
        st.binary(min_size=64, max_size=64),
    ),
    st.builds(RegularInode, _SMALL),
    st.builds(SymlinkInode, _SMALL, _SMALL, st.binary(max_size=9)),
    st.builds(ComputedRegularInode, _SMALL, _SMALL, _SMALL, st.text(max_size=5)),
    st.builds(SpecialInode, _SMALL, device=st.integers(0, 2**64 - 1)),
)
_TREES = st.recursive(
    st.dictionaries(_NAMES, _LEAVES, max_size=4),
    lambda inner: st.dictionaries(_NAMES, _LEAVES | inner, max_size=4),
    max_leaves=12,
)


def plant(tree: dict) -> FileSystem:
    """A file system of names and inodes."""
    inodes: dict[int, Inode] = {}

    def directory(names: dict) -> DirectoryInode:
        entries = []
        for name, it in names.items():
            inode = directory(it) if isinstance(it, dict) else it
            number = 1 + 7 * len(inodes)
            inodes[number] = inode
            entries.append(DirectoryEntry(name, number))
        return DirectoryInode(tuple(entries), 0o40700 + len(names))

    root = directory(tree)
    sizes: dict[bytes, int] = {}
    for number, inode in inodes.items():  # an object has one size
        if isinstance(inode, RegularInode) and inode.size:
            size = sizes.setdefault(inode.hash_, inode.size)
            inodes[number] = gob.evolve(inode, size=size)
    return FileSystem(inodes or None, root=root)


@given(_TREES)
@settings(max_examples=60, deadline=None)
def test_same_as_decoded(tree: dict) -> None:
    """What is found is what decoding everything finds."""
    file_system = plant(tree)
    found = stored(file_system)
    expected = list(walk(file_system))
    assert list(found.walk()) == [(path, number) for path, number, _ in expected]
    for path, number, inode in expected:
        assert found.inode(number) == inode
        attributes = found.attributes(number)
        if isinstance(inode, DirectoryInode) and attributes != inode:
            assert attributes == gob.evolve(inode, entries=())
        assert found.find(path.split(b"/")[1:]) == number
        assert found.is_directory(number) == isinstance(inode, DirectoryInode)
    assert found.inode(ROOT) == file_system.root
    contents = [
        (number, inode.hash_, inode.size)
        for _, number, inode in expected
        if isinstance(inode, RegularInode) and inode.size
    ]
    assert sorted(found.contents()) == sorted(contents)


@given(_TREES, _TREES)
@settings(max_examples=60, deadline=None)
def test_comparing(one: dict, two: dict) -> None:
    """Differences are what comparing path by path finds."""
    before, after = plant(one), plant(two)
    paths = [{path: inode for path, _, inode in walk(it)} for it in (before, after)]
    expected = {
        path
        for path in paths[0].keys() | paths[1].keys()
        if not _is_same(paths[0].get(path), paths[1].get(path))
    }
    found = {it.path for it in compare(stored(before), stored(after))} - {b"/"}
    assert found == expected
    assert not list(compare(stored(before), stored(before)))


def _is_same(before: Inode | None, after: Inode | None) -> bool:
    if before is None or after is None:
        return False
    return type(before) is type(after) and not changed_attributes(before, after)


def test_root_attributes() -> None:
    """The root is compared, too, with and without entries."""
    for tree in (make_file_system({}), make_file_system({"a": b"x"})):
        root = gob.evolve(tree.root, mode=0o40700)
        other = gob.evolve(tree, root=root)
        assert [it.path for it in compare(stored(tree), stored(other))] == [b"/"]
    empty = make_file_system({})
    for mode in (0, 0o40755):
        first = gob.evolve(empty, root=gob.evolve(empty.root, mode=mode))
        filled = make_file_system({"a": b"x"})
        second = gob.evolve(filled, root=gob.evolve(filled.root, mode=mode))
        assert [it.path for it in compare(stored(first), stored(second))] == [b"/a"]


def test_other_numbers_are_no_difference() -> None:
    """Inode numbers do not count."""
    first = make_file_system({"a/b": b"x", "c": b"y"})
    assert first.inodes is not None

    def moved(directory: DirectoryInode) -> DirectoryInode:
        entries = [
            DirectoryEntry(it.name, it.inode_number + 500) for it in directory.entries
        ]
        return gob.evolve(directory, entries=tuple(entries))

    inodes = {
        number + 500: moved(it) if isinstance(it, DirectoryInode) else it
        for number, it in first.inodes.items()
    }
    second = FileSystem(inodes, root=moved(first.root))
    assert not list(compare(stored(first), stored(second)))


def test_links() -> None:
    """Names of the same inode are counted."""
    tree = make_file_system({"a": b"x"})
    (entry,) = tree.root.entries
    root = gob.evolve(tree.root, entries=(entry, gob.evolve(entry, name=b"b")))
    found = stored(gob.evolve(tree, root=root))
    assert found.link_counts()[entry.inode_number] == 2


@pytest.mark.parametrize("cut", [0, 1, 3, 20, -8])
def test_damage(cut: int) -> None:
    """What is no file system is an error, at once or when it is looked at."""
    tree = make_file_system({f"dir/file{n}": b"%d" % n for n in range(9)})
    made = make_image_file(measure(scanned(Image(file_system=tree))))
    data = b"".join(bytes(piece) for piece in made.pieces)
    start = made.value_offset + made.file_system_offset + 1
    value = data[start:-CHECKSUM_BYTES]
    with pytest.raises(GobDecodeError):
        found = StoredTree(value[:cut] if cut else b"")
        for _, number in found.walk():
            found.inode(number)


def test_unknown_inodes() -> None:
    """Asking for what is not there is an error, or nothing."""
    found = stored(make_file_system({"a": b"x"}))
    assert found.find([b"b"]) is None
    assert found.find([b"a", b"b"]) is None
    with pytest.raises(GobDecodeError):
        found.inode(4711)
    with pytest.raises(GobDecodeError):
        found.entries(found.find([b"a"]) or 0)
