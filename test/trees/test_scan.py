"""Scanning a real directory."""

from __future__ import annotations

import gc
import os
import socket
import stat
import subprocess
from itertools import count
from pathlib import Path

import pytest

from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Matcher
from imageserver.model.hash import NO_HASH, hash_of
from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.hash_pool import HashPool
from imageserver.trees.scan import FileChanged, scan_directory
from imageserver.trees.tree import FileAccessError, RootDirectory, Tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making devices needs root")


def _scan(root: Path, *filter_lines: str) -> Tree:
    matcher = Matcher(filter_lines) if filter_lines else None
    return scan_directory(os.fsencode(root), matcher, lambda _files, _bytes: None)


def _find(file_system: FileSystem, path: bytes) -> Inode:
    inode: Inode = file_system.root
    for name in path.split(b"/")[1:]:
        assert isinstance(inode, DirectoryInode)
        assert file_system.inodes is not None
        numbers = {entry.name: entry.inode_number for entry in inode.entries}
        inode = file_system.inodes[numbers[name]]
    return inode


def _names(inode: Inode) -> list[bytes]:
    assert isinstance(inode, DirectoryInode)
    return [entry.name for entry in inode.entries]


def _read(tree: Tree, hash_: bytes) -> bytes:
    with tree.contents[hash_].open() as file:
        return file.read()


def test_regular_file(tmp_path: Path) -> None:
    """A file keeps mode, owner, time to the nanosecond, and its content."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    path.chmod(0o4751)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    tree = _scan(tmp_path)
    assert tree.file_system.inodes == {
        1: RegularInode(
            mode=0o104751,
            uid=path.stat().st_uid,
            gid=path.stat().st_gid,
            mtime_nanoseconds=123_456_789,
            mtime_seconds=1_700_000_000,
            size=7,
            hash_=hash_of(b"content"),
        )
    }
    assert _read(tree, hash_of(b"content")) == b"content"


def test_time_before_the_epoch(tmp_path: Path) -> None:
    """Nanoseconds count forwards from the second, also before 1970."""
    path = tmp_path / "file"
    path.touch()
    os.utime(path, ns=(0, -1))
    inode = _find(_scan(tmp_path).file_system, b"/file")
    assert isinstance(inode, RegularInode)
    assert (inode.mtime_seconds, inode.mtime_nanoseconds) == (-1, 999_999_999)


def test_counts_and_order(tmp_path: Path) -> None:
    """Entries are sorted by their bytes, and the root counts as a directory."""
    for name in ("b", "a", "B"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "b" / "y").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    tree = _scan(tmp_path)
    assert _names(tree.file_system.root) == [b"B", b"a", b"b", b"empty"]
    assert tree.file_system.directory_count == 4
    assert tree.file_system.regular_count == 3
    assert tree.file_system.data_bytes == 10
    assert len(tree.contents) == 1
    empty = _find(tree.file_system, b"/empty")
    assert isinstance(empty, RegularInode)
    assert (empty.size, empty.hash_) == (0, NO_HASH)
    assert stat.S_ISDIR(tree.file_system.root.mode)


def test_same_tree_same_numbers(tmp_path: Path) -> None:
    """Two scans of one tree give the same inodes under the same numbers."""
    for number in range(100):
        directory = tmp_path / f"d{number % 7}"
        directory.mkdir(exist_ok=True)
        (directory / f"f{number}").write_bytes(b"x" * number)
    first, second = _scan(tmp_path), _scan(tmp_path)
    assert first.file_system == second.file_system
    assert list(first.contents) == list(second.contents)


def test_hard_links(tmp_path: Path) -> None:
    """Names of one inode share its number, symbolic links included."""
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "d").mkdir()
    os.link(tmp_path / "a", tmp_path / "d" / "b")
    os.symlink("a", tmp_path / "l")
    os.link(tmp_path / "l", tmp_path / "m", follow_symlinks=False)
    tree = _scan(tmp_path)
    assert _find(tree.file_system, b"/a") is _find(tree.file_system, b"/d/b")
    assert _find(tree.file_system, b"/l") is _find(tree.file_system, b"/m")
    assert tree.file_system.regular_count == 1
    assert tree.file_system.data_bytes == 7


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Symbolic links are recorded, wherever they lead, and whatever their bytes."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    root = tmp_path / "root"
    root.mkdir()
    os.symlink("../outside", root / "directory")
    os.symlink(b"\xff\xfe", os.fsencode(root) + b"/\xfd")
    file_system = _scan(root).file_system
    directory, odd = _find(file_system, b"/directory"), _find(file_system, b"/\xfd")
    assert isinstance(directory, SymlinkInode)
    assert isinstance(odd, SymlinkInode)
    assert directory.target == b"../outside"
    assert odd.target == b"\xff\xfe"


def test_fifo_and_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FIFOs and sockets are specials without a device, and are not opened."""
    os.mkfifo(tmp_path / "fifo", 0o640)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    file_system = _scan(tmp_path).file_system
    fifo, listener = _find(file_system, b"/fifo"), _find(file_system, b"/socket")
    assert isinstance(fifo, SpecialInode)
    assert isinstance(listener, SpecialInode)
    assert stat.S_ISFIFO(fifo.mode)
    assert stat.S_ISSOCK(listener.mode)
    assert fifo.device == 0


@needs_root
def test_device(tmp_path: Path) -> None:
    """A device keeps its number."""
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    inode = _find(_scan(tmp_path).file_system, b"/null")
    assert isinstance(inode, SpecialInode)
    assert stat.S_ISCHR(inode.mode)
    assert inode.device == os.makedev(1, 3)


def test_filter(tmp_path: Path) -> None:
    """What the filter matches is left out with all below it, and is not read."""
    for path in ("etc/a", "tmp/b", "var/log/c", "var/lib/d"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    file_system = _scan(tmp_path, "/tmp$", "/var/log/.*", "/etc/x").file_system  # noqa: S108 - expressions
    assert _names(file_system.root) == [b"etc", b"var"]
    assert _names(_find(file_system, b"/etc")) == [b"a"]
    assert _names(_find(file_system, b"/var")) == [b"lib", b"log"]
    assert _names(_find(file_system, b"/var/log")) == []


def test_link_to_filtered_file(tmp_path: Path) -> None:
    """A file is scanned if one of its names is not filtered."""
    (tmp_path / "a").write_bytes(b"content")
    os.link(tmp_path / "a", tmp_path / "b")
    tree = _scan(tmp_path, "/a")
    assert _names(tree.file_system.root) == [b"b"]
    assert _read(tree, hash_of(b"content")) == b"content"


def test_deep_tree(tmp_path: Path) -> None:
    """Depth is limited neither by recursion, nor by paths, nor by descriptors."""
    depth = 3_000
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    tree = _scan(tmp_path)
    # The clean-up of temporary directories does recurse.
    subprocess.run(["rm", "-r", tmp_path / "deeper"], check=True)
    assert tree.file_system.directory_count == depth + 1
    assert tree.file_system.regular_count == 1


def test_progress(tmp_path: Path) -> None:
    """The last report covers all files, each inode once."""
    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"12")
    os.link(tmp_path / "1", tmp_path / "link")
    reports: list[tuple[int, int]] = []
    scan_directory(tmp_path.as_posix(), None, lambda *report: reports.append(report))
    assert reports[-1] == (200, 400)
    assert reports == sorted(reports)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """A scan closes what it opens; so does a tree that is forgotten."""
    for number in range(50):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "file").write_bytes(b"x")
    before = os.listdir("/proc/self/fd")
    tree = _scan(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    for content in tree.contents.values():
        with content.open() as file:
            assert file.read() == b"x"
    del tree, content
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def _when_hashed(monkeypatch: pytest.MonkeyPatch, change: list[object]) -> None:
    """Call the next of ``change`` after each time that a file was hashed."""
    digest = HashPool.digest

    def changing(*args: object) -> tuple[bytes, int]:
        result = digest(*args)
        if change:
            change.pop(0)()
        return result

    monkeypatch.setattr(HashPool, "digest", changing)


def test_file_changes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changed while it was read is read again."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    _when_hashed(monkeypatch, [lambda: path.write_bytes(b"newer")])
    tree = _scan(tmp_path)
    assert _read(tree, hash_of(b"newer")) == b"newer"


def test_file_keeps_changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes each time is an error that names it; nothing stays open."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "other").write_bytes(b"other")
    before = os.listdir("/proc/self/fd")
    sizes = count(10)
    _when_hashed(monkeypatch, [lambda: path.write_bytes(bytes(next(sizes)))] * 4)
    with pytest.raises(FileChanged, match=f"changed while it was read: {path}"):
        _scan(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_content_changes_later(tmp_path: Path) -> None:
    """A content that is not any more what was hashed is not handed out."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    tree = _scan(tmp_path)
    path.write_bytes(b"newer")
    with pytest.raises(FileChanged):
        tree.contents[hash_of(b"old")].open()


def test_content_behind_a_link(tmp_path: Path) -> None:
    """A directory that became a symbolic link is not followed to read a content."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "file").write_bytes(b"content")
    tree = _scan(root)
    (root / "etc").rename(tmp_path / "etc")
    (root / "etc").symlink_to("../etc")
    with pytest.raises(FileAccessError, match="root/etc/file"):
        tree.contents[hash_of(b"content")].open()


def test_contents_are_independent(tmp_path: Path) -> None:
    """Each reader of a content has a position of its own."""
    (tmp_path / "file").write_bytes(b"content")
    content = _scan(tmp_path).contents[hash_of(b"content")]
    with content.open() as first, content.open() as second:
        assert first.read(3) == b"con"
        assert second.read() == b"content"


@pytest.mark.parametrize("swap", ["link", "fifo"])
def test_file_is_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    """What takes a file's place between look and open is not read, nor waited for."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    path = root / "file"
    path.write_bytes(b"content")
    real = os.stat

    def swapping(name: object, **options: object) -> os.stat_result:
        status = real(name, **options)
        if name == b"file":
            path.unlink()
            if swap == "link":
                path.symlink_to("../secret")
            else:
                os.mkfifo(path)
        return status

    monkeypatch.setattr(os, "stat", swapping)
    with pytest.raises((FileAccessError, FileChanged), match="root/file"):
        _scan(root)


def test_directory_is_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that becomes a symbolic link during the scan is not entered."""
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    real = RootDirectory.open_directory

    def swapping(self: RootDirectory, path: bytes) -> int:
        if path == b"/d":
            (root / "d").rmdir()
            (root / "d").symlink_to("../outside")
        return real(self, path)

    monkeypatch.setattr(RootDirectory, "open_directory", swapping)
    with pytest.raises(FileAccessError, match=r"cannot read directory: .*root/d: "):
        _scan(root)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read is named, with the reason."""
    (tmp_path / "shadow").write_bytes(b"x")
    real = os.open

    def refusing(name: object, *args: object, **options: object) -> int:
        if name == b"shadow":
            raise PermissionError(13, "Permission denied")
        return real(name, *args, **options)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(FileAccessError) as caught:
        _scan(tmp_path)
    assert str(caught.value) == f"cannot read: {tmp_path}/shadow: Permission denied"


def test_no_such_directory(tmp_path: Path) -> None:
    """A root that is not there, or is a file, is named."""
    (tmp_path / "file").touch()
    for name in ("absent", "file"):
        with pytest.raises(FileAccessError, match=f"cannot read directory: .*{name}"):
            _scan(tmp_path / name)


def test_big_file(tmp_path: Path) -> None:
    """A file of several pieces has the hash of the whole."""
    content = bytes(range(256)) * 5_000
    (tmp_path / "big").write_bytes(content)
    assert _read(_scan(tmp_path), hash_of(content)) == content


def test_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another one replaced meanwhile is not mixed up with it."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    (tmp_path / "other").write_bytes(b"other")
    real = os.stat

    def replacing(name: object, **options: object) -> os.stat_result:
        status = real(name, **options)
        if name == b"file":
            (tmp_path / "other").rename(path)
        return status

    monkeypatch.setattr(os, "stat", replacing)
    with pytest.raises(FileChanged, match="file"):
        _scan(tmp_path)
