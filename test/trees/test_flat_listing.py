"""Listings made of inodes that are not decoded."""

from __future__ import annotations

import stat
from datetime import UTC
from pathlib import Path

import pytest
import recorded
from trees.random_trees import RandomTree, scan

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Matcher
from imageserver.model.flat_image import FlatFileSystem, FlatImage, FlatTree
from imageserver.model.image import Image
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.flat_listing import FlatLister
from imageserver.trees.listing import list_image


def flat(file_system: FileSystem) -> FlatTree:
    """A file system as it comes from a server."""
    data = gob.Encoder().encode(file_system)
    return FlatTree(gob.decode(data, FlatFileSystem).value)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("skip", ["", "mlugst", "n", "d", "tl"])
def test_same_as_decoded(tmp_path: Path, seed: int, skip: str) -> None:
    """Whatever the tree, the listing is the same as that of decoded inodes."""
    RandomTree(tmp_path / "tree", seed).grow(60)
    tree = scan(tmp_path / "tree").file_system
    for zone in (None, UTC):
        for matcher in (None, Matcher(("/a", "/.*b"))):
            expected = list(list_image(tree, zone, skip, matcher))
            lister = FlatLister(zone, skip)
            assert list(lister.lines(flat(tree), matcher)) == expected
            assert list(lister.lines(FlatTree.of(tree), matcher)) == expected


def test_rare_inodes() -> None:
    """Times, sizes and modes of all kinds, also those that nobody has."""
    inodes = [
        RegularInode(0o107777, 7, 8, 5, -1, 0),
        RegularInode(0o100000, 1 << 31, 1, 0, 1 << 40, 1, bytes(range(192, 256))),
        RegularInode(0, 0, 0, 0, 0, 255, b"\xff" * 64),
        RegularInode(0o100644, 0, 0, 999_999_999, 1, 1 << 60, b"\x7f\x80" * 32),
        RegularInode(0o100644, 0, 0, 2_000_000_000, 1, 1, b"\x80\x80" * 32),
        RegularInode(0o100644, 0, 0, -1, 1, 1, b"\x01\xff" * 32),
        SymlinkInode(5, 0, b"\xff\0" * 200),
        SymlinkInode(),
        SpecialInode(stat.S_IFBLK | 0o600, 0, 0, 0, 0, 0x803),
        SpecialInode(stat.S_IFSOCK | 0o777, 0, 0, 0, -(1 << 40)),
        ComputedRegularInode(0o100644, 1, 2, "host:1"),
        DirectoryInode((), 0o41777, 3, 4),
        DirectoryInode(),
    ]
    names = [DirectoryEntry(b"%d" % number, number) for number in range(len(inodes))]
    root = DirectoryInode(tuple(names), 0o40700, 9, 10)
    tree = FileSystem(dict(enumerate(inodes)), root=root)
    expected = list(list_image(tree))
    assert list(FlatLister().lines(flat(tree))) == expected


def test_image_of_another_program() -> None:
    """An image that the reference has stored is listed."""
    data = (recorded.DIRECTORY / "image/image.bin").read_bytes()
    tree = FlatTree(gob.decode(data, FlatImage).value.file_system)
    expected = list(list_image(gob.decode(data, Image).value.file_system))
    assert list(FlatLister().lines(tree)) == expected


def test_contradictions() -> None:
    """Circles and missing inodes are errors."""
    circle = DirectoryInode((DirectoryEntry(b"d", 5),), 0o40755)
    with pytest.raises(GobDecodeError, match="reached twice"):
        list(FlatLister().lines(flat(FileSystem({5: circle}, root=circle))))
    with pytest.raises(GobDecodeError, match="no inode 5"):
        list(FlatLister().lines(flat(FileSystem(root=circle))))
