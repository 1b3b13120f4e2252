"""The tree of an image is checked, and measured."""

from __future__ import annotations

from collections import Counter

import pytest

from imageserver.errors import InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import hash_of
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.tree import TreeSummary, check_tree, show

A, B = hash_of(b"a"), hash_of(b"b")


def directory(*entries, **numbers):
    """A directory with entries."""
    entries += tuple((name.encode(), number) for name, number in numbers.items())
    return DirectoryInode(tuple(DirectoryEntry(*entry) for entry in entries))


def file(size, hash_):
    """A file with content."""
    return RegularInode(0o100644, size=size, hash_=hash_)


COMPUTED = ComputedRegularInode(source="x:1")


def test_summary() -> None:
    """Everything is counted; hard links count once, empty files have no object."""
    inodes = {
        2: directory(a=4, link=4, b=5, c=6),
        3: SymlinkInode(target=b"x"),
        4: file(5000, A),
        5: file(4096, B),
        6: file(5000, A),
        7: file(0, bytes(64)),
        8: COMPUTED,
        9: SpecialInode(0o20666),
        10: directory(),
    }
    root = directory(d=2, l=3, l2=3, e=7, c=8, s=9, empty=10)
    assert check_tree(FileSystem(inodes, root=root)) == TreeSummary(
        regular_count=4,
        data_bytes=14_096,
        directory_count=3,
        computed_count=1,
        usage_bytes=2 * 8192 + 4096 + 2 * 4096 + 64,
        objects=Counter({A: 2, B: 1}),
        object_bytes={A: 5000, B: 4096},
    )


@pytest.mark.parametrize("inodes", [None, {}])
def test_empty(inodes) -> None:
    """A tree may be empty."""
    summary = check_tree(FileSystem(inodes))
    assert summary == TreeSummary(0, 0, 1, 0, 0, Counter(), {})


@pytest.mark.parametrize(
    ("file_system", "text"),
    [
        (FileSystem(None, root=directory(a=5)), "no inode 5 for: /a"),
        (FileSystem({}, root=directory(a=0)), "no inode 0 for: /a"),
        (FileSystem({2: None}, root=directory(a=2)), "inode 2 is nil"),
        (FileSystem({2: None}), "inode 2 is nil"),
        # circles, and directories with two parents
        (FileSystem({2: directory(x=2)}, root=directory(d=2)), "reached twice: /d/x"),
        (
            FileSystem({2: directory(x=3), 3: directory(y=2)}, root=directory(d=2)),
            "reached twice: /d/x/y",
        ),
        (FileSystem({2: directory()}, root=directory(a=2, b=2)), "reached twice: /b"),
        # names
        (
            FileSystem({2: COMPUTED}, root=directory((b"", 2))),
            "malformed entry name: /",
        ),
        (FileSystem({2: COMPUTED}, root=directory((b".", 2))), "malformed entry name"),
        (FileSystem({2: COMPUTED}, root=directory((b"..", 2))), "malformed entry name"),
        (FileSystem({2: COMPUTED}, root=directory((b"a/", 2))), "malformed entry name"),
        (FileSystem({2: COMPUTED}, root=directory((b"\0", 2))), "malformed entry name"),
        (FileSystem({2: COMPUTED}, root=directory((b"x" * 256, 2))), "name too long"),
        (
            FileSystem({2: file(1, A)}, root=directory((b"x", 2), (b"x", 2))),
            "duplicate entry: /x",
        ),
        # computed files
        (
            FileSystem({2: COMPUTED}, root=directory(a=2, b=2)),
            "duplicate computed inode: /b",
        ),
        (
            FileSystem({2: COMPUTED, 3: directory(b=2)}, root=directory(a=2, d=3)),
            "duplicate computed inode: /d/b",
        ),
        # sizes
        (
            FileSystem({2: file(1, A), 3: file(2, A)}, root=directory(a=2, b=3)),
            f"two sizes for object: {A.hex()}",
        ),
    ],
)
def test_contradictions(file_system, text) -> None:
    """A tree that contradicts itself is refused; the text names the path."""
    with pytest.raises(InvalidImage) as caught:
        check_tree(file_system)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", "ä".encode(), b"a b", b"~", b"...", b"\n"]
)
def test_good_names(name) -> None:
    """Names are bytes; only what no directory can hold is refused."""
    check_tree(FileSystem({2: file(1, A)}, root=directory((name, 2))))


def chain(depth):
    """Directories, one in the other."""
    inodes = {number: directory(d=number + 1) for number in range(2, depth + 1)}
    inodes[depth + 1] = directory()
    return FileSystem(inodes, root=directory(d=2))


def test_deep() -> None:
    """Trees as deep as paths can be are good; deeper ones are refused clearly."""
    assert check_tree(chain(500)).directory_count == 501
    with pytest.raises(InvalidImage, match="nest too deep: /d/d"):
        check_tree(chain(100_000))


def test_wide() -> None:
    """A directory may have very many entries."""
    names = tuple((b"%d" % number, 2) for number in range(100_000))
    summary = check_tree(FileSystem({2: file(1, A)}, root=directory(*names)))
    assert summary.regular_count == 1
    assert summary.objects == {A: 1}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/etc/passwd", "/etc/passwd"),
        ("/ä".encode(), "/ä"),
        (b"/a\xff", "/a\\xff"),
        (b"/a\n\x1b[2J", "/a\\n\\x1b[2J"),
        ("/\u202e".encode(), "/\\u202e"),
    ],
)
def test_show(path, shown) -> None:
    """Paths are shown without anything that upsets a terminal or a log."""
    assert show(path) == shown
