"""Inodes as JSON, and files as people see them."""

from __future__ import annotations

import pytest

from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.web.file_view import as_text, dump, show_content
from imageserver.web.tree_json import inode_as_json, mode_text

_OWNER = {"uid": 1, "gid": 2}


@pytest.mark.parametrize(
    ("inode", "mode", "values"),
    [
        (
            RegularInode(0o104755, 1, 2, 500_000_000, 7, 9, b"\xab" * 64),
            "-rwsr-xr-x",
            {
                "kind": "file",
                "mode": "4755",
                "size": 9,
                "mtime": 7.5,
                "object": "ab" * 64,
            },
        ),
        (
            RegularInode(0o100600, 1, 2),
            "-rw-------",
            {"kind": "file", "mode": "0600", "size": 0, "mtime": 0.0, "object": ""},
        ),
        (
            DirectoryInode((), 0o41777, 1, 2),
            "drwxrwxrwt",
            {"kind": "directory", "mode": "1777"},
        ),
        (
            SymlinkInode(1, 2, b"a\xff"),
            "lrwxrwxrwx",
            {"kind": "link", "target": "a\udcff"},
        ),
        (
            ComputedRegularInode(0o100644, 1, 2, "s"),
            "-rw-r--r--",
            {"kind": "computed", "mode": "0644", "source": "s"},
        ),
        *(
            (
                SpecialInode(kind | 0o600, 1, 2, 0, 3, 0x501),
                f"{letter}rw-------",
                {"kind": word, "mode": "0600", "mtime": 3.0, "device": 0x501},
            )
            for kind, letter, word in (
                (0o020000, "c", "character device"),
                (0o060000, "b", "block device"),
                (0o010000, "p", "pipe"),
                (0o140000, "s", "socket"),
                (0o150000, "D", "special file"),
            )
        ),
    ],
)
def test_inodes(inode: Inode, mode: str, values: dict) -> None:
    """Each kind of inode tells what it has."""
    assert inode_as_json(inode) == _OWNER | values
    if values["kind"] != "special file":
        assert mode_text(inode) == mode


@pytest.mark.parametrize(
    ("data", "size", "kind"),
    [
        (b"line\nline\n", 10, "text"),
        ("ä\t€".encode(), 6, "text"),
        (b"", 0, "text"),
        (b"\0", 1, "bytes"),
        (b"\x07bell", 5, "bytes"),
        (b"GIF89a...", 9, "picture"),
        (b"GIF89a...", 9 << 20, "text"),
        ("ä".encode()[:1], 1, "bytes"),
        ("ä".encode()[:1], 2, "text"),
    ],
)
def test_views(data: bytes, size: int, kind: str) -> None:
    """Text is text also where it is cut; pictures that are too large are not shown."""
    assert show_content(data, size).kind == kind


def test_dump() -> None:
    """Bytes are shown with their place, in digits and as characters."""
    lines = dump(bytes(range(60, 80)))
    assert [len(line) for line in lines] == [3, 3]
    assert lines[0][0] == "00000000"
    assert lines[0][1].startswith("3c 3d 3e")
    assert lines[1] == ("00000010", "4c 4d 4e 4f", "LMNO")
    assert dump(b"\0\x7f<")[0][2] == "..<"


def test_no_text() -> None:
    """What cannot be read as UTF-8 is no text."""
    assert as_text(b"ok \xff\xff\xff\xff\xff end", is_cut=True) is None
