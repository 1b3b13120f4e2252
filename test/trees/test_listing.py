"""The listing of a file system."""

from __future__ import annotations

import stat
import time
from datetime import UTC, timedelta, timezone

import pytest

from imageserver.errors import InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.listing import list_image, list_inode

TIME = 1_795_391_645


def _entries(**numbers: int) -> tuple[DirectoryEntry, ...]:
    return tuple(
        DirectoryEntry(name.encode(), number) for name, number in numbers.items()
    )


def _regular(mode: int = 0o100644, size: int = 11, **times: int) -> RegularInode:
    times = {"mtime_seconds": TIME} | times
    return RegularInode(mode=mode, size=size, hash_=_hash(size), **times)


def _hash(size: int) -> bytes:
    return size.to_bytes(64) if size else bytes(64)


def _special(mode: int, device: int = 0) -> SpecialInode:
    return SpecialInode(mode=mode, mtime_seconds=TIME, device=device)


def _line(inode: Inode, path: bytes = b"/x", links: int = 1) -> str:
    return list_inode(path, inode, links, UTC).decode()


def test_lines() -> None:
    """Every kind of inode is listed in columns, as existing tools do it."""
    root = DirectoryInode(mode=0o40755, entries=_entries(etc=1, a=2, l=4))
    inodes: dict[int, Inode] = {
        1: DirectoryInode(mode=0o40755, entries=_entries(passwd=3, motd=5, tool=2)),
        2: _regular(0o104755, 3000),
        3: _regular(),
        4: SymlinkInode(target=b"tool"),
        5: ComputedRegularInode(mode=0o100644, source="localhost:6972"),
    }
    blanks = " " * 36
    assert [
        text.decode() for text in list_image(FileSystem(inodes, root=root), UTC)
    ] == [
        f"drwxr-xr-x   1     0     0 {blanks}/",
        f"drwxr-xr-x   1     0     0 {blanks}/etc",
        "-rw-r--r--   1     0     0         11 22 Nov 2026 23:54:05 UTC /etc/passwd "
        + _hash(11).hex(),
        f"-rw-r--r--   1     0     0   computed {' ' * 25}/etc/motd <- localhost:6972",
        "-rwsr-xr-x   2     0     0       3000 22 Nov 2026 23:54:05 UTC /etc/tool "
        + _hash(3000).hex(),
        "-rwsr-xr-x   2     0     0       3000 22 Nov 2026 23:54:05 UTC /a "
        + _hash(3000).hex(),
        f"lrwxrwxrwx   1     0     0 {blanks}/l -> tool",
    ]


@pytest.mark.parametrize(
    ("inode", "text"),
    [
        (_special(0o10644), "prw-r--r--   1     0     0            22 Nov 2026"),
        (_special(0o140644), "srw-r--r--   1     0     0            22 Nov 2026"),
        (_special(0o20644, 0x103), "crw-r--r--   1     0     0      0x103 22 Nov 2026"),
        (_special(0o60644, 0x801), "brw-r--r--   1     0     0      0x801 22 Nov 2026"),
    ],
)
def test_specials(inode: SpecialInode, text: str) -> None:
    """Devices show their number, FIFOs and sockets blanks; all show a time."""
    assert _line(inode) == f"{text} 23:54:05 UTC /x"


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (0o104644, "-rwSr--r--"),
        (0o102755, "-rwxr-sr-x"),
        (0o102745, "-rwxr-Sr-x"),
        (0o101777, "-rwxrwxrwt"),
        (0o101776, "-rwxrwxrwT"),
    ],
)
def test_mode_letters(mode: int, text: str) -> None:
    """Set-ID and sticky bits are small letters where execution is permitted."""
    assert _line(_regular(mode)).startswith(text)


def test_directory_type_comes_from_the_inode() -> None:
    """A directory is listed as one even if its mode lacks the type."""
    assert _line(DirectoryInode(mode=0o1777)).startswith("drwxrwxrwt")


def test_empty_file_has_no_hash() -> None:
    """Only files with content show a hash, and no line ends in a blank."""
    assert _line(_regular(size=0)).endswith("          0 22 Nov 2026 23:54:05 UTC /x")


def test_name_and_target_as_they_are() -> None:
    """Names that are not UTF-8 come out byte for byte."""
    text = list_inode(b"/\xff", SymlinkInode(target=b"\xfe"), 1, UTC)
    assert text.endswith(b" /\xff -> \xfe")


def test_time_zone() -> None:
    """Times are given in the zone asked for, with its name."""
    zone = timezone(timedelta(hours=1), "CET")
    assert b" 23 Nov 2026 00:54:05 CET " in list_inode(b"/x", _regular(), 1, zone)


def test_local_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a zone, times are those of this machine."""
    with monkeypatch.context() as context:
        context.setenv("TZ", "XYZ-2")
        time.tzset()
        assert b" 23 Nov 2026 01:54:05 XYZ " in list_inode(b"/x", _regular(), 1)
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "text"),
    [
        (-1, 0, "31 Dec 1969 23:59:59"),
        (0, -1, "31 Dec 1969 23:59:59"),
        (0, 2_000_000_000, "01 Jan 1970 00:00:02"),
        (253_402_300_800, 0, "01 Jan 10000 00:00:00"),
        (-62_135_596_801, 0, "31 Dec 0000 23:59:59"),
        (2**63 - 1, 0, "04 Dec 292277026596 15:30:07"),
    ],
)
def test_times_beyond_the_calendar(seconds: int, nanoseconds: int, text: str) -> None:
    """Every time that the format can carry has a date."""
    inode = _regular(mtime_seconds=seconds, mtime_nanoseconds=nanoseconds)
    assert f" {text} UTC /x" in _line(inode)


def test_skip_fields() -> None:
    """Columns are left out by their letters."""
    assert list_inode(b"/x", _regular(), 1, UTC, "mlugt") == b"        11 /x " + (
        _hash(11).hex().encode()
    )
    assert list_inode(b"/x", _regular(), 1, UTC, "lugstnd") == b"-rw-r--r-- "


def test_malformed_tree() -> None:
    """A circle of directories is refused instead of listed for ever."""
    root = DirectoryInode(mode=stat.S_IFDIR, entries=_entries(a=1))
    circle = FileSystem({1: DirectoryInode(entries=_entries(a=1))}, root=root)
    with pytest.raises(InvalidImage, match="reached twice"):
        list(list_image(circle, UTC))


def test_deep_tree() -> None:
    """Depth costs no recursion."""
    inodes: dict[int, Inode] = {
        number: DirectoryInode(entries=_entries(d=number + 1))
        for number in range(1, 900)
    }
    inodes[900] = DirectoryInode()
    root = DirectoryInode(entries=_entries(d=1))
    assert len(list(list_image(FileSystem(inodes, root=root), UTC))) == 901
