"""Published trees: their text, and the file systems that they describe."""

from __future__ import annotations

import stat
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.errors import InvalidImage
from imageserver.gob import Time
from imageserver.model import published_tree
from imageserver.model.hash import NO_HASH, hash_of
from imageserver.model.inode import DirectoryInode, RegularInode, SymlinkInode
from imageserver.model.published_tree import (
    Kind,
    PublishedEntry,
    build_file_system,
    parse_directory,
)
from imageserver.model.tree import check_tree

A, B = hash_of(b"a"), hash_of(b"b")
NOW = Time(1_700_000_000, 5)


def line(entry: PublishedEntry) -> bytes:
    """An entry as it is published."""
    numbers = (entry.kind, entry.permissions, entry.uid, entry.gid, entry.size)
    middle = "/".join(str(int(number)) for number in numbers).encode()
    return b"/".join((entry.name, middle, entry.hash_.hex().encode()))


ENTRIES = st.builds(
    PublishedEntry,
    st.binary(min_size=1, max_size=20).filter(lambda n: not set(n) & set(b"/\n\r")),
    st.sampled_from(Kind),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 64) - 1),
    st.binary(min_size=64, max_size=64),
)


@given(st.lists(ENTRIES), st.booleans())
def test_parse(entries: list[PublishedEntry], ends: bool) -> None:
    """What is published is what is read, by name, with or without a last line end."""
    text = b"\n".join(map(line, entries)) + (b"\n" if ends and entries else b"")
    assert parse_directory(text) == sorted(entries, key=lambda entry: entry.name)


def test_line_ends() -> None:
    """Lines may end as on other systems; nothing is a directory without entries."""
    entry = PublishedEntry(b"x", Kind.FILE, 0, 0, 0, 1, A)
    assert parse_directory(line(entry) + b"\r\n") == [entry]
    assert parse_directory(b"") == []


@given(st.binary(max_size=300))
def test_anything(data: bytes) -> None:
    """Whatever comes is read or refused."""
    try:
        parse_directory(data)
    except InvalidImage:
        pass


GOOD = [b"x", b"0", b"420", b"1", b"2", b"3", A.hex().encode()]


@pytest.mark.parametrize(
    ("place", "field", "error"),
    [
        (0, b"a/b", "number of segments: 8 != 7: a/b/0/"),
        (1, b"3", "malformed entry: x/3/"),
        (1, b"-1", "malformed entry: x/-1/"),
        (2, b"4294967296", "malformed entry: "),
        (3, b" 1", "malformed entry: "),
        (4, b"0x1", "malformed entry: "),
        (5, b"18446744073709551616", "malformed entry: "),
        (5, b"1_0", "malformed entry: "),
        (5, b"", "malformed entry: "),
        (6, b"00", "malformed hash: "),
        (6, b"g" * 128, "malformed hash: "),
    ],
)
def test_malformed(place: int, field: bytes, error: str) -> None:
    """A line with a bad field is refused; the error shows its beginning."""
    fields = [*GOOD]
    fields[place] = field
    with pytest.raises(InvalidImage) as raised:
        parse_directory(
            line(PublishedEntry(b"a", Kind.FILE, 0, 0, 0, 1, A))
            + b"\n"
            + b"/".join(fields)
        )
    assert str(raised.value).startswith(error)
    assert len(str(raised.value)) < 300


def test_empty_line() -> None:
    """A line without anything is none."""
    with pytest.raises(InvalidImage, match="number of segments: 1 != 7: "):
        parse_directory(b"/".join(GOOD) + b"\n\n")


def test_build() -> None:
    """Every kind of inode; what is there twice has two inodes."""
    root, below = hash_of(b"root"), hash_of(b"below")
    directories = {
        root: [
            PublishedEntry(b"again", Kind.DIRECTORY, 0o700, 1, 2, 9, below),
            PublishedEntry(b"dir", Kind.DIRECTORY, 0o1777, 3, 4, 9, below),
            PublishedEntry(b"hollow", Kind.DIRECTORY, 0o755, 0, 0, 0, NO_HASH),
            PublishedEntry(b"void", Kind.FILE, 0o600, 0, 0, 0, B),
        ],
        below: [
            PublishedEntry(b"file", Kind.FILE, 0o104755, 5, 6, 7, A),
            PublishedEntry(b"link", Kind.SYMLINK, 0o777, 8, 9, 1, B),
        ],
    }
    built = build_file_system(root, directories, {B: b"file"}, NOW)
    inodes = built.inodes
    assert inodes is not None
    names = {entry.name: inodes[entry.inode_number] for entry in built.root.entries}
    assert (built.root.mode, built.root.uid) == (stat.S_IFDIR | 0o755, 0)
    again, directory = names[b"again"], names[b"dir"]
    assert isinstance(again, DirectoryInode)
    assert isinstance(directory, DirectoryInode)
    assert (directory.mode, directory.uid, directory.gid) == (0o41777, 3, 4)
    assert again.mode == 0o40700
    assert again.entries != directory.entries
    file, link = (inodes[entry.inode_number] for entry in directory.entries)
    assert file == RegularInode(0o104755, 5, 6, 5, 1_700_000_000, 7, A)
    assert link == SymlinkInode(8, 9, b"file")
    assert names[b"hollow"] == DirectoryInode((), 0o40755, 0, 0)
    assert names[b"void"] == RegularInode(0o100600, 0, 0, 5, 1_700_000_000, 0, NO_HASH)
    assert (built.regular_count, built.data_bytes, built.directory_count) == (3, 14, 4)
    check_tree(built)


def test_bomb() -> None:
    """Directories that are in each other many times are not unfolded without end."""
    hashes = [hash_of(bytes([number])) for number in range(40)]
    directories = {
        hash_: [
            PublishedEntry(name, Kind.DIRECTORY, 0o755, 0, 0, 1, below)
            for name in (b"a", b"b")
        ]
        for hash_, below in pairwise(hashes)
    } | {hashes[-1]: []}
    with (
        patch.object(published_tree, "MAXIMUM_INODES", 1_000),
        pytest.raises(InvalidImage, match="more than 1000 inodes"),
    ):
        build_file_system(hashes[0], directories, {}, NOW)
