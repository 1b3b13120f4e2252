"""Unpacking an image into a directory."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from imageserver.errors import CorruptObject, InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import hash_of
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees import unpack
from imageserver.trees.object_writer import UnpackError
from imageserver.trees.scan import scan_directory
from imageserver.trees.tree import FileAccessError, RootDirectory, Tree, copy_content
from imageserver.trees.unpack import LeftOut, Unpacker

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OWNER = {"uid": os.geteuid(), "gid": os.getegid()}


def _scan(root: Path) -> Tree:
    return scan_directory(root.as_posix(), None, lambda _files, _bytes: None)


def _regular(content: bytes = b"", mode: int = 0o644, **fields: Any) -> RegularInode:
    hash_ = hash_of(content) if content else bytes(64)
    fields = OWNER | fields
    return RegularInode(mode=0o100000 | mode, size=len(content), hash_=hash_, **fields)


def _directory(mode: int = 0o755, **numbers: int) -> DirectoryInode:
    entries = tuple(DirectoryEntry(n.encode(), number) for n, number in numbers.items())
    return DirectoryInode(entries, 0o40000 | mode, **OWNER)


def _image(inodes: dict[int, Inode], **numbers: int) -> FileSystem:
    return FileSystem(inodes, root=_directory(**numbers))


def _unpack(
    file_system: FileSystem, target: Path, *contents: bytes
) -> tuple[LeftOut, ...]:
    by_hash = {hash_of(content): content for content in contents}
    with Unpacker(file_system, target.as_posix()) as plan:
        plan.make_skeleton()
        for hash_, size in plan.wanted():
            assert len(by_hash[hash_]) == size
            writer = plan.receive(hash_)
            writer.write(by_hash[hash_])
            writer.finish()
        return plan.finish()


def _contents(tree: Tree) -> list[bytes]:
    contents = []
    for content in tree.contents.values():
        with content.open() as file:
            contents.append(file.read())
    return contents


def _fill(root: Path, *, devices: bool) -> None:
    raw = os.fsencode(root)
    os.makedirs(raw + b"/etc/\xff\xfe")
    os.makedirs(raw + b"/empty")
    for name, content in (
        (b"a", b"content"),
        (b"etc/same", b"content"),
        (b"etc/empty", b""),
        (b"etc/\xff\xfe/\xfd", b"odd" * 500_000),
    ):
        with open(raw + b"/" + name, "wb") as file:
            file.write(content)
    os.link(raw + b"/a", raw + b"/etc/link")
    os.symlink(b"\xff/../..", raw + b"/etc/symlink")
    os.link(raw + b"/etc/symlink", raw + b"/symlink2", follow_symlinks=False)
    os.mkfifo(raw + b"/etc/fifo")
    os.link(raw + b"/etc/fifo", raw + b"/fifo2")
    os.chmod(raw + b"/a", 0o4755)
    os.chmod(raw + b"/etc/same", 0o000 if devices else 0o400)
    os.chmod(raw + b"/empty", 0o1777)
    os.chmod(raw, 0o2751)
    for name in (b"a", b"etc/same", b"etc/empty", b"etc/fifo"):
        os.utime(raw + b"/" + name, ns=(0, 1_700_000_000_123_456_789))
    os.utime(raw + b"/etc/\xff\xfe/\xfd", ns=(0, -1))
    if devices:
        os.mknod(raw + b"/etc/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(raw + b"/etc/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
        os.chown(raw + b"/etc/null", 12, 34)
        os.chown(raw + b"/etc/symlink", 12, 34, follow_symlinks=False)
        os.chown(raw + b"/etc/empty", 12, 34)
        os.chown(raw + b"/a", 12, 34)
        os.chmod(raw + b"/a", 0o6755)
        os.chown(raw + b"/empty", 12, 34)


@pytest.mark.parametrize("devices", [False, pytest.param(True, marks=needs_root)])
def test_round_trip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: bool
) -> None:
    """What is scanned, unpacked and scanned again is the same."""
    (tmp_path / "source").mkdir()
    _fill(tmp_path / "source", devices=devices)
    monkeypatch.chdir(tmp_path / "source" / "etc")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    before = _scan(tmp_path / "source")
    target = tmp_path / "made" / "target"
    assert _unpack(before.file_system, target, *_contents(before)) == ()
    after = _scan(target)
    assert after.file_system == before.file_system
    assert after.contents.keys() == before.contents.keys()


def test_empty_target_is_used(tmp_path: Path) -> None:
    """A directory that is there is used if it is empty, and gets the root's mode."""
    target = tmp_path / "target"
    target.mkdir(mode=0o777)
    assert _unpack(_image({1: _regular(b"x")}, file=1), target, b"x") == ()
    assert (target / "file").read_bytes() == b"x"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_target_in_use(tmp_path: Path) -> None:
    """A directory that has something in it is refused and left alone."""
    (tmp_path / "file").touch()
    mode = tmp_path.stat().st_mode
    with Unpacker(_image({}), tmp_path.as_posix()) as plan:
        with pytest.raises(UnpackError, match=r"not empty: .*/test_target_in_use"):
            plan.make_skeleton()
    assert os.listdir(tmp_path) == ["file"]
    assert tmp_path.stat().st_mode == mode


def test_target_is_a_file(tmp_path: Path) -> None:
    """A target that cannot be a directory is named."""
    (tmp_path / "file").touch()
    with Unpacker(_image({}), (tmp_path / "file").as_posix()) as plan:
        with pytest.raises(FileAccessError, match=r"cannot unpack to: .*/file: "):
            plan.make_skeleton()


def test_target_is_closed_meanwhile(tmp_path: Path) -> None:
    """Until all is done, nobody else can enter the target."""
    plan = Unpacker(_image({1: _directory()}, d=1), tmp_path.as_posix())
    plan.make_skeleton()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    plan.finish()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_wanted(tmp_path: Path) -> None:
    """Each object is wanted once, and not any more when it has come."""
    inodes: dict[int, Inode] = {
        1: _regular(b"same"),
        2: _regular(b"same"),
        3: _regular(b"other"),
        4: _regular(b""),
        5: _regular(b"has no name"),
    }
    with Unpacker(_image(inodes, a=1, b=2, c=3, d=4), tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        assert plan.wanted() == [(hash_of(b"same"), 4), (hash_of(b"other"), 5)]
        writer = plan.receive(hash_of(b"same"))
        writer.write(b"sa")
        writer.write(b"me")
        writer.finish()
        assert plan.wanted() == [(hash_of(b"other"), 5)]
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"same"
        assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino
        with pytest.raises(UnpackError, match="object is not wanted"):
            plan.receive(hash_of(b"same"))
        with pytest.raises(UnpackError, match="1 objects are missing"):
            plan.finish()


def test_several_at_once(tmp_path: Path) -> None:
    """Objects may come at the same time."""
    inodes: dict[int, Inode] = {1: _regular(b"aa"), 2: _regular(b"bb")}
    with Unpacker(_image(inodes, a=1, b=2), tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        writers = {letter: plan.receive(hash_of(letter * 2)) for letter in (b"a", b"b")}
        for _ in range(2):
            for letter, writer in writers.items():
                writer.write(letter)
        for writer in writers.values():
            writer.finish()
        plan.finish()
    assert (tmp_path / "a").read_bytes() == b"aa"
    assert (tmp_path / "b").read_bytes() == b"bb"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_what_is_not_complete_is_beside_its_place(tmp_path: Path) -> None:
    """An object has another name until it is right; nobody else can enter meanwhile."""
    image = _image({1: _regular(b"content"), 2: _directory(f=1)}, d=2)
    with Unpacker(image, tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        writer = plan.receive(hash_of(b"content"))
        (name,) = os.listdir(tmp_path / "d")
        assert name.startswith(".unpack-")
        assert stat.S_IMODE((tmp_path / "d" / name).stat().st_mode) == 0o600
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        writer.write(b"content")
        writer.finish()
        assert os.listdir(tmp_path / "d") == ["f"]
        plan.finish()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"wrong", "wrong hash"),
        (b"shor", "4 bytes instead of 5"),
        (b"longer", "longer than 5 bytes"),
    ],
)
def test_corrupt_object(tmp_path: Path, data: bytes, reason: str) -> None:
    """An object with other content is placed nowhere, and may come again."""
    hash_ = hash_of(b"right")
    with Unpacker(_image({1: _regular(b"right")}, a=1), tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        with pytest.raises(CorruptObject, match=reason), plan.receive(hash_) as writer:
            writer.write(data)
            writer.finish()
        assert os.listdir(tmp_path) == []
        with pytest.raises(UnpackError, match="after the end"):
            writer.write(b"more")
        with plan.receive(hash_) as writer:
            writer.write(b"right")
            writer.finish()
        plan.finish()
    assert (tmp_path / "a").read_bytes() == b"right"


def test_unfinished_objects_are_removed(tmp_path: Path) -> None:
    """Giving up leaves no temporary file and no descriptor."""
    descriptors = len(os.listdir("/proc/self/fd"))
    with Unpacker(_image({1: _regular(b"right")}, a=1), tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        plan.receive(hash_of(b"right")).write(b"ri")
        with plan.receive(hash_of(b"right")) as writer:
            writer.write(b"ri")
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_computed_file(tmp_path: Path) -> None:
    """A computed file is empty and has its mode."""
    inode = ComputedRegularInode(mode=0o100640, source="localhost:1", **OWNER)
    assert _unpack(_image({1: inode}, motd=1), tmp_path) == ()
    assert (tmp_path / "motd").read_bytes() == b""
    assert stat.S_IMODE((tmp_path / "motd").stat().st_mode) == 0o640


def test_unreadable_directories(tmp_path: Path) -> None:
    """A directory without permissions gets its content first."""
    inodes: dict[int, Inode] = {1: _directory(0, d=2), 2: _directory(0o500, f=3)}
    inodes[3] = _regular(b"x")
    assert _unpack(_image(inodes, d=1), tmp_path, b"x") == ()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0
    (tmp_path / "d").chmod(0o700)
    assert (tmp_path / "d/d/f").read_bytes() == b"x"


def test_deep_tree(tmp_path: Path) -> None:
    """Depth is a matter neither of recursion nor of descriptors."""
    inodes: dict[int, Inode] = {n: _directory(d=n + 1) for n in range(1, 900)}
    inodes[900] = _regular(b"x")
    assert _unpack(_image(inodes, d=1), tmp_path / "t", b"x") == ()
    assert (tmp_path / "t" / "/".join(["d"] * 900)).read_bytes() == b"x"


def test_devices_that_are_not_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system does not let us make is left out and told, by all its names."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    inodes: dict[int, Inode] = {1: SpecialInode(mode=stat.S_IFCHR, device=259)}
    left_out = _unpack(_image(inodes, a=1, b=1), tmp_path)
    assert [item.path for item in left_out] == [b"/a", b"/b"]
    assert "Operation not permitted" in left_out[0].reason
    assert os.listdir(tmp_path) == []


def test_set_id_bits_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to give files away, set-ID bits go, and that is told."""
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    inodes: dict[int, Inode] = {
        1: _regular(b"x", 0o6755, uid=OWNER["uid"] + 1),
        2: _regular(b"x", 0o4755),
    }
    left_out = _unpack(_image(inodes, a=1, b=2), tmp_path, b"x")
    assert [item.path for item in left_out] == [b"/a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o2755
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o4755


@pytest.mark.parametrize(
    ("inode", "error"),
    [
        (SpecialInode(mode=stat.S_IFREG | 0o644), InvalidImage),
        (SymlinkInode(target=b"", **OWNER), FileAccessError),
        (SymlinkInode(target=b"a\0b", **OWNER), FileAccessError),
        (_regular(mtime_seconds=2**63 - 1, mtime_nanoseconds=2**31 - 1), None),
    ],
)
def test_odd_inodes(
    tmp_path: Path, inode: Inode, error: type[Exception] | None
) -> None:
    """Inodes that no file can have are errors that name the path."""
    if error is None:
        with pytest.raises(FileAccessError, match="cannot create: /odd"):
            _unpack(_image({1: inode}, odd=1), tmp_path)
        return
    with pytest.raises(error, match="/odd"):
        _unpack(_image({1: inode}, odd=1), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [b"..", b"../x", b"/etc", b".", b"", b"a\0"])
def test_hostile_names(tmp_path: Path, name: bytes) -> None:
    """Names that lead elsewhere are refused before anything is written."""
    root = DirectoryInode((DirectoryEntry(name, 1),), 0o40755)
    with pytest.raises(InvalidImage):
        Unpacker(FileSystem({1: _regular(b"x")}, root=root), tmp_path.as_posix())


def test_name_of_a_link_and_a_directory(tmp_path: Path) -> None:
    """An image cannot put a directory where it has put a symbolic link."""
    root = DirectoryInode(
        (DirectoryEntry(b"d", 1), DirectoryEntry(b"d", 2)), 0o40755, **OWNER
    )
    inodes: dict[int, Inode] = {1: SymlinkInode(target=b"/"), 2: _directory(f=3)}
    inodes[3] = _regular(b"x")
    with pytest.raises(InvalidImage, match="duplicate entry"):
        Unpacker(FileSystem(inodes, root=root), tmp_path.as_posix())


def _tampered(tmp_path: Path) -> tuple[Unpacker, Path, Path]:
    """An image half unpacked, in which a directory was replaced by a link outside."""
    inodes: dict[int, Inode] = {
        1: _directory(0o777, file=2, empty=3, link=4, fifo=5),
        2: _regular(b"content", 0o777),
        3: _regular(b"", 0o777),
        4: SymlinkInode(target=b"x", **OWNER),
        5: SpecialInode(mode=stat.S_IFIFO | 0o777, **OWNER),
    }
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir(mode=0o700)
    plan = Unpacker(_image(inodes, d=1), target.as_posix())
    plan.make_skeleton()
    (target / "d").rename(target / "moved")
    (target / "d").symlink_to("../outside")
    return plan, outside, target


def test_directory_becomes_a_link_before_contents(tmp_path: Path) -> None:
    """Contents do not go through a link that was put in their way."""
    plan, outside, target = _tampered(tmp_path)
    with pytest.raises(FileAccessError, match="cannot create: /d/file"):
        with plan.receive(hash_of(b"content")) as writer:
            writer.write(b"content")
            writer.finish()
    assert os.listdir(outside) == []
    assert sorted(os.listdir(target)) == ["d", "moved"]
    plan.close()


def test_directory_becomes_a_link_before_the_end(tmp_path: Path) -> None:
    """Files without content, owners and modes do not go through a link either."""
    inodes: dict[int, Inode] = {1: _directory(0o777, empty=2), 2: _regular(b"", 0o777)}
    for case in ("file", "mode"):
        outside, target = tmp_path / f"outside-{case}", tmp_path / f"target-{case}"
        outside.mkdir(mode=0o700)
        image = _image(inodes if case == "file" else {1: _directory(0o777)}, d=1)
        with Unpacker(image, target.as_posix()) as plan:
            plan.make_skeleton()
            (target / "d").rmdir()
            (target / "d").symlink_to(f"../outside-{case}")
            with pytest.raises(FileAccessError, match=": /d"):
                plan.finish()
        assert os.listdir(outside) == []
        assert stat.S_IMODE(outside.stat().st_mode) == 0o700


def test_directory_becomes_a_link_in_the_skeleton(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No directory is made behind a link."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    real = RootDirectory.open_directory

    def swapping(self: RootDirectory, path: bytes) -> int:
        if path == b"/d":
            (target / "d").rmdir()
            (target / "d").symlink_to("../outside")
        return real(self, path)

    monkeypatch.setattr(RootDirectory, "open_directory", swapping)
    image = _image({1: _directory(e=2), 2: _directory()}, d=1)
    with Unpacker(image, target.as_posix()) as plan:
        with pytest.raises(FileAccessError, match="cannot create directory: /d/e"):
            plan.make_skeleton()
    assert os.listdir(outside) == []


def test_link_in_place_of_a_file(tmp_path: Path) -> None:
    """A link that was put where a file belongs is replaced, not written through."""
    (tmp_path / "victim").write_bytes(b"precious")
    target = tmp_path / "target"
    with Unpacker(_image({1: _regular(b"x")}, file=1), target.as_posix()) as plan:
        plan.make_skeleton()
        (target / "file").symlink_to("../victim")
        with plan.receive(hash_of(b"x")) as writer:
            writer.write(b"x")
            writer.finish()
        plan.finish()
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (target / "file").is_symlink()


def test_special_becomes_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode and owner of a device do not go through a link that took its place."""
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.touch(mode=0o600)
    real = os.mknod

    def swapping(name: bytes, mode: int, device: int, *, dir_fd: int) -> None:
        real(name, mode, device, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink("../victim", name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mknod", swapping)
    inode = SpecialInode(mode=stat.S_IFIFO | 0o777, **OWNER)
    with pytest.raises(FileAccessError, match="cannot create: /fifo"):
        _unpack(_image({1: inode}, fifo=1), target)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EOPNOTSUPP])
def test_copy_without_copy_file_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    """Where the system cannot copy ranges, files are sent."""

    def refuse(*_: object) -> int:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    content = b"0123456789" * 300_000
    inodes: dict[int, Inode] = {1: _regular(content), 2: _regular(content)}
    assert _unpack(_image(inodes, a=1, b=2), tmp_path, content) == ()
    assert (tmp_path / "b").read_bytes() == content


def test_file_becomes_shorter(tmp_path: Path) -> None:
    """A copy is never shorter than its object."""
    with open(tmp_path / "a", "w+b") as source, open(tmp_path / "b", "wb") as target:
        source.write(b"1234")
        source.flush()
        with pytest.raises(OSError, match="became shorter"):
            copy_content(source.fileno(), target.fileno(), 5)


def test_disk_full_while_copying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fails is not placed and is named; its object is still missing."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpack, "copy_content", refuse)
    inodes: dict[int, Inode] = {1: _regular(b"x"), 2: _regular(b"x")}
    with Unpacker(_image(inodes, a=1, b=2), tmp_path.as_posix()) as plan:
        plan.make_skeleton()
        with pytest.raises(FileAccessError, match="create: /b: No space left"):
            with plan.receive(hash_of(b"x")) as writer:
                writer.write(b"x")
                writer.finish()
        assert os.listdir(tmp_path) == ["a"]
        with pytest.raises(UnpackError, match="1 objects are missing"):
            plan.finish()


def test_order_of_calls(tmp_path: Path) -> None:
    """Objects cannot come before the skeleton is made."""
    plan = Unpacker(_image({1: _regular(b"x")}, a=1), tmp_path.as_posix())
    with pytest.raises(UnpackError, match="make_skeleton comes first"):
        plan.receive(hash_of(b"x"))
