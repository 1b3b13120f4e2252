"""The check that an image has the paths a machine needs."""

from __future__ import annotations

import pytest

from imageserver.errors import ConfigError, ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.required_paths import check_required_paths


def _entries(names: str, first: int) -> tuple[DirectoryEntry, ...]:
    return tuple(
        DirectoryEntry(name.encode(), number)
        for number, name in enumerate(names.split(), first)
    )


FILE_SYSTEM = FileSystem(
    {
        1: DirectoryInode(entries=_entries("passwd motd", 10)),
        2: SymlinkInode(target=b"usr/bin"),
        3: SpecialInode(mode=0o20644),
        10: RegularInode(),
        11: ComputedRegularInode(),
    },
    root=DirectoryInode(entries=_entries("etc bin nul", 1)),
)


@pytest.mark.parametrize(
    "text",
    ["/etc:d,/etc/passwd:f", "/bin:l", "/nul:c", "/nul:b", "/nul:p", "/:d", "/etc/:d"],
)
def test_present(text: str) -> None:
    """Paths that are there with their types pass; a special passes for any."""
    check_required_paths(FILE_SYSTEM, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/usr:d", "missing path: /usr"),
        ("/etc:d,/etc/shadow:f", "missing path: /etc/shadow"),
        ("/bin/sh:f", "missing path: /bin/sh"),
        ("/etc/passwd/x:f", "missing path: /etc/passwd/x"),
        ("/etc/passwd:d", "path is not a directory: /etc/passwd"),
        ("/etc:f", "path is not a regular file: /etc"),
        ("/etc/motd:f", "path is not a regular file: /etc/motd"),
        ("/etc:l", "path is not a symlink: /etc"),
        ("/etc:c", "path is not a special inode: /etc"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """What is missing or of another type is named, in the words tools know."""
    with pytest.raises(ImageServerError) as caught:
        check_required_paths(FILE_SYSTEM, text)
    assert str(caught.value) == f"VerifyRequiredPaths(): {message}"


@pytest.mark.parametrize("text", ["", "/etc", "/etc:x", "etc:d", "/etc:d,"])
def test_malformed(text: str) -> None:
    """A list that is not of the form is a fault of the command line."""
    with pytest.raises(ConfigError, match="malformed required path"):
        check_required_paths(FILE_SYSTEM, text)


def test_empty_table() -> None:
    """An image without inodes lacks every path."""
    with pytest.raises(ImageServerError, match="missing path: /etc"):
        check_required_paths(FileSystem(), "/etc:d")
